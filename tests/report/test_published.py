from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from statistics import fmean

import pytest

from nic_lightning.errors import UserError
from nic_lightning.metrics.bd import bd_rate
from nic_lightning.report.curves.comparison import compare
from nic_lightning.report.curves.curve_reader import read_curves
from nic_lightning.report.curves.published import library, published_curves, published_datasets, published_names


@pytest.fixture
def reference(nic_data: Path) -> Path:
    folder = nic_data.parent / "reference"
    if not folder.is_dir():
        pytest.skip("needs the published numbers in reference/ beside the data")
    return folder


def test_the_hyperprior_against_bpg_on_kodak():
    bpg, hyperprior = published_curves(["bpg", "bmshj2018-hyperprior"], "kodak")
    assert compare(bpg, hyperprior, "psnr").result.value == pytest.approx(3.9, abs=0.2)


def test_the_table_is_compressai_s(reference: Path):
    """Every value of every file, and no other."""
    seen = set()
    for curve in library():
        path = reference / "compressai" / curve.dataset / Path(curve.source).name
        results = json.loads(path.read_text())["results"]
        seen.add(path)
        for ours, theirs in (("bpp", "bpp"), ("psnr", "psnr-rgb"), ("ms_ssim", "ms-ssim-rgb")):
            assert sorted(p[ours] for p in curve.points) == sorted(results[theirs])
        assert [results["bpp"][int(p["label"]) - 1] for p in curve.points] == [p["bpp"] for p in curve.points]
    assert seen == set((reference / "compressai").glob("*/*.json"))


def test_names():
    assert published_datasets() == ["kodak", "clic2020-professional"]
    assert len(published_names("kodak")) == 20
    assert len(published_names("CLIC2020_professional")) == 17
    assert {curve.name for curve in library() if curve.classic} == {"av1", "bpg", "jpeg", "jpeg2000", "vtm", "webp"}
    assert all(curve.source.startswith("CompressAI results/image/") for curve in library())
    found = published_curves(["cheng2020-anchor", "vtm", "vtm", "mbt2018-ms-ssim"], "Kodak")
    assert [c.name.removesuffix(" (published)") for c in found] == ["cheng2020-anchor-mse", "vtm", "mbt2018-ms-ssim"]
    assert {c.dataset for c in found} == {"Kodak"}
    assert {curve.note for curve in found} == {""}
    (only,) = published_curves(["cheng2020-attn"], "kodak")
    assert only.codec == "cheng2020-attn-ms-ssim"
    assert only.note == (
        "cheng2020-attn is cheng2020-attn-ms-ssim, trained for MS-SSIM: no model of it trained for MSE ships for kodak."
    )
    assert published_curves(["cheng2020-attn-ms-ssim"], "kodak")[0].note == ""
    assert len(published_curves(["all"], "kodak")) == 20
    with pytest.raises(UserError, match=r"'vtn'. Did you mean 'vtm'\?"):
        published_curves(["vtn"], "kodak")
    with pytest.raises(UserError, match="No published curve on tecnick ships, only on kodak, clic2020-professional"):
        published_curves(["vtm"], "tecnick")


def test_files(tmp_path: Path):
    path = tmp_path / "friend.csv"
    path.write_text("name,dataset,bpp,psnr\nvtm,kodak,0.1,30\nvtm,kodak,0.2,31\nhers,clic,0.1,30\nhers,clic,0.2,32\n")
    found = published_curves(["vtm", path], "kodak")
    assert [curve.name for curve in found] == ["vtm (published)", "vtm (published) #2"]
    assert [curve.name for curve in published_curves([path], "clic")] == ["hers (published)"]
    with pytest.raises(UserError, match="no curve on tecnick; it is about kodak, clic"):
        published_curves([path], "tecnick")


def test_encoding_distributions(reference: Path):
    """BD-rates that follow from the points released with Ulhaq and Bajic 2024 and with Galpin et al. 2023."""

    def curve(name: str):
        (found,) = read_curves(reference / "encoding_distributions" / f"{name}.json", "kodak")
        return found

    static = curve("compressai-bmshj2018-factorized_mse_cuda")
    ours = curve("compressai-bmshj2018-factorized-pdf-ulhaq2024_mse_cuda")
    ideal = curve("compressai-bmshj2018-factorized-pdf-ideal_mse_cuda")
    assert compare(static, ours, "psnr").result.value == pytest.approx(-6.85, abs=0.03)
    assert compare(static, ideal, "psnr").result.value == pytest.approx(-8.22, abs=0.02)
    # by the entropy model: the thesis' table has the static rates, the files those of the others
    rates = (0.12239, 0.18822, 0.28733, 0.43971, 0.64717, 0.96533, 1.34925, 1.83045)
    assert saving(rates, ours) == pytest.approx(-6.95, abs=0.01)
    assert saving(rates, ideal) == pytest.approx(-8.33, abs=0.01)
    estimated = [{**p, "bpp": rate} for p, rate in zip(static.points, rates, strict=True)]
    assert bd_rate(estimated, by_estimate(ours)).value == pytest.approx(-6.88, abs=0.02)
    assert bd_rate(estimated, by_estimate(ideal)).value == pytest.approx(-8.22, abs=0.02)
    factorized, hyperprior = published_curves(["bmshj2018-factorized", "bmshj2018-hyperprior"], "kodak")
    assert compare(factorized, hyperprior, "psnr").result.value == pytest.approx(-21.1, abs=0.1)
    for name, value in (("Contexts", -11.2), ("Contexts+RDOQ", -17.9)):
        assert compare(curve("Base"), curve(name), "psnr").result.value == pytest.approx(value, abs=0.06)


def by_estimate(curve) -> list[dict]:
    return [{**point, "bpp": point["bpp_estimated"]} for point in curve.points]


def saving(static, curve) -> float:
    """Mean over qualities, per cent."""
    return 100 * fmean(p["bpp_estimated"] / rate - 1 for p, rate in zip(curve.points, static, strict=True))


def test_published_curves_load_without_torch():
    code = "import sys; from nic_lightning.report.curves.published import library; library(); "
    code += "sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from nic_lightning.errors import UserError
from nic_lightning.report.curves.curve_reader import MAX_BYTES, is_classic, read_curves
from nic_lightning.report.curves.curve_writer import write_curves
from nic_lightning.report.curves.curves import curves
from nic_lightning.report.curves.published import published_curves
from tests.report.samples import classic_rows, learned_rows

GOOD = {"bpp": [0.4, 0.1, 0.2], "psnr-rgb": [33.0, 28.0, 30.0], "ms-ssim-rgb": [0.98, 0.9, 0.95]}


def written(folder: Path, results=None, name="curve.json", **more) -> Path:
    path = folder / name
    path.write_text(json.dumps({"name": "mine", "description": "of a friend", "results": results or GOOD, **more}))
    return path


def test_compressai_s_schema(tmp_path: Path):
    (curve,) = read_curves(written(tmp_path, {**GOOD, "encoding_time": [3.0, 1.0, 2.0], "loss": ["?"]}), "kodak")
    assert (curve.name, curve.codec, curve.dataset, curve.source) == (
        "mine",
        "mine",
        "kodak",
        "curve.json: of a friend",
    )
    assert curve.published
    assert not curve.items
    assert not curve.classic
    assert [p["bpp"] for p in curve.points] == [0.1, 0.2, 0.4]
    assert [p["psnr"] for p in curve.points] == [28.0, 30.0, 33.0]
    assert [p["label"] for p in curve.points] == ["2", "3", "1"]  # their place in the file
    assert [p["encode_ms"] for p in curve.points] == [1000.0, 2000.0, 3000.0]
    assert curve.points[0]["ms_ssim_db"] == pytest.approx(10.0)
    assert curve.db_of_mean
    assert not curve.has("lpips")


def test_keys_in_any_spelling(tmp_path: Path):
    results = {
        "BPP": [0.1, 0.2],
        "psnr": [28, 30],
        "MS_SSIM": [10.5, 13.0],
        "LPIPS": [0.4, None],
        "bpp_loss": [0.1, 0.2],
    }
    (curve,) = read_curves(written(tmp_path, results, meta={"dataset": "Kodak", "classic": True}))
    assert curve.dataset == "Kodak"
    assert curve.classic
    assert [p["ms_ssim_db"] for p in curve.points] == [10.5, 13.0]  # above 1, so dB already
    assert not curve.db_of_mean
    assert not curve.has("ms_ssim")
    assert [p["lpips"] for p in curve.points] == [0.4, None]
    assert curve.has("bpp_estimated")
    assert read_curves(written(tmp_path, results, meta={"dataset": "Kodak"}), "kodak")[0].dataset == "kodak"


def test_csv_of_several_curves(tmp_path: Path):
    path = tmp_path / "table.csv"
    path.write_text(
        "# source\nmethod,lambda,bpp,PSNR,1-MS-SSIM\nours,0.018,0.2,30,0.05\nours,64,0.1,28,0.1\nJPEG,q,0.3,27,0.2\n"
    )
    ours, jpeg = read_curves(path, "kodak")
    assert [(c.name, c.classic) for c in (ours, jpeg)] == [("ours", False), ("JPEG", True)]
    assert [p["label"] for p in ours.points] == ["64", "0.018"]
    assert [p["ms_ssim"] for p in ours.points] == pytest.approx([0.9, 0.95])
    assert ours.points[0]["ms_ssim_db"] == pytest.approx(10.0)
    assert ours.source == "table.csv"


@pytest.mark.parametrize("form", ["json", "csv"])
def test_our_own_results_come_back_exactly(tmp_path: Path, form: str):
    rows = learned_rows(scale=1 / 3, lpips=0.1 + 0.2, ms_ssim=2 / 3, macs=2**40 + 1, experiment="e", width=48)
    made = [*curves(rows + classic_rows()), *published_curves(["vtm"], "kodak")]
    paths = write_curves(made, tmp_path / "out", form)
    assert [path.name for path in paths] == [f"kodak-{n}.{form}" for n in ("modulated", "jpeg", "vtm_published")]
    for curve, path in zip(made, paths, strict=True):
        (back,) = read_curves(path)
        assert back.points == curve.points
        for key in ("name", "dataset", "codec", "experiment", "classic", "db_of_mean"):
            assert getattr(back, key) == getattr(curve, key), key
        assert back.published
    with pytest.raises(UserError, match="exists already"):
        write_curves(made, tmp_path / "out", form)
    write_curves(made, tmp_path / "out", form, overwrite=True)


def test_other_programs_find_compressai_s_keys(tmp_path: Path):
    (path,) = write_curves(curves(learned_rows()), tmp_path)
    content = json.loads(path.read_text())
    assert content["results"]["psnr-rgb"] == [28.0, 30.0, 32.5, 35.0]
    assert content["results"]["encoding_time"] == [0.002] * 4
    assert content["meta_"]["label"] == ["64", "256", "1024", "4096"]
    assert content["meta"]["runs"] == ["run"]


def test_names_become_files_inside_the_folder(tmp_path: Path):
    made = curves(learned_rows("../../up/a b")) + curves(learned_rows("../../up/a/b"))
    paths = write_curves(made, tmp_path / "out")
    assert [path.name for path in paths] == ["kodak-.._.._up_a_b.json", "kodak-.._.._up_a_b~2.json"]
    assert all(path.parent == tmp_path / "out" for path in paths)


def test_a_value_that_files_cannot_tell(tmp_path: Path):
    (curve,) = curves(learned_rows())
    curve.points[0]["psnr"] = math.inf
    with pytest.raises(UserError, match="modulated at 64 has psnr inf"):
        write_curves([curve], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("results", "sentence"),
    [
        ({"psnr": [1.0], "Rate": [0.1]}, "no values of bpp; its keys are psnr, rate."),
        ({"bpp": [], "psnr": []}, "no values of bpp"),
        ({"bpp": [0.1, 0.2], "psnr": [28.0]}, "2 values of bpp but 1 of psnr"),
        ({"bpp": [0.1, 0.0], "psnr": [28.0, 29.0]}, "not above 0 bpp"),
        ({"bpp": [0.1, None], "psnr": [28.0, 29.0]}, "not above 0 bpp"),
        ({"bpp": [0.1], "psnr": ["28"]}, "psnr '28', which is no finite number"),
        ({"bpp": [0.1], "psnr": [True]}, "no finite number"),
        ({"bpp": [0.1], "psnr": [math.nan]}, "no finite number"),
        ({"bpp": [0.1], "psnr": [math.inf]}, "no finite number"),
        ({"bpp": [0.1], "psnr": [10**400]}, "no finite number"),
        ({"bpp": [0.1], "psnr": [[1]]}, "no finite number"),
        ({"bpp": [0.1], "psnr-yuv": [30.0]}, "no quality: none of psnr-rgb, "),
        ({"bpp": [0.1, 0.2], "ms-ssim": [0.9, 13.0]}, "is it in dB or not"),
        ({"bpp": [0.1, 0.2], "ms-ssim": [0.1, 0.05]}, "name it 1-ms-ssim"),
        ({"bpp": [0.1] * 2000, "psnr": [28.0] * 2000}, "more than 1000 are not read"),
        ("x", 'CompressAI\'s "results"'),
    ],
)
def test_what_is_no_curve_is_told(tmp_path: Path, results, sentence: str):
    path = written(tmp_path, results)
    with pytest.raises(UserError, match=r"curve\.json: ") as caught:
        read_curves(path)
    assert sentence in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.json", b"[" * 100_000, "not JSON"),
        ("a.json", b"[1]", "results"),
        ("a.json", b"\xff\xfe\x00", "UTF-8"),
        ("a.json", b"1" * 10_000, "not JSON"),
        ("a.json", b" " * (MAX_BYTES + 1), "longer than"),
        ("a.txt", b"bpp,psnr\n", "neither .json"),
        ("a.csv", b"", "no point"),
        ("a.csv", b"bpp,psnr\n" + b'"' + b"x" * 200_000, "no CSV"),
        ("a.csv", b"name,bpp,psnr\n" + b"".join(b"%d,1,2\n" % i for i in range(500)), "500 curves"),
        ("a.csv", b"bpp,psnr\n0.1,nan\n", "no finite number"),
        ("a.csv", b"bpp,psnr\n0.1\n", "no quality"),
        ("a.csv", b"name;bpp;psnr\nx;0.1;30\n", "its columns are 'name;bpp;psnr'; it needs bpp and one quality"),
        ("a.csv", b"name;bpp;psnr\nx;0.1;30\n", "Its signs ';' separate no columns: use commas."),
        ("a.csv", b"bpp\tpsnr\n0.1\t30\n", "separate no columns: use commas."),
        ("a.csv", b"Rate,PSNR\n0.1,30\n", "its columns are 'rate', 'psnr'; it needs bpp and one quality of those"),
        ("a.csv", b"bpp,psnr_y\n0.1,30\n", "that are taken: bpp, psnr-rgb, psnr, ms-ssim-rgb, ms-ssim, ms-ssim-db"),
        ("a.csv", b"bpp,psnr\n1,2,3,4\nx,2\n", "bpp 'x'"),
    ],
)
def test_hostile_files(tmp_path: Path, name: str, content: bytes, sentence: str):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=name) as caught:
        read_curves(tmp_path / name)
    assert sentence in str(caught.value)
    for missing in (tmp_path / "none.json", tmp_path):
        with pytest.raises(UserError, match="missing, or no file"):
            read_curves(missing)


def test_names_cannot_steer_a_terminal(tmp_path: Path):
    path = tmp_path / "a.json"
    path.write_text(
        json.dumps({"name": "\x1b[2J" + "x" * 1000, "description": 3, "meta": [], "meta_": 0, "results": GOOD})
    )
    (curve,) = read_curves(path)
    assert curve.name.startswith("?[2Jx")
    assert len(curve.name) == 200


def test_classic_names():
    assert [is_classic(n) for n in ("BPG 8b 444", "VTM", "jpeg2000", "jpegish", "mbt2018", "", "?")] == [True] * 3 + [
        False
    ] * 4

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nic_lightning.cli import main
from nic_lightning.report.curves.bd_table import latex_escaped
from nic_lightning.report.curves.published import published_curves, published_names
from nic_lightning.runs.record.results import write_results

LEARNED = ((0.1, 28.0), (0.2, 30.0), (0.4, 32.5), (0.8, 35.0))


def rows(codec: str, scale: float = 1.0, images: int = 24, dataset: str = "kodak", **more):
    generator = np.random.default_rng(int(100 * scale))
    made = []
    for i in range(images):
        factor = generator.uniform(0.7, 1.4)
        for k, (bpp, psnr) in enumerate(LEARNED):
            point = {"codec": codec, "dataset": dataset, "item": f"{i}.png", "label": f"l{k}", "run": "same"}
            made.append(point | {"bpp": bpp * scale * factor, "psnr": psnr + generator.normal(0, 0.2)} | more)
    return made


@pytest.fixture
def runs(tmp_path: Path) -> list[str]:
    """Two runs that recorded one name: their folders tell them apart."""
    write_results(tmp_path / "one" / "results.parquet", rows("mae"))
    write_results(tmp_path / "two_50%" / "results.parquet", rows("mae", 1.25))
    return [str(tmp_path / "one"), str(tmp_path / "two_50%")]


def test_a_table(runs: list[str], capsys):
    assert main(["bd", *runs, "--published", "vtm", "bpg", "--anchor", "mae"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == (
        "kodak: BD-rate over PSNR against mae (one), curves of means over images, pchip; less is better"
    )
    assert lines[1].split()[:4] == ["curve", "BD-rate", "95%", "interval"]
    assert lines[3].startswith("mae (two_50%)")
    value, low, high = (float(lines[3].split()[i]) for i in (2, 4, 6))
    assert low < value < high
    assert 15 < value < 35
    assert lines[4].startswith("vtm (published)")
    assert lines[4].endswith("[1]")
    assert lines[6] == "[1] Against a published mean curve, so without an interval."


def test_other_forms(runs: list[str], capsys):
    arguments = ["bd", *runs, "--published", "vtm", "--anchor", "mae", "--draws", "100"]
    assert main([*arguments, "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [one["curve"] for one in listed] == ["mae (two_50%)", "vtm (published)"]
    assert listed[0]["draws"] == 100
    assert [point["run"] for point in listed[0]["points"]] == ["two_50%"] * 4
    assert listed[1]["source"] == "CompressAI results/image/kodak/vtm.json"
    assert main([*arguments, "--csv"]) == 0
    table = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert float(table[0]["value"]) == listed[0]["value"]
    assert table[1]["interval_low"] == ""
    assert main([*arguments, "--latex"]) == 0
    out = capsys.readouterr().out
    assert r"mae (two\_50\%) & $+$" in out
    assert out.count(r"\\") == 3
    assert out.endswith("\\bottomrule\n\\end{tabular}\n")


def test_latex_escapes():
    assert latex_escaped("a_b & 50% #1 $x$ {y} ^~\\") == (
        r"a\_b \& 50\% \#1 \$x\$ \{y\} \textasciicircum{}\textasciitilde{}\textbackslash{}"
    )
    assert latex_escaped("-1.5 to +2 of lr-3") == "$-$1.5 to $+$2 of lr-3"
    assert latex_escaped("a\nb\x1b") == "a?b?"


def test_kinds_methods_and_images(runs: list[str], capsys):
    values = {}
    options = (
        ["--kind", "quality"],
        ["--method", "akima"],
        ["--method", "cubic"],
        ["--per-image"],
        ["--draws", "0"],
        [],
    )
    for more in options:
        assert main(["bd", *runs, "--json", *more]) == 0
        values[" ".join(more)] = json.loads(capsys.readouterr().out)[0]
    assert values["--kind quality"]["value"] < 0
    assert len({one["value"] for one in values.values()}) == 5  # only no draws is as the default
    assert values["--draws 0"]["interval_low"] is None
    assert values[""]["value"] == values["--draws 0"]["value"]
    assert values["--per-image"]["images"] == 24


def test_fronts(tmp_path: Path, runs: list[str], capsys):
    write_results(tmp_path / "base" / "results.parquet", rows("base", 2.0))
    assert main(["bd", *runs, str(tmp_path / "base"), "--pareto", "--anchor", "base"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len([line for line in lines if line.startswith("mae ")]) == 1
    assert lines[-1].startswith("mae: l0 of one, ")
    assert main(["bd", *runs, str(tmp_path / "base"), "--hull", "--anchor", "base", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert all(point["run"] in ("one", "two_50%") for point in found["points"])


def test_curves_drawn_on_flat(tmp_path: Path, capsys):
    """Pchip over a decade of rates each: means of 50, 60, 70 are 55 and 65; of 50, 60, 60 they are 56.25 and 60."""
    for name, accuracies in (("long", (0.5, 0.6, 0.7)), ("short", (0.5, 0.6))):
        head = {"codec": name, "dataset": "furniture", "run": name, "medium": "cloud"}
        made = [
            head | {"item": f"{i}", "label": f"{k}", "bits": 10.0 ** (k + 1), "accuracy": accuracy}
            for k, accuracy in enumerate(accuracies)
            for i in range(6)
        ]
        write_results(tmp_path / name / "results.parquet", made)
    arguments = ["bd", str(tmp_path), "--anchor", "long", "--metric", "accuracy", "--kind", "quality", "--json"]
    found = []
    for more in ([], ["--flat"]):
        assert main([*arguments, *more]) == 0
        found += json.loads(capsys.readouterr().out)
    assert [row["value"] for row in found] == pytest.approx([0, (0.5625 + 0.6) / 2 - 0.6], abs=1e-6)
    assert main([*arguments[:-1], "--flat"]) == 0
    assert "test curves drawn on flat" in capsys.readouterr().out


def test_published_curves_alone(tmp_path: Path, capsys):
    path = tmp_path / "mine.csv"
    path.write_text("bpp,psnr\n0.2,30\n0.6,34\n")
    assert main(["bd", "--published", "bpg", "bmshj2018-hyperprior", str(path), "--dataset", "kodak"]) == 0
    out = capsys.readouterr().out
    assert "+3.93 %" in out
    assert "mine (published)" in out


def test_a_name_that_means_a_model_for_another_metric_says_so(tmp_path: Path, capsys):
    write_results(tmp_path / "one" / "results.parquet", rows("mae"))
    said = "cheng2020-attn is cheng2020-attn-ms-ssim, trained for MS-SSIM: no model of it trained for MSE ships"
    run = [str(tmp_path / "one"), "--published"]
    assert main(["bd", *run, "cheng2020-attn", "cheng2020-anchor"]) == 0
    captured = capsys.readouterr()
    assert captured.err == f"{said} for kodak.\n"
    assert "cheng2020-attn-ms-ssim (published) was trained for MS-SSIM." in captured.out
    assert "cheng2020-anchor-mse (published) was" not in captured.out
    assert main(["bd", *run, "cheng2020-attn", "--metric", "ms_ssim_db"]) == 1
    assert "was trained for" not in capsys.readouterr().out
    assert main(["report", *run, "cheng2020-attn", "-o", str(tmp_path / "r.html")]) == 0
    assert f"the first: {said} for kodak." in capsys.readouterr().out
    assert said in (tmp_path / "r.html").read_text()


def test_examples_of_published_names_mean_models_for_mse():
    """In the README, the guides and the help texts, where curves are spoken of: somebody will read their PSNR."""
    root = Path(__file__).parents[2]
    texts = [root / "README.md", *(root / "docs").glob("*.md"), *(root / "nic_lightning").rglob("*.py")]
    known = published_names("kodak")
    lines = [line for path in texts for line in path.read_text().splitlines() if "ublished" in line or "vtm" in line]
    words = {word for line in lines for word in re.findall(r"[a-z0-9]+2[0-9]{3}(?:-[a-z0-9]+)+", line)}
    named = {word for word in words if any(name.startswith(word) for name in known)}
    assert {"cheng2020-anchor", "bmshj2018-hyperprior"} <= named
    for word in named - {name for name in named if name.endswith("-ms-ssim")}:
        (curve,) = published_curves([word], "kodak")
        assert not curve.codec.endswith("-ms-ssim"), word


def test_several_data_sets(tmp_path: Path, runs: list[str], capsys):
    for name, scale in (("one", 1.0), ("other", 1.1)):
        write_results(tmp_path / "more" / name / "results.parquet", rows("mae", scale, dataset="clic"))
    assert main(["bd", *runs, str(tmp_path / "more"), "--published", "vtm", "--draws", "0"]) == 0
    captured = capsys.readouterr()
    assert [line.split(":")[0] for line in captured.out.splitlines() if "BD-rate over" in line] == ["kodak", "clic"]
    (told,) = captured.err.splitlines()
    assert told.startswith("No published curve on clic ships, only on kodak, clic2020-professional: measure the runs")
    assert main(["bd", *runs, str(tmp_path / "more"), "--dataset", "clic", "--draws", "0"]) == 0
    assert "kodak" not in capsys.readouterr().out
    for run, others in (("one", "mae (more/other)"), ("more/other", "mae (more/one)")):  # two runs of one codec
        assert main(["bd", str(tmp_path / "more"), "--anchor", run, "--draws", "0"]) == 0
        out = capsys.readouterr().out
        assert f"{run})," in out
        assert f"\n{others} " in out


def test_runs_in_folders_of_one_name_are_two_curves(tmp_path: Path, capsys, refused):
    folders = []
    for place, scale in (("A", 1.0), ("B", 1.25)):
        folders.append(str(tmp_path / place / "mod"))
        write_results(tmp_path / place / "mod" / "results.parquet", rows("mae", scale))
    assert main(["bd", *folders, "--json", "--draws", "0"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["anchor"], found["curve"]) == ("mae (A/mod)", "mae (B/mod)")
    assert 15 < found["value"] < 35
    assert main(["results", *folders, "-o", str(tmp_path / "out")]) == 0
    written = [json.loads(path.read_text()) for path in sorted((tmp_path / "out").iterdir())]
    assert [one["name"] for one in written] == ["mae (A/mod)", "mae (B/mod)"]
    assert written[0]["results"]["bpp"] != written[1]["results"]["bpp"]
    assert "'mod' is the folder of several runs" in refused("bd", *folders, "--anchor", "mod")
    assert "'mod' is the folder of several runs" in refused("report", *folders, "-o", tmp_path / "r", "--anchor", "mod")


def test_no_delta_at_all_is_a_problem(tmp_path: Path, runs: list[str], capsys):
    write_results(tmp_path / "far" / "results.parquet", rows("far", images=23))
    assert main(["bd", runs[0], str(tmp_path / "far")]) == 1
    out = capsys.readouterr().out
    assert "none" in out
    assert "[1] The two curves were measured on different images." in out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["bd"], "nothing to compare"),
        (["bd", "--published", "vtm"], "need a data set"),
        (["bd", "RUN", "--anchor", "nobody"], "No curve is named 'nobody'; there is only mae."),
        (["bd", "RUN", "--dataset", "clic"], "No run was measured on clic; there are results on kodak."),
        (["bd", "RUN", "--published", "vtn"], "Did you mean 'vtm'?"),
        (["bd", "RUN", "--draws", "-1"], "not a whole number"),
        (["bd", "RUN", "--metric", "snr"], "there is no 'snr'"),
        (["bd", "NONE"], "does not exist"),
        (["results", "NONE", "-o", "out"], "does not exist"),
    ],
)
def test_wrong_input_is_one_sentence(tmp_path: Path, runs: list[str], arguments: list[str], sentence: str, refused):
    places = {"RUN": runs[0], "NONE": str(tmp_path / "none")}
    assert sentence in refused(*(places.get(word, word) for word in arguments))


def test_results_are_read_again(tmp_path: Path, runs: list[str], capsys):
    for form in ("json", "csv"):
        assert main(["results", *runs, "-o", str(tmp_path / "out"), "--format", form]) == 0
        paths = capsys.readouterr().out.split("\n")[:-1]
        assert [Path(p).name for p in paths] == [f"kodak-mae_one.{form}", f"kodak-mae_two_50.{form}"]
        assert main(["bd", runs[0], "--published", *paths, "--json"]) == 0
        listed = json.loads(capsys.readouterr().out)
        assert listed[0]["value"] == 0.0  # a run against its own published means
    assert main(["results", *runs, "-o", str(tmp_path / "out")]) == 2
    assert "exists already; --overwrite replaces it" in capsys.readouterr().err


def test_neither_needs_torch(runs: list[str]):
    code = f"import sys; from nic_lightning.cli import main; main(['bd', *{runs!r}]); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0

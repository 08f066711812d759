from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nic_lightning.errors import RunError, UserError
from nic_lightning.metrics.names import RECONSTRUCTIONS, reconstruction_path
from nic_lightning.report.curves.comparison import compare
from nic_lightning.report.curves.curves import curves
from nic_lightning.report.page import gallery
from nic_lightning.report.page.html import write_report
from nic_lightning.runs.index.index import read_run
from nic_lightning.runs.index.overview import overview
from nic_lightning.runs.record.record import RunRecord
from tests.report.samples import classic_rows, learned_rows, make_run, row

LITTLE = {"left": 300, "left_out": 0}
EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'${title}&lt;"


class Page(HTMLParser):
    """Tags with attributes, scripts, and the text outside of scripts and styles."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.words: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.text = " ".join(self.words)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        last = self.tags[-1][0] if self.tags else ""
        if last == "script" and self.cdata_elem == "script":
            self.scripts[-1] += data
        elif self.cdata_elem is None and data.strip():
            self.words.append(data.strip())

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def data(self) -> dict[str, Any]:
        return json.loads(self._of_type("application/json")[0])

    @property
    def raw_data(self) -> str:
        return self._of_type("application/json")[0]

    @property
    def blocks(self) -> list[str]:
        return self._of_type("text/plain")

    @property
    def code(self) -> list[str]:
        """What may run: Plotly, which waits as text, and the page's own script."""
        pairs = zip(self.named("script"), self.scripts, strict=True)
        return [text for attributes, text in pairs if attributes.get("id") == "plotly"] + self._of_type(None)

    def _of_type(self, kind: str | None) -> list[str]:
        pairs = zip(self.named("script"), self.scripts, strict=True)
        return [text for attributes, text in pairs if attributes.get("type") == kind]


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Page:
    root = tmp_path_factory.mktemp("runs")
    mae = learned_rows(run="mae") + classic_rows(run="mae")
    make_run(root / "sweep" / "mae", mae, pictures=True)
    make_run(root / "sweep" / "cae", learned_rows("cae", 1.2, run="cae"), pictures=True)
    assert write_report([root / "sweep"], root / "report.html") == []
    return Page(root / "report.html")


def test_sections(page):
    titles = [attributes["id"] for attributes in page.named("section")]
    assert titles == [
        *("summary", "curves", "bd-rate", "complexity", "reconstructions", "per-image"),
        *("rates", "training", "configuration"),
    ]
    for word in ("mae", "finished", "modulated", "jpeg", "codec=modulated", "seed: 0", "0.0990"):
        assert word in page.text


def test_curves(page):
    data = page.data
    assert data["datasets"] == ["kodak"]
    assert [metric["key"] for metric in data["metrics"]] == ["psnr", "ms_ssim_db"]
    assert [curve["name"] for curve in data["curves"]] == ["cae", "modulated", "jpeg"]
    assert [curve["classic"] for curve in data["curves"]] == [False, False, True]
    assert len({(curve["colour"], curve["symbol"]) for curve in data["curves"]}) == 3
    modulated = data["curves"][1]
    assert [point["bpp"] for point in modulated["points"]] == [0.1, 0.2, 0.4, 0.8]
    assert {point["step"] for point in modulated["points"]} == {3}  # after the steps 0, 1 and 2
    training = [[trace["name"] for trace in figure["data"]] for figure in data["figures"].values()]
    assert training == [["cae", "mae"], ["cae @ 64", "mae @ 64"]]
    plots = [a["data-figure"] for a in page.named("div") if "data-figure" in a]
    assert plots == list(data["figures"])


def test_rows_are_columns(page):
    rows = page.data["rows"]
    assert rows["count"] == 13
    assert rows["texts"]["codec"]["names"] == ["cae", "modulated", "jpeg"]
    codes = np.frombuffer(base64.b64decode(rows["texts"]["codec"]["codes"]), "<u4")
    assert codes.tolist() == [0] * 4 + [1] * 4 + [2] * 5
    assert np.frombuffer(base64.b64decode(rows["curve"]), "<i4").tolist() == codes.tolist()
    psnr = np.frombuffer(base64.b64decode(rows["numbers"]["psnr"]), "<f4")
    assert psnr[:4].tolist() == [28.0, 30.0, 32.5, 35.0]
    estimated = np.frombuffer(base64.b64decode(rows["numbers"]["bpp_estimated"]), "<f4")
    assert np.isnan(estimated[8:]).all()


def test_deltas_are_those_of_compare(page):
    found = page.data["deltas"]["kodak"]
    assert found["anchor"] == 2
    assert found["anchors"] == [2, 0, 1]
    made = curves(learned_rows("cae", 1.2) + learned_rows() + classic_rows())
    for anchor, test in ((2, 1), (0, 1), (1, 0)):
        rate, gain = found["pairs"][f"{anchor},{test}"]["psnr"]
        by_name = {curve.codec: curve for curve in made}
        names = ["cae", "modulated", "jpeg"]
        expected = compare(by_name[names[anchor]], by_name[names[test]], "psnr").result
        assert expected is not None
        assert rate["value"] == pytest.approx(expected.value, rel=1e-5)
        assert (gain["value"] > 0) == (rate["value"] < 0)
        assert rate["note"] == "1 image is too few for an interval."


def test_pictures_are_inside_the_page(page):
    (item,) = page.data["pictures"]
    assert item["item"] == "a.png"
    entries = [(entry.get("codec", "original"), entry.get("label")) for entry in item["entries"]]
    assert entries[0] == ("original", None)
    labels = ["64", "256", "1024", "4096"]
    assert entries[1:9] == [(codec, label) for codec in ("cae", "modulated") for label in labels]
    assert len(entries) == 1 + 8 + 5
    for entry in item["entries"]:
        assert base64.b64decode(page.blocks[entry["id"]]).startswith(b"\x89PNG")


def test_configurations_are_compared(page):
    configs = page.data["configs"]
    name = configs["keys"].index("name")
    values = {run: configs["values"][codes[name]] for run, codes in configs["runs"].items()}
    assert values == {"cae": "cae", "mae": "mae"}
    assert "seed" not in configs["keys"]


def test_nothing_is_fetched_and_only_named_scripts_run(page):
    for tag, attributes in page.tags:
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in ("src", "href"):
                assert str(value).startswith(("data:", "#")), (tag, name, value)
    assert page.named("link") == []
    policy = next(str(a["content"]) for a in page.named("meta") if a.get("http-equiv"))
    assert policy.startswith("default-src 'none'")
    assert "http" not in policy
    allowed = set(re.findall(r"'sha256-([^']+)'", policy))
    kinds = {attributes.get("type") for attributes in page.named("script")}
    assert kinds == {"text/plain", "application/json", None}
    assert len(page.code) == 2
    hashes = {base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in page.code}
    assert hashes == allowed


def test_hostile_names_stay_text(tmp_path):
    rows = learned_rows(EVIL, dataset=EVIL, item=EVIL, experiment=EVIL)
    rows += [{**r, "label": EVIL + r["label"]} for r in classic_rows("b" + EVIL, dataset=EVIL, item=EVIL)]
    folder = make_run(tmp_path / "evil", rows, pictures=True, config={"name": EVIL, EVIL: [EVIL]})
    record = RunRecord(folder)
    for step in range(3):
        record.log(step, {EVIL: 1.0, f"train/loss@{EVIL}": 2.0})
    (folder / "overrides.yaml").write_text(json.dumps([EVIL]))
    environment = {"python": EVIL, "git": {"commit": EVIL}, "gpus": [EVIL]}
    (folder / "environment.json").write_text(json.dumps(environment))
    (folder / "status.json").write_text(json.dumps({"state": "failed", "started": EVIL, "error": EVIL}))
    write_report([folder], tmp_path / "r.html", title=EVIL)
    page = Page(tmp_path / "r.html")
    assert {a.get("type") for a in page.named("script")} == {"text/plain", "application/json", None}
    assert len(page.code) == 2
    assert page.named("img") == []
    assert EVIL in page.text
    for _, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes)
    assert page.data["curves"][0]["name"] == EVIL
    assert "<script" not in json.dumps(page.data["figures"])
    assert "<" not in page.raw_data


def test_pictures_out_of_the_folder_are_not_shown(tmp_path):
    folder = make_run(tmp_path / "run", learned_rows(), pictures=True)
    picture = reconstruction_path(folder / RECONSTRUCTIONS, "kodak", "a.png", "64")
    picture.rename(tmp_path / "secret.png")
    os.symlink(tmp_path / "secret.png", picture)
    (problem,) = write_report([folder], tmp_path / "r.html")
    assert "link out of the run folder" in problem


def test_pictures_have_a_budget(tmp_path, monkeypatch):
    folder = make_run(tmp_path / "run", learned_rows(), pictures=True)
    monkeypatch.setattr(gallery.Gallery, "__init__", lambda self: self.__dict__.update(LITTLE, items=[], blocks=[]))
    (problem,) = write_report([folder], tmp_path / "r.html")
    assert problem == "There are more pictures than one page holds; 2 are left out."
    (item,) = Page(tmp_path / "r.html").data["pictures"]
    assert [entry.get("label") for entry in item["entries"]] == [None, "64", "4096"]


def test_a_run_too_short_to_log_tells_its_steps(tmp_path):
    record = RunRecord(make_run(tmp_path / "run", learned_rows()))
    record.steps = 17
    record.finish("finished")
    (tmp_path / "run" / "metrics.jsonl").unlink()
    write_report([tmp_path / "run"], tmp_path / "r.html")
    assert '<td class="n">17</td>' in (tmp_path / "r.html").read_text()


def test_the_page_and_the_list_tell_the_same_steps(tmp_path):
    record = RunRecord(make_run(tmp_path / "run", learned_rows()))
    record.log(49, {"train/loss": 1.0})  # the fiftieth of sixty steps
    write_report([tmp_path / "run"], tmp_path / "r.html")
    assert '<td class="n">50</td>' in (tmp_path / "r.html").read_text()
    record.steps = 60
    record.finish("finished")
    write_report([tmp_path / "run"], tmp_path / "r.html")
    assert '<td class="n">60</td>' in (tmp_path / "r.html").read_text()
    assert overview(read_run(tmp_path / "run")).step == 60


def test_runs_without_results(tmp_path):
    record = RunRecord(tmp_path / "run")
    record.start({}, [])
    record.log(1, {"train/loss": 1.0})
    problems = write_report([tmp_path / "run"], tmp_path / "r.html")
    assert problems == ["No run holds results; nic-evaluate writes them."]
    assert "running" in Page(tmp_path / "r.html").text


def test_curves_without_a_bd_rate_say_why(tmp_path):
    rows = learned_rows() + classic_rows() + [row("odd", "1", 0.3, 30.0), row("odd", "2", 0.6, 29.0)]
    write_report([make_run(tmp_path / "run", rows)], tmp_path / "r.html")
    data = Page(tmp_path / "r.html").data
    odd = [curve["name"] for curve in data["curves"]].index("odd")
    found = data["deltas"]["kodak"]["pairs"][f"{data['deltas']['kodak']['anchor']},{odd}"]["psnr"][0]
    assert found["problem"].startswith("The test curve is not monotone: from '1' (0.3000 bpp, psnr 30.0000) to '2'")


def test_many_curves_have_few_anchors(tmp_path, monkeypatch):
    monkeypatch.setattr("nic_lightning.report.page.deltas.MAX_PAIRS", 8)
    monkeypatch.setattr("nic_lightning.report.page.deltas.MIN_PAIRS", 3)
    rows = [r for i in range(5) for r in learned_rows(f"codec{i}", 1 + i / 10)]
    write_report([make_run(tmp_path / "run", rows)], tmp_path / "r.html")
    found = Page(tmp_path / "r.html").data["deltas"]["kodak"]
    assert found["anchors"] == [0, 1]
    assert len(found["pairs"]) == 8


def test_infinite_psnr(tmp_path):
    rows = [row("a", "1", 0.5, 30.0), row("a", "2", 4.0, float("inf"))]
    write_report([make_run(tmp_path / "run", rows)], tmp_path / "r.html")
    assert [point["psnr"] for point in Page(tmp_path / "r.html").data["curves"][0]["points"]] == [30.0, None]


def test_anchor(tmp_path):
    folder = make_run(tmp_path / "run", learned_rows() + classic_rows())
    write_report([folder], tmp_path / "r.html", anchor="modulated")
    assert Page(tmp_path / "r.html").data["deltas"]["kodak"]["anchor"] == 0
    with pytest.raises(UserError, match="No curve is named 'vtm'; there are: modulated, jpeg"):
        write_report([folder], tmp_path / "r.html", anchor="vtm")


def test_published_curves(tmp_path):
    folder = make_run(tmp_path / "run", learned_rows() + learned_rows(dataset="mine"))
    write_report([folder], tmp_path / "r.html", published=["vtm"])
    curves_ = Page(tmp_path / "r.html").data["curves"]
    assert [(c["name"], c["dataset"]) for c in curves_ if c["published"]] == [("vtm (published)", "kodak")]
    with pytest.raises(UserError, match="Did you mean 'vtm'"):
        write_report([folder], tmp_path / "r.html", published=["vtmm"])


def test_runs_of_one_name_are_told_apart(tmp_path):
    for home, scale in (("a", 1.0), ("b", 1.1)):
        make_run(tmp_path / home / "runs" / "mae", learned_rows(scale=scale))
    write_report([tmp_path / "a" / "runs", tmp_path / "b" / "runs"], tmp_path / "r.html")
    names = [curve["name"] for curve in Page(tmp_path / "r.html").data["curves"]]
    assert names == ["modulated (a/runs/mae)", "modulated (b/runs/mae)"]


def test_a_page_that_cannot_be_written(tmp_path):
    folder = make_run(tmp_path / "run", learned_rows())
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").touch()
    with pytest.raises(RunError, match="cannot be written"):
        write_report([folder], tmp_path / "taken")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run", "taken"]
    with pytest.raises(RunError, match="does not exist"):
        write_report([tmp_path / "gone"], tmp_path / "r.html")


def test_imports_without_torch():
    modules = "nic_lightning.report.page.html, nic_lightning.report.curves.text, nic_lightning.report.curves.figures"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules or 'plotly' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_clouds_are_not_called_images(tmp_path: Path) -> None:
    def cloud(label: str, name: str, bits: float, accuracy: float) -> dict[str, Any]:
        of_images = ("bpp", "psnr", "ms_ssim_db")
        whole = {k: v for k, v in row("point_cloud", label, 0.0, 0.0).items() if k not in of_images}
        own = {"medium": "cloud", "points": 256, "bits": bits, "bits_estimated": bits - 1, "accuracy": accuracy}
        return {**whole, "dataset": "furniture", "item": name, **own}

    rows = [cloud("10", name, 12.0, 0.5) for name in "ab"] + [cloud("160", name, 40.0, 0.7) for name in "ab"]
    run = make_run(tmp_path / "run", rows)
    assert write_report([run], tmp_path / "report.html") == []
    page = Page(tmp_path / "report.html")
    assert "clouds, or one cloud, from real files" in page.text
    assert page.data["item"] == "cloud"
    assert page.data["cost_names"]["latency"] == "encoding + decoding [ms per cloud]"
    assert "clouds" in [word for word in page.words if word in ("images", "clouds")]
    assert "Images" not in page.words

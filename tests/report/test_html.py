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

import pytest

from nic_lightning.errors import RunError, UserError
from nic_lightning.metrics.names import RECONSTRUCTIONS, reconstruction_path
from nic_lightning.report import gallery
from nic_lightning.report.html import write_report
from nic_lightning.runs.record import RunRecord
from tests.report.samples import classic_rows, learned_rows, make_run, row

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
    def figures(self) -> dict[str, Any]:
        return json.loads(self.scripts[0])


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
        "summary",
        "curves",
        "bd-rate",
        "rates",
        "reconstructions",
        "training",
        "configuration",
    ]
    for word in ("sweep/mae", "finished", "modulated", "jpeg", "codec=modulated", "seed: 0", "original"):
        assert word in page.text


def test_plots(page):
    figures = list(page.figures.values())
    plots = [attributes["id"] for attributes in page.named("div") if attributes.get("class") == "plot"]
    assert plots == list(page.figures)
    psnr = figures[0]
    assert [trace["name"] for trace in psnr["data"]] == ["cae", "modulated", "jpeg"]
    assert ["dash" in trace["line"] for trace in psnr["data"]] == [False, False, True]
    assert psnr["data"][1]["x"] == [0.1, 0.2, 0.4, 0.8]
    assert "0.0990 estimated" in psnr["data"][1]["text"][0]
    assert psnr["layout"]["yaxis"]["title"]["text"] == "PSNR [dB]"
    training = [figure for figure in figures if figure["data"][0]["x"] == [0, 1, 2]]
    assert [[trace["name"] for trace in figure["data"]] for figure in training] == [
        ["cae", "mae"],
        ["cae @ 64", "mae @ 64"],
    ]


def test_bd_rates(page):
    assert "Rate against jpeg" in page.text
    assert re.search(r"28\.0 to 35\.0 dB, 54%", page.text)
    values = [float(v) for v in re.findall(r"([+-][\d.]+)\u2009%", page.text)]
    assert any(v < -40 for v in values)
    assert "+1.01\u2009%" in page.text


def test_pictures_are_inside_the_page(page):
    images = [a for a in page.named("img") if a.get("src")]
    assert all(str(image["src"]).startswith("data:image/png;base64,") for image in images)
    # original; lowest and highest of two learned codecs; the classic points nearest to these
    assert len(images) == 1 + 4 + 2


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
    kinds = [attributes.get("type") for attributes in page.named("script")]
    assert kinds == ["application/json", None, None]
    hashes = {base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in page.scripts[1:]}
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
    assert len(page.named("script")) == 3
    assert all(str(a["src"]).startswith("data:") for a in page.named("img") if "src" in a)
    assert EVIL in page.text
    for _, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes)
    shown = json.dumps(page.figures)
    assert "<script" not in shown
    assert "<img" not in shown
    chips = {a.get("data-curve") for a in page.named("button") if "chip" in str(a.get("class"))}
    assert chips == {trace["name"] for trace in page.figures["figure-0"]["data"]}


def test_problems_are_named_and_shown(tmp_path):
    make_run(tmp_path / "runs" / "good", learned_rows(), pictures=True)
    cut = make_run(tmp_path / "runs" / "cut", classic_rows())
    (cut / "results.parquet").write_bytes(b"PAR1 cut")
    (cut / "config.yaml").unlink()
    (cut / "environment.json").write_text("[")
    picture = reconstruction_path(tmp_path / "runs" / "good" / RECONSTRUCTIONS, "kodak", "a.png", "64")
    picture.write_bytes(b"no picture")
    problems = write_report([tmp_path / "runs"], tmp_path / "r.html")
    text = Page(tmp_path / "r.html").text
    assert len(problems) == 3
    for problem, part in zip(problems, ("64.png", "config.yaml is missing", "not a readable"), strict=True):
        assert part in problem
        assert problem in text
    assert "environment.json is damaged." in text


def test_pictures_out_of_the_folder_are_not_shown(tmp_path):
    folder = make_run(tmp_path / "run", learned_rows(), pictures=True)
    picture = reconstruction_path(folder / RECONSTRUCTIONS, "kodak", "a.png", "64")
    picture.rename(tmp_path / "secret.png")
    os.symlink(tmp_path / "secret.png", picture)
    (problem,) = write_report([folder], tmp_path / "r.html")
    assert "link out of the run folder" in problem


def test_pictures_have_a_budget(tmp_path, monkeypatch):
    folder = make_run(tmp_path / "run", learned_rows(), pictures=True)
    monkeypatch.setattr(gallery, "MAX_TOTAL", 100)
    monkeypatch.setattr(gallery._Budget, "__init__", lambda self: self.__dict__.update(left=100, problems=[]))
    (problem,) = write_report([folder], tmp_path / "r.html")
    assert "more pictures" in problem


def test_runs_without_results(tmp_path):
    record = RunRecord(tmp_path / "run")
    record.start({}, [])
    record.log(1, {"train/loss": 1.0})
    problems = write_report([tmp_path / "run"], tmp_path / "r.html")
    assert problems == ["No run holds results; nic-evaluate writes them."]
    assert "running" in Page(tmp_path / "r.html").text


def test_curves_without_a_bd_rate_say_why(tmp_path):
    rows = learned_rows() + classic_rows() + [row("odd", "1", 0.3, 30.0), row("odd", "2", 0.6, 29.0)]
    folder = make_run(tmp_path / "run", rows)
    write_report([folder], tmp_path / "r.html")
    text = Page(tmp_path / "r.html").text
    assert "no value" in text
    assert "odd: The test curve is not monotone: from '1' (0.3000 bpp, psnr 30.0000) to '2'" in text


def test_data_sets_have_tabs(tmp_path):
    rows = learned_rows() + learned_rows(dataset=EVIL)
    write_report([make_run(tmp_path / "run", rows, pictures=True)], tmp_path / "r.html")
    page = Page(tmp_path / "r.html")
    chosen = [(a["data-tab"], a["aria-selected"]) for a in page.named("button") if a.get("role") == "tab"]
    names = ("curves", "rates", "pictures")
    assert chosen == [(f"{name}-{i}", ("true", "false")[i]) for name in names for i in (0, 1)]
    panels = {a["id"]: "hidden" in a for a in page.named("div") if a.get("role") == "tabpanel"}
    assert panels == {f"{name}-{i}": i == 1 for name in names for i in (0, 1)}


def test_infinite_psnr(tmp_path):
    rows = [row("a", "1", 0.5, 30.0), row("a", "2", 4.0, float("inf"))]
    write_report([make_run(tmp_path / "run", rows)], tmp_path / "r.html")
    assert Page(tmp_path / "r.html").figures["figure-0"]["data"][0]["y"] == [30.0, None]


def test_anchor(tmp_path):
    folder = make_run(tmp_path / "run", learned_rows() + classic_rows())
    write_report([folder], tmp_path / "r.html", anchor="modulated")
    assert "Rate against modulated" in Page(tmp_path / "r.html").text
    with pytest.raises(UserError, match="No curve is named 'vtm'; there are: modulated, jpeg"):
        write_report([folder], tmp_path / "r.html", anchor="vtm")


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
    modules = "nic_lightning.report.html, nic_lightning.report.text, nic_lightning.report.figures"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules or 'plotly' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

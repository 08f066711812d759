"""Evaluation of optical flow: rows, pictures, going on after a stop, the page and the table."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from PIL import Image

from nic_lightning.callbacks import flow_evaluation
from nic_lightning.callbacks.flow_evaluation import evaluate_flow_into_run, refuse_other_settings
from nic_lightning.data.flow_sets import flow_set
from nic_lightning.errors import DataError, RunError
from nic_lightning.flow.io import encode
from nic_lightning.metrics.names import FLOW_PICTURES
from nic_lightning.report.page.flow import flow_rows, flow_section, flow_table
from nic_lightning.report.page.html import write_report
from nic_lightning.runs.record.record import RunRecord
from nic_lightning.runs.record.results import read_results, write_results

MOVE = (3.0, -2.0)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Sintel of two sequences with three and two flows; the left quarter is occluded, in the second nothing."""
    noise = np.random.default_rng(0).random((48, 64, 3), dtype=np.float32)
    texture = cv2.GaussianBlur(noise, (0, 0), 2)
    texture = (255 * (texture - texture.min()) / np.ptp(texture)).astype(np.uint8)
    training = tmp_path / "data" / "sintel" / "training"
    for scene, count in (("alley_1", 3), ("cave_2", 2)):
        for folder in ("final", "flow", "occlusions"):
            (training / folder / scene).mkdir(parents=True)
        for number in range(1, count + 2):
            moved = np.roll(texture, (number * int(MOVE[1]), number * int(MOVE[0])), (0, 1))
            Image.fromarray(moved).save(training / "final" / scene / f"frame_{number:04d}.png")
        for number in range(1, count + 1):
            truth = np.full((48, 64, 2), MOVE, np.float32)
            (training / "flow" / scene / f"frame_{number:04d}.flo").write_bytes(encode(truth))
            occluded = np.zeros((48, 64), np.uint8)
            occluded[:, : 16 if scene == "alley_1" else 0] = 255
            Image.fromarray(occluded).save(training / "occlusions" / scene / f"frame_{number:04d}.png")
    return tmp_path / "data"


class Oracle:
    """Off by one pixel, by four where the previous frame is missing; a discrete stage, half of it kept."""

    def __init__(self) -> None:
        self.calls = 0
        self.settings = {"off": 1}

    def run(self, previous, current, next, after):
        self.calls += 1
        flow = np.full((*current.shape[:2], 2), MOVE, np.float32)
        flow[..., 0] += 1 if previous is not None else 4
        labels = np.full((16, 21, 2), (1, -1), np.int16)
        kept = np.zeros((16, 21), bool)
        kept[:8] = True
        seconds = {"cost volume": (0.5, 0.4), "semi-global matching": (1.5, 1.4)}
        return SimpleNamespace(flow=flow, stages={"labels": labels, "kept": kept}, seconds=seconds)


def evaluated(root: Path, folder: Path, **more) -> tuple[Oracle, list[dict]]:
    oracle = Oracle()
    options = {"run": folder.name, "name": "oracle", "save_images": 1, **more}
    return oracle, evaluate_flow_into_run(oracle, folder, [flow_set("sintel", root)], **options)


def told(rows: list[dict]) -> list[dict]:
    """Without what is not there."""
    return [{key: value for key, value in row.items() if value is not None} for row in rows]


def test_rows_of_every_item_and_stage(root, tmp_path):
    folder = tmp_path / "runs" / "oracle"
    _, rows = evaluated(root, folder)
    assert [(r["item"], r["label"]) for r in rows[:4]] == [
        ("alley_1_0001", "labels"),
        ("alley_1_0001", "kept"),
        ("alley_1_0001", "flow"),
        ("alley_1_0002", "labels"),
    ]
    final = [row for row in rows if row["label"] == "flow"]
    assert [row["epe_all"] for row in final] == pytest.approx([4, 1, 1, 4, 1])
    assert [row["frames"] for row in final] == [2, 3, 3, 2, 3]
    assert [row["epe_occ"] for row in final] == [pytest.approx(4), pytest.approx(1), pytest.approx(1), None, None]
    assert final[0]["fl"] == pytest.approx(100)
    assert (final[0]["time_semi_global_matching"], final[0]["core_semi_global_matching"]) == (1.5, 1.4)
    assert final[0]["core"] >= 0
    labels = next(row for row in rows if row["label"] == "labels")
    assert labels["epe_all"] == pytest.approx(1)  # (3, -3) for (3, -2)
    kept = next(row for row in rows if row["label"] == "kept")
    assert kept["density"] == pytest.approx(50)
    stored = read_results(folder / "results.parquet")
    assert told(stored) == told(rows)
    names = {path.name for path in (folder / FLOW_PICTURES / "sintel_final" / "alley_1_0001").iterdir()}
    assert names == {f"{n}.png" for n in ("frame", "truth")} | {
        f"{kind}{stage}.png" for kind in ("", "errors_") for stage in ("labels", "kept", "flow")
    }


def test_a_stopped_evaluation_goes_on(root, tmp_path):
    folder = tmp_path / "runs" / "oracle"
    _, first = evaluated(root, folder, limit=2)
    assert len(first) == 6
    oracle, rows = evaluated(root, folder)
    assert oracle.calls == 3
    assert told(rows[:6]) == told(first)
    assert len(rows) == 15


@pytest.mark.parametrize(("seconds", "stored"), [(0.0, [1, 2, 3, 4, 5]), (1e9, [0, 0, 0, 0, 0])])
def test_a_kill_takes_no_more_than_some_seconds_of_work(root, tmp_path, monkeypatch, seconds, stored):
    monkeypatch.setattr(flow_evaluation, "EVERY", seconds)
    table, found = tmp_path / "oracle" / "results.parquet", []

    def count(*_) -> None:
        found.append(len({row["item"] for row in read_results(table)}) if table.exists() else 0)

    evaluated(root, table.parent, on_item=count)
    assert found == stored
    assert len(read_results(table)) == 15


def test_pictures_are_of_items_all_over_the_set(root, tmp_path):
    for count, names in ((2, ["alley_1_0001", "alley_1_0003"]), (9, sorted(i.name for i in flow_set("sintel", root)))):
        folder = tmp_path / f"oracle{count}"
        evaluated(root, folder, save_images=count)
        assert sorted(path.name for path in (folder / FLOW_PICTURES / "sintel_final").iterdir()) == names


def test_what_was_measured_before_the_end_is_kept(root, tmp_path):
    folder = tmp_path / "runs" / "oracle"
    (root / "sintel" / "training" / "flow" / "alley_1" / "frame_0003.flo").write_bytes(b"PIEH")
    with pytest.raises(DataError, match="is cut"):
        evaluated(root, folder)
    kept = read_results(folder / "results.parquet")
    assert {row["item"] for row in kept} == {"alley_1_0001", "alley_1_0002"}


def test_other_settings_are_refused(root, tmp_path):
    folder = tmp_path / "runs" / "oracle"
    oracle = Oracle()
    refuse_other_settings(folder, oracle)
    RunRecord(folder).start({"flow": {"off": 1}}, [])
    evaluated(root, folder, limit=1)
    refuse_other_settings(folder, oracle)
    oracle.settings = {"off": 2}
    with pytest.raises(RunError, match="something else"):
        refuse_other_settings(folder, oracle)
    RunRecord(folder).start({"flow": {"off": 2, "refinement": {"outer": 10}}}, [])  # of a time when it named fewer keys
    oracle.settings = {"off": 2, "refinement": {"outer": 10, "alpha": 20.0}}
    refuse_other_settings(folder, oracle)
    oracle.settings["refinement"]["alpha"] = 30.0
    with pytest.raises(RunError, match="something else"):
        refuse_other_settings(folder, oracle)


def test_the_page_and_the_table(root, tmp_path):
    folder = tmp_path / "runs" / "oracle"
    _, rows = evaluated(root, folder)
    text = flow_table(rows)
    line = next(line for line in text.splitlines() if " flow " in line)
    pooled, sequences = (4 + 1 + 1 + 4 + 1) / 5, (2 + 2.5) / 2
    assert f"{pooled:.3f}" in line
    assert f"{sequences:.3f}" in line
    RunRecord(folder).start({"name": "oracle"}, [])
    assert write_report([folder], tmp_path / "report.html") == []
    page = (tmp_path / "report.html").read_text()
    assert page.count('<img src="data:image/png;base64') == 2 + 6  # frame and truth, three stages with their errors
    assert f'<td>flow</td><td class="n">5</td><td class="n">2</td><td class="n">{pooled:.3f}</td>' in page
    assert "semi global matching" in page
    assert "<b>1</b><span>data sets</span>" in page
    assert "learned operating points" not in page


def test_hostile_tables_and_pictures_do_no_harm(root, tmp_path):
    folder = tmp_path / "runs" / "oracle"
    _, rows = evaluated(root, folder)
    bad = [{**row, "epe_all": "<b>1</b>", "scene": "<script>alert(1)</script>"} for row in rows]
    assert flow_rows(bad)[0]["epe_all"] is None
    assert flow_rows([{"n_all": "12"}, {"n_all": None}, {}]) == []
    section = flow_section([], [{**row, "fl": float("inf"), "time": "soon"} for row in bad])
    assert "<script>" not in section
    assert "<b>" not in section
    many = [{**rows[0], "codec": f"m{number}", "dataset": f"d{number % 60}"} for number in range(60 * 210)]
    assert flow_table(many).count("\n") < 50 * 210
    write_results(folder / "results.parquet", rows)
    picture = next((folder / FLOW_PICTURES).rglob("truth.png"))
    picture.write_bytes(b"no picture")
    problems = write_report([folder], tmp_path / "report.html")
    assert any("truth of alley_1_0001 is not shown" in problem for problem in problems)


@pytest.mark.slow
def test_the_console_script(root, tmp_path):
    """A peer on the data set, the same command again, and the sentences for what is wrong."""

    def evaluate(*arguments: str) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "nic_lightning.evaluate", f"root={root}", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)

    command = ["flow=dis_fast", "evaluation.datasets=[sintel_final]"]
    done = evaluate(*command)
    assert done.returncode == 0, done.stderr
    assert "sintel_final (5 images)" in done.stdout
    rows = read_results(tmp_path / "runs" / "dis_fast" / "results.parquet")
    assert {row["label"] for row in rows} == {"flow"}
    assert np.mean([row["epe_all"] for row in rows]) < 2
    again = evaluate(*command)
    assert "alley_1" not in again.stderr
    for arguments, sentence in (
        (["flow=dis_fast", "flow.method=farneback", "evaluation.datasets=[sintel]"], "something else"),
        (["flow=dis_fast", "codec=jpeg"], "Give one of"),
        (["flow=dis_fast", "evaluation.datasets=[kitti2015]"], "image_2 is missing"),
        (["flow=dis_fast"], "no flow data set 'embedded'"),
        (["flow=raft_large", "evaluation.datasets=[sintel]"], "get https://download.pytorch.org"),
    ):
        wrong = evaluate(*arguments)
        assert wrong.returncode == 2
        assert sentence in wrong.stderr
        assert "Traceback" not in wrong.stderr
    assert read_results(tmp_path / "runs" / "dis_fast" / "results.parquet") == rows

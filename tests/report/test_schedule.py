from __future__ import annotations

import json

from PIL import Image

from nic_lightning.report.page.html import write_report
from nic_lightning.report.page.plots import training_plots
from nic_lightning.report.page.schedule import MAX_CURVES, observations, schedule_figure, schedule_plots, thinned
from nic_lightning.runs.record.record import RunRecord


def line(step: int, factor: float = 1.0) -> dict[str, float]:
    values = {"step": step, "time": 0.0, "schedule/photos/slope": 9.0}
    for width, rate, psnr in ((12, 0.1, 25.0), (24, 0.2, 27.0)):
        lmbda = 512.0 * (factor if width == 12 else 1.0)
        values |= {f"schedule/photos/bpp_estimated@w{width}": rate * factor, f"schedule/photos/psnr@w{width}": psnr}
        values[f"schedule/lambda@w{width}"] = lmbda
    return values


LINES = [{"step": 10, "time": 0.0, "train/loss": 3.0}, line(100), line(150, 0.8), line(200, 0.64)]


def test_rows_of_the_schedule_are_found_among_others():
    seen = observations(LINES)
    assert [one.step for one in seen] == [100, 150, 200]
    assert seen[1].lambdas == {"w12": 409.6, "w24": 512.0}
    assert seen[1].points["w24"] == (0.2 * 0.8, 27.0)
    broken = {k: v for k, v in line(9).items() if not k.endswith("psnr@w12")}
    assert observations([broken, {**line(10), "schedule/lambda@w12": float("nan")}, {}]) == []


def test_plots_of_a_scheduled_run():
    (_, stretch), (title, trace) = schedule_plots({"a": LINES, "b": LINES[:1]})
    assert title == "a: lambda"
    assert [t["name"] for t in stretch["data"]] == ["step 100", "step 150", "step 200"]
    assert stretch["data"][2]["x"] == [0.1 * 0.64, 0.2 * 0.64]
    assert {t["name"]: t["y"][-1] for t in trace["data"]} == {"w12": 512 * 0.64, "w24": 512.0}
    assert [name for name, _ in training_plots({"a": [*LINES, {"step": 20, "train/loss": 2.0}]})] == ["train/loss"]


def test_long_schedules_are_thinned_out():
    for count in (1, 2, MAX_CURVES, 57, 400):
        seen = observations([line(i) for i in range(count)])
        kept = thinned(seen)
        assert len(kept) <= MAX_CURVES
        assert (kept[0], kept[-1]) == (seen[0], seen[-1])


def test_the_picture_and_the_page(tmp_path):
    path = schedule_figure(LINES, tmp_path / "schedule.png")
    assert path
    with Image.open(path) as picture:
        assert picture.width > 1000
    assert schedule_figure(LINES[:1], tmp_path / "none.png") is None
    assert not (tmp_path / "none.png").exists()
    record = RunRecord(tmp_path / "<b>run")
    record.start({"name": "run"}, [])
    for values in LINES:
        record.log(int(values["step"]), {k: v for k, v in values.items() if k not in ("step", "time")})
    record.finish("finished")
    write_report([tmp_path / "<b>run"], tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "Lambda schedule" in page
    assert "&lt;b&gt;run: lambda" in page
    assert json.dumps("step 150") in page

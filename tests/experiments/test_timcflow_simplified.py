"""What the settings of the simplified pipeline were chosen by: the README tells the tables, and the choice follows."""

from __future__ import annotations

import csv
import re
import sys

from nic_lightning.flow.semi_global_matching import Potts
from nic_lightning.flow.settings import PRESETS
from tests.experiments.programs import EXPERIMENTS, program

FOLDER = EXPERIMENTS / "timcflow_simplified"
README = (FOLDER / "README.md").read_text()


def printed(name: str, capsys, monkeypatch) -> str:
    monkeypatch.setattr(sys, "argv", [name, str(FOLDER / "sweep.csv")])
    program(FOLDER.name, name).main()
    return capsys.readouterr().out


def test_the_filter_lowers_the_error_of_scenes_that_were_left_out(capsys, monkeypatch):
    table = printed("hold_out", capsys, monkeypatch)
    assert table.strip() in README
    lower, scenes = map(int, re.findall(r"on (\d+) of (\d+) scenes", table)[0])
    assert 3 * lower >= 2 * scenes


def test_the_errors_of_the_whole_pipeline_are_told(capsys, monkeypatch):
    table = printed("final", capsys, monkeypatch)
    assert table.strip() in README
    assert float(table.strip().rsplit("|", 2)[1]) <= 1.6  # of the full pipeline's; published: 1.22


def test_the_preset_is_what_most_scenes_of_large_motion_choose(capsys, monkeypatch):
    config = PRESETS["simplified"]
    window = config.cost_filter
    assert window is not None
    assert isinstance(config.smoothness, Potts)
    wanted = [
        *(config.outside_cost, window.radius, window.sigma_space, window.sigma_colour),
        *(config.smoothness.near, config.smoothness.far),
    ]
    words = "{}, {}/{}/{}, {}/{}".format(*wanted)
    rows = [line for line in printed("hold_out", capsys, monkeypatch).splitlines() if "| 3 |" in line]
    assert 2 * sum(f"| {words} |" in row for row in rows) > len(rows)


def test_a_setting_is_chosen_without_the_scene_it_is_told_for(tmp_path, capsys, monkeypatch):
    with (FOLDER / "sweep.csv").open() as file:
        columns = next(csv.reader(file))
    lines = [",".join(columns)]
    for scene, errors in (("a", (3, 1, 2.5)), ("b", (3, 2, 1)), ("c", (1, 2, 3.5))):
        for error, (radius, sigma, width, far) in zip(
            errors, ((0, 0, 0, 600), (3, 3.0, 0.05, 600), (3, 3.0, 0.05, 1200)), strict=True
        ):
            lines.append(f"set,{scene},3,100,{radius},{sigma},{width},7,{far},{error},,")
    (tmp_path / "sweep.csv").write_text("\n".join(lines) + "\n")
    monkeypatch.setattr(sys, "argv", ["hold_out", str(tmp_path / "sweep.csv")])
    program(FOLDER.name, "hold_out").main()
    told = capsys.readouterr().out
    assert re.findall(r"\| (\w) \| 3 \| .*?/(\d+) \|", told) == [("a", "1200"), ("b", "600"), ("c", "600")]
    assert "lowers the error on 2 of 3 scenes" in told

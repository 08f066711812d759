"""`nic bench flow` on tiny frames: every row is there, and what is measured is the work."""

from __future__ import annotations

import json
from itertools import pairwise

import numba
import numpy as np

from nic_lightning import cli
from nic_lightning.benchmarks.flow import moving_frames


def test_each_step_and_each_program_has_its_row(capsys):
    import cv2
    import torch

    threads = torch.get_num_threads(), numba.get_num_threads(), cv2.getNumThreads()
    try:
        tiny = "--size 96x60 --max-displacement 12 --repeats 1 --threads 1"
        assert cli.main(["bench", "flow", *tiny.split(), "--no-raft", "--device", "cpu", "--json"]) == 0
    finally:
        torch.set_num_threads(threads[0])
        numba.set_num_threads(threads[1])
        cv2.setNumThreads(threads[2])
    found = json.loads(capsys.readouterr().out)
    rows = {row["name"]: row for row in found["rows"]}
    assert {"cost volume", "semi-global matching", "simplified, a frame of a sequence", "deepflow"} <= rows.keys()
    assert all(row["wall"] > 0 for row in rows.values())
    assert "ms, aim at Sintel's size and range 50 ms" in rows["cpu: semi-global, both frames"]["rate"]
    assert "GFLOP/core-s" in rows["cost volume"]["rate"]
    assert found["rows"][-1]["peak_gib"] > 0


def test_a_displacement_that_no_pipeline_takes_is_refused_before_anything_is_timed(refused):
    for wrong in ("-3", "0"):
        assert f"not {wrong}." in refused("bench", "flow", "--size", "96x60", "--max-displacement", wrong)


def test_its_frames_move_as_told():
    frames = moving_frames(40, 50, 3)
    for before, after in pairwise(frames):
        moved = [(dy, dx) for dy in (-3, 3) for dx in (-6, 6) if same(before, after, dy, dx)]
        assert moved == [(-3, 6)]


def same(before: np.ndarray, after: np.ndarray, dy: int, dx: int) -> bool:
    """Whether the content of `before` is found (dx, dy) further in `after`."""
    return bool((np.roll(before, (dy, dx), (0, 1))[6:-6, 6:-6] == after[6:-6, 6:-6]).all())

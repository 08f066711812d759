"""`nic bench codec`: what it prints, and that both sides do the same work."""

from __future__ import annotations

import torch

from nic_lightning import cli
from nic_lightning.benchmarks.codec import coders


def test_prints_both_comparisons_and_their_bounds(capsys):
    arguments = ["--width", "4", "--batch", "1", "--crop", "32", "--size", "32x48", "--rounds", "2"]
    assert cli.main(["bench", "codec", *arguments]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("training step, 1 crops of 32: CompressAI ")
    assert "convolutions alone" in lines[1]
    assert lines[2].startswith("compress + decompress, 32x48: CompressAI ")
    assert all("ratio" in line for line in lines[1:])


def test_both_sides_compute_the_same_reconstruction():
    torch.manual_seed(0)
    seen = []
    theirs, ours, _ = coders(4, keep=seen.append)
    x = torch.rand(1, 3, 48, 64)
    theirs(x)
    ours(x)
    torch.testing.assert_close(seen[0], seen[1], rtol=0, atol=1e-4)

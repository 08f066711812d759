from __future__ import annotations

import torch

from nic_lightning import cli
from nic_lightning.analysis import bench
from nic_lightning.analysis.latency import STAGES
from nic_lightning.codecs.slimmable import SlimmableAutoencoder


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
    theirs, ours, _ = bench.coders(4, keep=seen.append)
    x = torch.rand(1, 3, 48, 64)
    theirs(x)
    ours(x)
    torch.testing.assert_close(seen[0], seen[1], rtol=0, atol=1e-4)


def test_slimmable_prints_both_comparisons_and_their_bounds(capsys):
    arguments = ["--widths", "4,6,8", "--batch", "1", "--crop", "32", "--size", "32x48", "--rounds", "2"]
    assert cli.main(["bench", "slimmable", *arguments]) == 0
    head, training, bound, title, *coding = capsys.readouterr().out.splitlines()
    assert head.startswith("slim+, ")
    assert training.startswith("training step, 1 crops of 32, widths 4, 6, 8: one slimmable model ")
    assert "as many autoencoders" in training
    assert "ratio" in training
    assert bound.startswith("  bound: ")
    assert title == "one image of 32x48, width 4 against 8:"
    assert [line.split(":")[0].strip() for line in coding if "ms against" in line] == list(STAGES)
    assert "    bound: 2.3 times fewer multiply-accumulates, " in "\n".join(coding)


def test_a_joint_step_is_one_step_over_all_points():
    """Every width's gradient is in it: alone, the widest would leave the narrow entropy models as they are."""
    torch.manual_seed(0)
    codec = SlimmableAutoencoder([4, 8], bench.LMBDA, "switch")
    before = {k: v.clone() for k, v in codec.state_dict().items()}
    bench.training_step(codec)(torch.rand(1, 3, 32, 32))
    moved = {k for k, p in codec.named_parameters() if not torch.equal(p, before[k])}
    assert moved == {k for k, _ in codec.named_parameters()}


def test_functions_take_turns():
    order = []
    times = bench.alternate(2, torch.zeros(1), lambda x: order.append("a"), lambda x: order.append("b"), warm_up=1)
    assert order == ["a", "b"] * 3
    assert [len(series) for series in times] == [2, 2]

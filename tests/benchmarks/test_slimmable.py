"""`nic bench slimmable`: what it prints, and what a joint step trains."""

from __future__ import annotations

import torch

from nic_lightning import cli
from nic_lightning.analysis.latency import STAGES
from nic_lightning.benchmarks.codec import LMBDA, training_step
from nic_lightning.codecs.slimmable import SlimmableAutoencoder


def test_prints_both_comparisons_and_their_bounds(capsys):
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
    codec = SlimmableAutoencoder([4, 8], LMBDA, "switch")
    before = {k: v.clone() for k, v in codec.state_dict().items()}
    training_step(codec)(torch.rand(1, 3, 32, 32))
    moved = {k for k, p in codec.named_parameters() if not torch.equal(p, before[k])}
    assert moved == {k for k, _ in codec.named_parameters()}

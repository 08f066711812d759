from __future__ import annotations

import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from nic_lightning.callbacks.random_state import RandomState

TRAINER = SimpleNamespace(global_rank=0, world_size=1)


def draw() -> list[float]:
    return [torch.rand(3).sum().item(), random.random(), random.gauss(0, 1), np.random.rand(), np.random.randn()]


def save(path) -> None:
    checkpoint: dict = {}
    RandomState().on_save_checkpoint(TRAINER, None, checkpoint)
    torch.save(checkpoint, path)


def test_numbers_after_a_restart_are_those_that_would_have_been(tmp_path):
    torch.manual_seed(1), random.seed(1), np.random.seed(1)
    draw()  # leaves half of a Gaussian pair in both generators
    save(tmp_path / "x.ckpt")
    expected = [draw(), draw()]
    torch.manual_seed(5), random.seed(5), np.random.seed(5)
    callback = RandomState()
    callback.on_load_checkpoint(TRAINER, None, torch.load(tmp_path / "x.ckpt", weights_only=True))
    draw()  # setting up draws numbers of its own
    callback.on_train_batch_start(TRAINER, None, None, 0)
    assert draw() == expected[0]
    callback.on_train_batch_start(TRAINER, None, None, 1)  # restored once
    assert draw() == expected[1]


@pytest.mark.parametrize(("ranks", "rank"), [(2, 0), (1, 0)])
def test_states_of_another_number_of_ranks_are_left_alone(tmp_path, ranks, rank):
    save(tmp_path / "x.ckpt")
    checkpoint = torch.load(tmp_path / "x.ckpt", weights_only=True)
    checkpoint["random_state"] *= 3
    callback = RandomState()
    callback.on_load_checkpoint(SimpleNamespace(global_rank=rank, world_size=ranks), None, checkpoint)
    before = torch.get_rng_state()
    callback.on_train_batch_start(TRAINER, None, None, 0)
    assert torch.equal(torch.get_rng_state(), before)


def test_each_rank_gets_its_own():
    states = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        checkpoint: dict = {}
        RandomState().on_save_checkpoint(TRAINER, None, checkpoint)
        states += checkpoint["random_state"]
    callback = RandomState()
    callback.on_load_checkpoint(SimpleNamespace(global_rank=1, world_size=2), None, {"random_state": states})
    callback.on_train_batch_start(TRAINER, None, None, 0)
    found = torch.rand(1)
    torch.manual_seed(2)
    assert torch.equal(found, torch.rand(1))


def test_a_checkpoint_without_states():
    callback = RandomState()
    callback.on_load_checkpoint(TRAINER, None, {})
    callback.on_train_batch_start(TRAINER, None, None, 0)

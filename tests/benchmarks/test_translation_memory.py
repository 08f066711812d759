"""`nic bench translation --memory`: what an iteration of training takes, counted or measured on a GPU."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nic_lightning import cli
from nic_lightning.benchmarks.translation_memory import Kept, _unpack, count
from nic_lightning.config import compose
from tests.benchmarks.recipes import TRANSLATION


def test_what_autograd_keeps_is_counted_once():
    layer = nn.Linear(8, 8)
    kept = Kept(layer.parameters())
    x = torch.ones(4, 8, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(kept.pack, _unpack):
        y = (layer(x) * x).square()  # keeps x, twice; its product with the layer; and that squared
        assert kept.now == kept.most == 3 * 4 * 8 * 4
        y.sum().backward()
    del y
    assert (kept.now, kept.most) == (0, 3 * 4 * 8 * 4)


@pytest.mark.slow
def test_memory_without_a_gpu(capsys, monkeypatch):
    """Half of the images at once nearly halve what is kept, and so does bfloat16; nothing else changes."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    config = compose("train", [*TRANSLATION, "trainer=cpu"])
    whole, half = count(config, 1), count(config, 2)
    assert (whole.weights, whole.adam) == (half.weights, half.adam)
    assert 0.4 < half.kept / whole.kept < 0.6
    assert cli.main(["bench", "translation", *TRANSLATION, "--memory"]) == 0
    out = capsys.readouterr().out
    assert "images of 32x32, batch 4, bf16-mixed: counted, without a GPU" in out
    assert [line.split(":")[0].strip() for line in out.splitlines()[2:]] == [f"task.accumulate={n}" for n in (1, 2, 4)]
    bf16 = count(compose("train", TRANSLATION), 1)
    assert 0.4 < bf16.kept / whole.kept < 0.9


def test_memory_of_another_task_is_one_sentence(refused):
    assert "the memory of translation's training" in refused("bench", "translation", "codec=cae", "--memory")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_memory_on_a_gpu(capsys):
    assert cli.main(["bench", "translation", *TRANSLATION, "--memory"]) == 0
    assert "task.accumulate=4:" in capsys.readouterr().out

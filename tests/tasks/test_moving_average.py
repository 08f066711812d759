"""A moving average of a codec's weights: its formula, what it decodes, and that training does not notice it."""

from __future__ import annotations

import copy

import pytest
import pytorch_lightning as pl
import torch

from nic_lightning.codecs.loading import load_codec
from nic_lightning.codecs.starting import start_from
from nic_lightning.errors import UserError
from nic_lightning.tasks.rate_distortion import RateDistortionTask
from tests.tasks.samples import SMALL, Losses, codec_of


class Weights(pl.Callback):
    """Weights after every step."""

    def __init__(self) -> None:
        self.steps: list[dict[str, torch.Tensor]] = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.steps.append({k: v.detach().clone() for k, v in pl_module.codec.named_parameters()})


def trained(fit, steps: int = 6, average: float | None = 0.5, **trainer):
    weights = Weights()
    settings = {"codec_config": SMALL, "average": average, "learning_rate": 1e-2}
    task, lightning = fit(steps, codec=codec_of(), task=settings, trainer={"callbacks": [weights], **trainer})
    return task, lightning, weights.steps


def test_it_is_the_recursion_of_its_formula(fit):
    task, _, steps = trained(fit, 12)
    expected = dict(steps[0])
    for step, weights in enumerate(steps[1:], 2):
        decay = min(0.5, (1 + step) / (10 + step))
        expected = {k: decay * v + (1 - decay) * weights[k] for k, v in expected.items()}
    assert task.average.values.keys() == expected.keys()
    for name, value in task.average.values.items():
        # lerp and the sum above round differently, some 12 times
        torch.testing.assert_close(value, expected[name], rtol=1e-5, atol=1e-6)
    assert not torch.equal(task.average.values["g_a.convs.0.weight"], steps[-1]["g_a.convs.0.weight"])


def test_steps_of_accumulated_gradients_count_once(fit):
    task, _, _ = trained(fit, 3, accumulate_grad_batches=4)
    assert task.average.steps == 3


def test_decoders_have_the_average_and_its_tables(fit, tmp_path, picture):
    task, lightning, steps = trained(fit)
    lightning.save_checkpoint(tmp_path / "last.ckpt")
    content = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert torch.equal(content["state_dict"]["codec.g_s.deconvs.0.weight"], steps[-1]["g_s.deconvs.0.weight"])
    twin = copy.deepcopy(task.codec).eval()
    for name, value in task.average.values.items():
        twin.get_parameter(name).data.copy_(value)
    twin.update_tables()
    codec = load_codec(tmp_path / "last.ckpt")
    for name, value in codec.state_dict().items():
        assert torch.equal(value, twin.state_dict()[name]), name
    point = codec.operating_points[0]
    data = codec.pack(codec.compress(picture(33, 20), point), point)
    assert codec.decompress(*codec.unpack(data)).shape == (1, 3, 33, 20)

    fresh = codec_of(seed=1)
    start_from(fresh, str(tmp_path / "last.ckpt"))
    assert torch.equal(fresh.g_a.convs[0].weight, task.average.values["g_a.convs.0.weight"])


def test_validation_is_of_the_average_and_training_does_not_notice(fit):
    with_it, lightning, _ = trained(fit, val_check_interval=2)
    without, _, _ = trained(fit, average=None, val_check_interval=2)
    for name, value in without.codec.named_parameters():
        assert torch.equal(value, with_it.codec.get_parameter(name)), name
    (found,) = lightning.validate(with_it, lightning.datamodule, verbose=False)
    averaged, _ = fit(0, codec=with_it.average.averaged(), task={"codec_config": SMALL}, trainer={"max_steps": 0})
    (expected,) = lightning.validate(averaged, lightning.datamodule, verbose=False)
    assert found == pytest.approx(expected, rel=1e-6)
    (last,) = lightning.validate(without, lightning.datamodule, verbose=False)
    assert found["val/noise/loss"] != pytest.approx(last["val/noise/loss"], rel=1e-4)


@pytest.mark.parametrize("decay", [0.0, 1.0, -0.5, 2.0])
def test_decays_that_are_none(decay):
    with pytest.raises(UserError, match=r"task\.average is .*above 0 and below 1"):
        RateDistortionTask(codec_of(), average=decay)


def test_losses_are_those_without(fit):
    seen = []
    for average in (None, 0.9):
        losses = Losses()
        fit(5, codec=codec_of(), task={"average": average}, trainer={"callbacks": [losses], "limit_val_batches": 0})
        seen.append(losses.steps)
    assert seen[0] == seen[1]

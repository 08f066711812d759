from __future__ import annotations

import pytest
import torch

from nic_lightning.runs.machine.environment import numerics
from nic_lightning.runs.settings.deterministic import say_cost, trainer_options
from nic_lightning.tasks.rate_distortion import RateDistortionTask
from tests.runs.samples import LEARNED, few_channels

OTHER_TASKS = ("i2icodec", "ui2icodec", "point_cloud")


@pytest.fixture
def deterministic():
    """PyTorch as `deterministic: true` sets it: kernels without a deterministic way raise an error."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def test_the_switches(capsys):
    trainer = {"max_steps": 3, "benchmark": True, "use_distributed_sampler": False}
    assert trainer_options({"trainer": trainer}) == trainer
    assert trainer_options({"trainer": trainer, "deterministic": False}) == trainer
    on = {"trainer": trainer, "deterministic": True}
    assert trainer_options(on) == {**trainer, "benchmark": False, "deterministic": True}
    say_cost({"deterministic": False})
    assert capsys.readouterr().err == ""
    say_cost(on)
    assert "slower on a GPU" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "distortion", "size"),
    [*((name, "mse", 64) for name in LEARNED if name not in OTHER_TASKS), ("cae", "ms-ssim", 176)],
)
def test_every_codec_trains_under_it(deterministic, make_codec, picture, monkeypatch, name, distortion, size):
    monkeypatch.setattr(RateDistortionTask, "logs_after", lambda self, steps: False)  # there is no trainer here

    def losses() -> list[float]:
        codec = make_codec(name, **few_channels(name)).train().requires_grad_(True)
        task = RateDistortionTask(codec=codec, codec_config={}, distortion=distortion)
        optimiser = torch.optim.Adam(codec.parameters(), 1e-3)
        torch.manual_seed(1)
        found = []
        for _ in range(2):
            optimiser.zero_grad()
            loss = task.training_step(picture(size, size), 0)
            loss.backward()
            optimiser.step()
            found.append(float(loss.detach()))
        return found

    assert losses() == losses()


def test_environment_records_the_switches(deterministic):
    facts = numerics()["numerics"]
    assert facts["deterministic_algorithms"] is True
    assert facts["threads"] == torch.get_num_threads()
    assert facts["float32_matmul_precision"] == torch.get_float32_matmul_precision()

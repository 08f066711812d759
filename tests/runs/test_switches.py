from __future__ import annotations

import pytest
import yaml

from nic_lightning.config import CONF_DIR, ConfigError
from nic_lightning.runs.settings.switches import SET_BY_US, check_trainer, lightning_options


@pytest.mark.parametrize(
    ("trainer", "sentence"),
    [
        ({"fast_dev_run": True}, "trainer.fast_dev_run=True would record a whole run"),
        ({"barebones": True}, "nic bench training"),
        ({"use_distributed_sampler": True}, "would deal out the samples twice"),
        ({"profiler": "xla"}, "trainer.profiler is 'xla'; it can be simple, advanced, pytorch."),
        ({"limit_train_batches": 0}, "leaves no batch"),
        ({"limit_train_batches": 0.0}, "leaves no batch"),
        ({"check_val_every_n_epoch": 0}, "trainer.check_val_every_n_epoch has to be more than 0, not 0"),
        ({"val_check_interval": 0.0}, "trainer.val_check_interval has to be more than 0"),
        ({"max_time": "12"}, "trainer.max_time"),
        *(({key: True}, f"trainer.{key} is set by nic-train itself: ") for key in SET_BY_US),
    ],
)
def test_what_cannot_be_used_is_one_sentence(trainer: dict, sentence: str) -> None:
    with pytest.raises(ConfigError) as error:
        check_trainer(trainer)
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "trainer",
    [
        {"fast_dev_run": False, "barebones": False, "profiler": None},
        {"profiler": "simple", "detect_anomaly": True, "num_sanity_val_steps": -1, "limit_val_batches": 0},
        {"overfit_batches": 2, "limit_train_batches": 3, "val_check_interval": None, "check_val_every_n_epoch": None},
        *(yaml.safe_load(path.read_text()) for path in (CONF_DIR / "trainer").glob("*.yaml")),
    ],
)
def test_what_can_be_used_passes(trainer: dict) -> None:
    check_trainer(trainer)


def test_overfitting_limits_batches_and_leaves_our_sampler() -> None:
    assert lightning_options({"overfit_batches": 2, "max_time": "00:00:00:01", "devices": 1}) == {
        "devices": 1,
        "limit_train_batches": 2,
        "limit_val_batches": 2,
        "use_distributed_sampler": False,
    }
    assert lightning_options({"overfit_batches": 0.5})["limit_train_batches"] == 0.5
    assert "limit_val_batches" not in lightning_options({"overfit_batches": 0.5})
    assert "limit_train_batches" not in lightning_options({"overfit_batches": 0})

from __future__ import annotations

from types import SimpleNamespace

import pytest

from nic_lightning.config import compose
from nic_lightning.errors import Interrupted, UserError
from nic_lightning.train import fit, fit_and_measure, make_trainer


def trainer_that(raises: BaseException, interrupted: bool):
    def go(*args, **kwargs):
        raise raises

    return SimpleNamespace(fit=go, interrupted=interrupted)


def test_ctrl_c_is_told_apart_from_other_exits(tmp_path):
    with pytest.raises(Interrupted, match="the same command continues") as error:
        fit(trainer_that(SystemExit(1), True), None, None, None, None, tmp_path)
    assert error.value.exit_code == 130
    with pytest.raises(SystemExit):
        fit(trainer_that(SystemExit(3), False), None, None, None, None, tmp_path)


@pytest.mark.parametrize("options", [{"precision": 17}, {"gradient_clip_val": "much"}, {"limit_train_batches": "x"}])
def test_settings_that_lightning_cannot_use_are_one_sentence(options):
    with pytest.raises(UserError, match=r"^trainer: [^\n]+$"):
        make_trainer(accelerator="cpu", logger=False, **options)


def test_a_wrong_label_is_found_before_training(tmp_path):
    config = compose("train", ["codec=cae", "codec.width=4", "evaluation.points=[w48]"])
    with pytest.raises(UserError, match="w48"):
        fit_and_measure(config, {"seed": 0, "codec": {}}, tmp_path, record=None)
    assert list(tmp_path.iterdir()) == []

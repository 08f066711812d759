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


def test_data_sets_for_a_codec_without_files_are_found_before_training(tmp_path):
    tiny = ["codec.base=4", "codec.widest=8", "codec.halvings=2", "codec.latents=6", "codec.hyper=4", "codec.size=16"]
    wanted = ["experiment=translate_and_autoencode", *tiny, "evaluation.datasets=[embedded]"]
    with pytest.raises(UserError, match="makes no files"):
        fit_and_measure(compose("train", wanted), {"seed": 0, "codec": {}}, tmp_path, record=None)
    assert list(tmp_path.iterdir()) == []

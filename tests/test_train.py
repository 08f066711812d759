from __future__ import annotations

import copy
import sys
from types import SimpleNamespace

import pytest
import torch
from omegaconf import OmegaConf
from pytorch_lightning.demos.boring_classes import BoringDataModule, BoringModel

from nic_lightning import config, train
from nic_lightning.callbacks.profiler import profiler_of
from nic_lightning.callbacks.training import fit as fit_run
from nic_lightning.callbacks.training import make_trainer
from nic_lightning.config import compose
from nic_lightning.errors import Interrupted, UserError
from nic_lightning.runs.settings.switches import PROFILERS
from nic_lightning.train import fit_and_measure
from tests.trainers import quiet_trainer


def trainer_that(raises: BaseException, interrupted: bool):
    def go(*args, **kwargs):
        raise raises

    return SimpleNamespace(fit=go, interrupted=interrupted)


@pytest.mark.parametrize(
    ("arguments", "gpu", "small"),
    [
        ([], False, True),
        (["name=x", "data.train=photos", "seed=3"], False, True),
        (["-m", "+sweep=seeds"], False, True),
        ([], True, False),
        (["codec=cae"], False, False),
        (["codec.width=48"], False, False),
        (["experiment=mae"], False, False),
        (["trainer.max_steps=10"], False, False),
        (["--help"], False, False),
        (["-cn", "other"], False, False),
    ],
)
def test_the_small_recipe_is_what_a_machine_without_a_gpu_trains(arguments, gpu, small, monkeypatch, capsys):
    """At full size a first training would take months."""
    given = ["nic-train", *arguments]
    monkeypatch.setattr(sys, "argv", list(given))
    monkeypatch.setattr(train, "shows_gpu", lambda: gpu)
    monkeypatch.setattr(train, "run_hydra", lambda *_: None)
    train.main()
    assert sys.argv == given + ["experiment=small"] * small
    assert ("this is experiment=small" in capsys.readouterr().err) == small


@pytest.mark.parametrize(
    ("gpu", "expected"), [(True, ("gpu", "bf16-mixed", True, 1_200_000)), (False, ("cpu", "32-true", None, 5000))]
)
def test_the_trainer_follows_the_device(gpu, expected, monkeypatch):
    monkeypatch.setattr(config, "shows_gpu", lambda: gpu)
    trainer = compose("train", ["codec=cae"]).trainer
    assert (trainer.accelerator, trainer.precision, trainer.benchmark, trainer.max_steps) == expected


def test_ctrl_c_is_told_apart_from_other_exits(tmp_path):
    with pytest.raises(Interrupted, match="the same command continues") as error:
        fit_run(trainer_that(SystemExit(1), True), None, None, None, None, tmp_path)
    assert error.value.exit_code == 130
    with pytest.raises(SystemExit):
        fit_run(trainer_that(SystemExit(3), False), None, None, None, None, tmp_path)


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


def test_what_a_codec_wraps_is_taken_from_where_it_starts(tmp_path):
    """Before the run has a record, which then says what it wraps."""
    base = {"_target_": "nic_lightning.codecs.cae.CompressiveAutoencoder", "width": 6, "lmbda": 64}
    start = tmp_path / "start.ckpt"
    torch.save({"codec": {"config": base, "tables": {}}, "state_dict": {}}, start)
    wanted = ["codec=encoding_distribution", "task=distribution", f"init_from={start}"]
    composed = compose("train", wanted)
    train.take_base(composed)
    assert OmegaConf.to_container(composed.codec.base) == base
    assert composed.codec.bins == 256
    others = [compose("train", given) for given in (wanted[:2], ["codec=cae", wanted[2]], ["task=flow_features"])]
    before = copy.deepcopy(others)
    for other in others:
        train.take_base(other)
    assert others == before


@pytest.mark.parametrize("profiler", PROFILERS)
def test_profiles_go_into_the_run_folder(fit, tmp_path, profiler):
    fit_tiny = {"profiler": profiler_of(profiler, tmp_path)}
    fit(2, trainer=fit_tiny)
    assert any(path.name.startswith("fit-profile") for path in tmp_path.iterdir())


def test_what_lightning_says_of_a_setting_in_fit_is_one_sentence(tmp_path):
    trainer = quiet_trainer(val_check_interval=1000, max_steps=2)
    with pytest.raises(UserError, match=r"^trainer: `val_check_interval` \(1000\)[^\n]+$"):
        fit_run(trainer, BoringModel(), BoringDataModule(), None, None, tmp_path)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"^mine$"):
        fit_run(trainer_that(ValueError("mine"), False), None, None, None, None, tmp_path)

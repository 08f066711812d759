from __future__ import annotations

import math
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from nic_lightning.config import TrainConfig, compose
from nic_lightning.errors import UserError
from nic_lightning.runs.settings.overrides import apply, changes, key_of, to_text


@pytest.fixture
def config():
    plain = OmegaConf.to_container(
        compose("train", ["name=toy", "trainer=ddp_cpu", "trainer.max_steps=40"]), resolve=True
    )
    return OmegaConf.merge(OmegaConf.structured(TrainConfig), plain)


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        False,
        0,
        -3,
        1e-05,
        0.1,
        math.inf,
        "plain",
        "/a/path.d/x",
        "",
        "null",
        "True",
        "on",
        "12",
        "1e5",
        "a b",
        "it's",
        'a "b"',
        "a=b,c",
        "back\\slash",
        "ends\\",
        "\\'",
        "[x]",
        "{a: 1}",
        "täg",
        [1, "a b", None, [True]],
        {"a": 1, "b": {"c": "x y"}},
        [],
    ],
)
def test_values_survive_hydras_grammar(value):
    override = OverridesParser.create().parse_override(f"a.b={to_text(value)}")
    assert override.value() == value
    assert type(override.value()) is type(value)


def test_keys():
    assert [key_of(o) for o in ("a.b=1", "+a=1", "++a=x=y", "~a", "~a.b=1")] == ["a.b", "a", "a", "a", "a.b"]


def test_changes_turn_one_config_into_the_other():
    old = {"seed": 1, "trainer": {"max_steps": 10, "strategy": "ddp"}, "logger": {"mode": "x"}, "run_dir": "a"}
    new = {
        "seed": 1,
        "trainer": {"max_steps": 20, "limit": 0.5},
        "logger": None,
        "run_dir": "b",
        "data": {"root": "a b"},
    }
    assert changes(old, new, ignore=frozenset({"logger", "run_dir"})) == [
        "trainer.max_steps=20",
        "~trainer.strategy",
        "++trainer.limit=0.5",
        "++data={root:'a b'}",
    ]
    assert changes(new, new) == []


def test_values_are_set(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    apply(config, ["trainer.max_steps=99", "+trainer.accumulate_grad_batches=2", "tags=[a,b]", "data.root=sets"])
    assert config.trainer.max_steps == 99
    assert config.trainer.accumulate_grad_batches == 2
    assert config.tags == ["a", "b"]
    assert Path(config.data.root) == tmp_path / "sets"


def test_another_trainer_changes_only_where_it_computes(config):
    apply(config, ["trainer=cpu"])
    assert config.trainer.max_steps == 40
    assert config.trainer.devices == 1
    assert "strategy" not in config.trainer
    apply(config, ["trainer=gpu", "trainer.devices=2"])
    assert (config.trainer.accelerator, config.trainer.precision, config.trainer.devices) == ("gpu", "bf16-mixed", 2)
    assert config.trainer.max_steps == 40


def test_another_logger(config):
    apply(config, ["logger=none"])
    assert config.logger is None
    apply(config, ["logger=wandb"])
    assert config.logger.wandb.name == "toy"
    assert config.logger.wandb._target_.endswith("wandb_logger")
    apply(config, ["logger=[csv,tensorboard]"])
    assert list(config.logger) == ["csv", "tensorboard"]


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("trainer.max_stepz=3", "There is no key 'trainer.max_stepz' (did you mean 'trainer.max_steps'?)"),
        ("sede=3", "did you mean 'seed'?"),
        ("trainer=ddpp", "There is no trainer 'ddpp' (did you mean 'ddp'?)"),
        ("codec=cae", "'codec=cae' cannot be set for a run that is stored"),
        ("hydra.run.dir=x", "cannot be set for a run that is stored"),
        ("hydra/launcher=joblib", "cannot be set"),
        ("seed=1,2", "one key to one value"),
        ("~seed", "one key to one value"),
        ("seed", "is not of the form key=value"),
        ("seed=[", "is not of the form key=value"),
        ("seed=abc", "'seed=abc' does not fit"),
        ("+colour=red", "There is no key 'colour'"),
    ],
)
def test_what_cannot_be_set_is_one_sentence(config, override, sentence):
    before = OmegaConf.to_yaml(config)
    with pytest.raises(UserError) as error:
        apply(config, [override])
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)
    assert OmegaConf.to_yaml(config) == before

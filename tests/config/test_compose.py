from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from nic_lightning import config


def test_the_experiment_wins_over_the_defaults(conf: Path) -> None:
    cfg = config.compose("train", ["experiment=big"])
    assert (cfg.codec._target_, cfg.name, cfg.seed) == ("stand_in.Wide", "big", 7)


def test_the_command_line_wins_over_the_experiment(conf: Path) -> None:
    assert config.compose("train", ["experiment=big", "seed=3"]).seed == 3


def test_a_local_file_wins_over_the_experiment(conf: Path) -> None:
    (conf / "local").mkdir()
    (conf / "local" / "default.yaml").write_text("# @package _global_\nseed: 11\n")
    assert config.compose("train", ["experiment=big"]).seed == 11


def test_compose_raises_the_sentence(conf: Path) -> None:
    with pytest.raises(config.ConfigError, match="There is no codec 'x'; there are: picky, small, wide"):
        config.compose("train", ["codec=x"])


def test_evaluate_composes_without_a_codec(conf: Path) -> None:
    cfg = config.compose("evaluate", ["run=runs/x"])
    assert cfg.codec is None
    assert OmegaConf.to_container(cfg.evaluation)["datasets"] == ["embedded"]


def test_options_are_the_files_of_a_group(conf: Path) -> None:
    assert config.options("codec") == ["picky", "small", "wide"]
    assert config.options("nothing") == []

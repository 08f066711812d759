"""One string for a list of it, wherever a list of strings is meant: schema, arguments of targets, files and resume."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from nic_lightning.config import ConfigError, compose


@pytest.mark.parametrize(
    ("script", "override", "value"),
    [
        ("train", "evaluation.datasets=kodak", ["kodak"]),
        ("train", "evaluation.datasets=[]", []),
        ("train", "evaluation.datasets='my sets/a,b'", ["my sets/a,b"]),
        ("train", "evaluation.baselines=jpeg", ["jpeg"]),
        ("train", "evaluation.fid=inception", ["inception"]),
        ("train", "evaluation.points=64", ["64"]),
        ("train", "evaluation.points=[0.1,64,w8]", ["0.1", "64", "w8"]),
        ("train", "evaluation.points=null", None),
        ("train", "tags=first", ["first"]),
        ("train", "task.freeze=g_a", ["g_a"]),
        ("evaluate", "evaluation.datasets=kodak", ["kodak"]),
        ("evaluate", "translation.extractors=alexnet", ["alexnet"]),
        ("evaluate", "translation.through=jpeg", ["jpeg"]),
    ],
)
def test_a_string_is_a_list_of_it(script: str, override: str, value: list[str] | None) -> None:
    found = OmegaConf.select(compose(script, [override]), override.partition("=")[0])
    assert (OmegaConf.to_container(found) if OmegaConf.is_config(found) else found) == value


def test_arguments_of_targets() -> None:
    made = compose("train", ["experiment=flow_features", "data.sets=sintel_final", "data.held_out=alley_1"])
    assert (list(made.data.sets), list(made.data.held_out)) == (["sintel_final"], ["alley_1"])
    assert compose("train", ["data.train=embedded"]).data.train == "embedded"  # which takes one, too


@pytest.mark.parametrize("value", ["true", "null", "[[a]]", "[a,null]", "[{a:1}]"])
def test_what_is_neither_is_one_sentence(value: str) -> None:
    with pytest.raises(ConfigError, match=r"^evaluation\.datasets must be a list of names, not [^\n]+$"):
        compose("train", [f"evaluation.datasets={value}"])


def test_a_mapping_and_several_values_are_one_sentence(run, capsys) -> None:
    for override, sentence in {
        "evaluation.datasets={a:1}": "'evaluation.datasets={a:1}' gives a value of another kind than this key takes",
        "evaluation.datasets=a,b": "'evaluation.datasets=a,b' has several values: evaluation.datasets=[a,b] is a list",
    }.items():
        with pytest.raises(SystemExit) as stop:
            run(lambda cfg: pytest.fail("the task must not start"), "data.folder=x", "name=r", override)
        assert stop.value.code == 2
        err = capsys.readouterr().err
        assert sentence in err
        assert len(err.splitlines()) == 1


def test_a_config_file_and_a_sweep(run, conf: Path) -> None:
    (conf / "experiment" / "big.yaml").write_text("# @package _global_\nevaluation:\n  datasets: kodak\n")
    seen = []
    run(lambda cfg: seen.append(cfg.evaluation.datasets), "data.folder=x", "name=r", "experiment=big")
    run(lambda cfg: seen.append(cfg.tags), "-m", "data.folder=x", "name=s", "tags=a,b")
    assert seen == [["kodak"], ["a"], ["b"]]

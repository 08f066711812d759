from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from nic_lightning.targets import accepts, alternatives, check_targets


def check(text: str, **kwargs: Any) -> list[str]:
    return check_targets(OmegaConf.create(text), **kwargs)


@pytest.mark.usefixtures("conf")
@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("codec: {_target_: stand_in.Codec, width: 3, lambdas: [1.0]}", None),
        ("codec: {_target_: stand_in.Codec, width: 3}", "codec: stand_in.Codec needs lambdas."),
        ("codec: {_target_: stand_in.Codec, _partial_: true}", None),
        (
            "codec: {_target_: stand_in.Codec, width: 3, lambdas: [1], dept: 2}",
            "codec.dept: stand_in.Codec has no argument 'dept' (did you mean 'depth'?).",
        ),
        (
            "codec: {_target_: stand_in.Codec, width: 3, lambdas: [a]}",
            "codec.lambdas must be list[float], not ['a'].",
        ),
        ("codec: {_target_: stand_in.Wide, width: 3, extra: true}", None),
        (
            "codec: {_target_: stand_in.Wide, width: 3, other: 1}",
            "codec.other: stand_in.Wide has no argument",
        ),
        ("codec: {_target_: stand_in.Wide, width: no}", "codec.width must be int, not False."),
        ("codec: {_target_: stand_in.Nothing}", "stand_in has no 'Nothing'"),
        ("codec: {_target_: nowhere.Nothing}", "there is no package 'nowhere'"),
        ("codec: {_target_: stand_in.Codec, width: '???', lambdas: []}", "codec.width needs a value"),
        ("task: {_target_: stand_in.Task, optimizer: {_target_: torch.optim.Adam, _partial_: true}}", None),
        (
            "task: {_target_: stand_in.Task, optimizer: {_partial_: 1, _target_: torch.optim.Adam, ls: 1}}",
            "task.optimizer.ls: torch.optim.Adam has no argument 'ls' (did you mean 'lr'?).",
        ),
        (
            "x: [{_target_: stand_in.Codec, wide: 1, width: 1, lambdas: []}]",
            "x.0.wide: stand_in.Codec has no",
        ),
        ("trainer: {precision: bf16-mixed, devices: 2, strategy: ddp}", None),
        (
            "trainer: {precission: 16}",
            "trainer.precission: pytorch_lightning.Trainer has no argument 'precission'",
        ),
        ("trainer: {max_steps: many}", "trainer.max_steps must be int, not 'many'."),
        (
            "codec: {_target_: stand_in.Codec, width: '${nowhere.at.all}', lambdas: []}",
            "codec.width: Interpolation key 'nowhere.at.all' not found.",
        ),
        ("codec: {_target_: stand_in.Codec, width: '${hydra:job.num}', lambdas: []}", None),
        ("codec: {_target_: stand_in.Codec, width: 3, lambdas: '${oc.select:nowhere,[1.0,2.0]}'}", None),
        (
            "codec: {_target_: stand_in.Codec, width: 3, lambdas: '${oc.select:nowhere,[a]}'}",
            "codec.lambdas must be list[float], not ['a'].",
        ),
    ],
)
def test_problems(text: str, sentence: str | None) -> None:
    problems = check(text)
    if sentence is None:
        assert problems == []
    else:
        assert len(problems) == 1
        assert sentence in problems[0]


def test_a_task_that_trains_a_codec_asks_for_one() -> None:
    task = "task: {_target_: nic_lightning.tasks.rate_distortion.RateDistortionTask}"
    (problem,) = check(f"{task}\ncodec: null")
    assert problem.endswith("RateDistortionTask trains a codec: choose one, as in codec=modulated.")
    assert check(task) == []
    assert check("task: {_target_: nic_lightning.tasks.flow_features.FlowFeaturesTask}\ncodec: null") == []


def test_a_name_is_guessed_once() -> None:
    """Where all names are listed, the guess comes first; where the nearest are, they are the guess."""
    few, many = ["picky", "small", "wide"], [f"{kind}_{part}" for kind in ("small", "wide") for part in "abcdef"]
    assert alternatives("smal", few) == " (did you mean 'small'?); there are: picky, small, wide"
    assert alternatives("zzz", few) == "; there are: picky, small, wide"
    assert alternatives("small-a", many).startswith("; the nearest of 12 are small_a, ")
    assert alternatives("zzz", many).startswith("; there are: small_a, ")


@pytest.mark.usefixtures("conf")
def test_missing_values_may_stay_open() -> None:
    assert check("codec: {_target_: stand_in.Codec, width: '???', lambdas: []}", missing_ok=True) == []


@pytest.mark.parametrize(
    ("annotation", "value", "good"),
    [
        ("int", 3, True),
        ("int", True, False),
        ("int", 3.5, False),
        ("float", 3, True),
        ("float", "3", False),
        ("bool", 1, False),
        ("str | None", None, True),
        ("int | None", "a", False),
        ("Optional[int]", None, True),
        ("Union[int, str]", 2.5, False),
        ("Literal['a', 'b']", "c", False),
        ("Literal['a', 'b']", "b", True),
        ("'int | None'", "x", False),
        ("list[int]", [1, 2], True),
        ("Sequence[float]", 3.0, False),
        ("tuple[int, int]", [1], False),
        ("tuple[int, ...]", [1, 2, 3], True),
        ("dict[str, int]", {"a": 1}, True),
        ("dict[str, int]", [1], False),
        ("Mapping", {"a": 1}, True),
        ("list", 3, False),
        ("Path", "a/b", True),
        ("torch.nn.Module", 3, True),
        ("Callable[[int], int]", 3, True),
        ("list[Any]", {"_target_": "x.Y"}, True),
    ],
)
def test_accepts(annotation: str, value: Any, good: bool) -> None:
    node = OmegaConf.create({"value": value})["value"]
    assert accepts(ast.parse(annotation, mode="eval").body, node) is good


def test_nothing_is_imported(tmp_path: Path) -> None:
    code = (
        "import sys; from omegaconf import OmegaConf; from nic_lightning.targets import check_targets\n"
        "problems = check_targets(OmegaConf.create({'trainer': {'max_stepz': 1}}))\n"
        "print(len(problems), 'torch' in sys.modules, 'pytorch_lightning' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["1", "False", "False"]

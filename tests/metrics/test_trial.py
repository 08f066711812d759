"""A method that makes wrong files is found before training, wherever the mistake is; a right one feels nothing."""

from __future__ import annotations

import copy

import pytest
import torch

from nic_lightning.errors import UserError
from nic_lightning.media.image.handler import SAMPLE_SIZE
from nic_lightning.metrics.trial import fault, try_files


@pytest.fixture
def codec(make_codec):
    return make_codec("modulated", excite=1.0, lambdas=[64, 512]).train()


def test_training_feels_nothing(codec) -> None:
    before, random = copy.deepcopy(codec.state_dict()), torch.get_rng_state()
    try_files(codec)
    assert torch.equal(torch.get_rng_state(), random)
    assert codec.training
    assert "analysis" not in vars(codec)
    assert all(torch.equal(value, before[name]) for name, value in codec.state_dict().items())
    assert fault(codec) is None


def test_the_image_is_no_multiple_of_a_stride() -> None:
    assert all(side % step for side in SAMPLE_SIZE for step in (4, 8, 16, 64))


def broken(codec, method: str, change) -> None:
    """Let `change` have what the method returned, at the second point only."""
    original = getattr(codec, method)

    def wrong(*arguments):
        made = original(*arguments)
        return change(made) if arguments[-1].index == 1 else made

    setattr(type(codec), method, lambda self, *arguments: wrong(*arguments))


@pytest.mark.parametrize(
    ("method", "change", "said"),
    [
        ("encode_latents", lambda made: ([made[0][0][:-2]], made[1]), "point '512'|damaged|cut|string"),
        ("encode_latents", lambda made: (made[0], {"y": made[1]["y"] + 1}), "at point '512'.*latents 'y' differ"),
        ("decode_image_latents", lambda made: {"y": made["y"].flip(-1)}, "at point '512'.*latents 'y' differ"),
        ("synthesis", lambda made: made[..., 16:, :], "at point '512'.*decoded"),
    ],
)
def test_wrong_files_are_a_sentence(make_codec, monkeypatch, method, change, said) -> None:
    codec = make_codec("modulated", excite=1.0, lambdas=[64, 512])
    monkeypatch.setattr(type(codec), method, getattr(type(codec), method))
    broken(codec, method, change)
    with pytest.raises(UserError, match=said) as error:
        try_files(codec)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("The codec's files were tried, and do not work: ")


def test_an_error_in_a_method_keeps_its_traceback_and_says_when(codec, monkeypatch) -> None:
    def encode_latents(self, y, point):
        return {}["no such key"]

    monkeypatch.setattr(type(codec), "encode_latents", encode_latents)
    with pytest.raises(KeyError) as error:
        try_files(codec)
    assert "at point 64, as a trial" in error.value.__notes__[0]
    assert "KeyError: 'no such key'" in (fault(codec) or "")
    assert "test_trial.py:" in (fault(codec) or "")

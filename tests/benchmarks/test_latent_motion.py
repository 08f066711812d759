"""`nic bench latent_motion`: both searches find the motion that is there, and both are timed."""

from __future__ import annotations

import numpy as np
import pytest

from nic_lightning import cli
from nic_lightning.benchmarks import latent_motion


def test_both_find_the_shift() -> None:
    first, second = latent_motion.frames(48)
    fields = [latent_motion.numpy_search(first, second, 9, 6), latent_motion.match_blocks(first, second, 9, 6)]
    np.testing.assert_array_equal(*fields)
    assert (fields[0][10:-10, 10:-10] == latent_motion.SHIFT).all()


def test_both_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", "latent_motion", "--size", "32", "--block", "5", "--radius", "2", "--rounds", "1"]) == 0
    out = capsys.readouterr().out
    assert out.count(" ms") == 2
    assert "the same motion, " in out


def test_different_motion_is_refused(refused, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latent_motion, "numpy_search", lambda a, *_: np.zeros((*a.shape, 2), np.float32))
    assert "do not find the same motion" in refused("bench", "latent_motion", "--size", 32, "--block", 5)

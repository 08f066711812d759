"""Estimates of memory: what fits, what is done in strips, what is refused."""

from __future__ import annotations

import logging
import resource

import pytest

from nic_lightning.errors import UserError
from nic_lightning.flow.memory import FEWEST_ROWS, OVERLAP, free_memory, plan


def test_small_frames_are_matched_whole_and_quietly(caplog):
    found = plan(145, 341, 80, volumes=4, strip_volumes=4, free=6_000_000_000)
    assert found.whole
    assert found.volume_shape == (145, 341, 161, 161)
    assert plan(145, 341, 80, volumes=4, strip_volumes=4, free=None).whole
    assert not caplog.text


def test_4k_is_done_in_strips_or_refused_with_the_estimate(caplog):
    with caplog.at_level(logging.WARNING):
        found = plan(720, 1280, 80, volumes=4, strip_volumes=4, free=12_000_000_000)
    assert "is 23.9 G cells and takes 97.4 GB, where 12.0 GB are free" in caplog.text
    assert not found.whole
    assert FEWEST_ROWS <= found.rows < 720
    rows, width, n, _ = found.volume_shape
    assert rows == found.rows + 2 * OVERLAP
    assert 4 * rows * width * n * n <= 12_000_000_000
    with pytest.raises(UserError, match=r"23\.9 G cells and takes 97\.4 GB.*16 rows take .* GB; raise ratio"):
        plan(720, 1280, 80, volumes=4, strip_volumes=4, free=8_000_000_000)


def test_free_memory_is_below_the_limit_of_the_process():
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    free = free_memory()
    assert free is None or free >= 0
    if limit != resource.RLIM_INFINITY:
        assert free is not None
        assert free < limit

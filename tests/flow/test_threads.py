from __future__ import annotations

import os
import subprocess
import sys

import numba
import numpy as np
import pytest

from nic_lightning.flow.cost_volume import match
from nic_lightning.flow.filtering import BilateralFilter, filter_costs
from nic_lightning.flow.threads import share_threads
from nic_lightning.flow.triple import MINIMUM, triple_cost_volume

CODE = """
import numba, numpy, torch
from nic_lightning.flow.semi_global_matching import winner_takes_all
before = torch.get_num_threads()
winner_takes_all(numpy.zeros((2, 2, 3, 3), numpy.uint8))
print(before, torch.get_num_threads(), numba.get_num_threads())
"""


def test_compiled_code_leaves_torch_its_threads():
    """In a process of its own: Numba starts its threads once."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", "-c", CODE]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "1", "1"]


def test_costs_are_the_same_on_any_number_of_threads():
    """Semi-global matching has a test of its own."""
    most = numba.config.NUMBA_NUM_THREADS  # pyright: ignore[reportAttributeAccessIssue]
    if most < 2:
        pytest.skip("one core")
    share_threads()
    features = np.random.default_rng(0).normal(size=(3, 21, 40, 64)).astype(np.float32)
    features /= np.linalg.norm(features, axis=-1, keepdims=True)
    image = np.random.default_rng(1).random((21, 40, 3)).astype(np.float32)
    found = []
    before = numba.get_num_threads()
    try:
        for threads in (1, most):
            numba.set_num_threads(threads)
            volume, reverse = np.empty((2, 21, 40, 11, 11), np.uint8)
            match(features[1], features[2], 5, volume, reverse)
            triple = triple_cost_volume(*features, 5, MINIMUM)
            found.append((volume, reverse, triple, filter_costs(triple.copy(), image, BilateralFilter())))
            assert numba.get_num_threads() == threads
    finally:
        numba.set_num_threads(before)
    for alone, together in zip(*found, strict=True):
        np.testing.assert_array_equal(alone, together)

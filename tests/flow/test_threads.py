from __future__ import annotations

import os
import subprocess
import sys

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

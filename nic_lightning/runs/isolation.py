"""Each job of a Hydra multirun in a process of its own.

Distributed training re-executes the command line in every rank, which in a multirun would start the whole sweep again;
and a job that runs out of memory must not take the next one with it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from nic_lightning.errors import RunError

_DISTRIBUTED = ("LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "PL_GLOBAL_SEED")
_OPTIONS = ("--config-dir", "-cd", "--config-path", "-cp", "--config-name", "-cn")


def run_job(folder: Path, overrides: list[str], cwd: str) -> None:
    """Run nic-train with `overrides` in `folder` and wait; raises RunError when it fails."""
    command = [sys.executable, "-m", "nic_lightning.train", *_forwarded(sys.argv[1:]), *overrides]
    environment = {k: v for k, v in os.environ.items() if k not in _DISTRIBUTED}
    place = str(folder).replace("'", "\\'")  # overrides with quotes are part of a job's folder name
    code = subprocess.run([*command, f"hydra.run.dir='{place}'"], cwd=cwd, env=environment).returncode
    if code:
        raise RunError(f"The job in {folder} failed with exit code {code}; the same command continues it.")


def _forwarded(arguments: list[str]) -> list[str]:
    """Hydra's own options about where configs lie; the rest of the command line is in the overrides."""
    kept = []
    for i, argument in enumerate(arguments):
        if argument in _OPTIONS and i + 1 < len(arguments):
            kept += [argument, arguments[i + 1]]
        elif argument.split("=")[0] in _OPTIONS and "=" in argument:
            kept.append(argument)
    return kept

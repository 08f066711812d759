"""Start a command that ends with its parent: `python -m nic_lightning.runs.machine.ends_with_parent PARENT COMMAND...`.

When the parent process dies, by `kill -9` too, the kernel sends SIGTERM, on which a training saves its state and ends.
Where the kernel cannot (it is Linux that can), the command runs all the same.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Become the command, tied to the parent process of this number."""
    parent, *command = arguments
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != int(parent):  # it died before we asked
            sys.exit(128 + signal.SIGTERM)
    # Slurm sends submitit's signal to all processes of a job; it is meant for the launcher, and would end a training.
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    os.execv(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])

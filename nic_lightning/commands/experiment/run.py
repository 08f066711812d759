"""`nic experiment run`: measure a table or figure again, by the command that is on record."""

from __future__ import annotations

import shlex
import subprocess
import sys
from typing import Annotated

from cyclopts import Parameter

from nic_lightning.errors import UserError
from nic_lightning.report.experiments.evidence import CHECKOUT, NONE, find, read_evidence


def run(name: Annotated[str, Parameter(name="NAME")], /) -> int:
    """Run the command of a table or figure in the checkout; its exit code. Finished runs in runs/ are skipped.

    Args:
        name: as nic experiment list shows it

    Examples:
        nic experiment run thesis-table-3.2
    """
    row = find(name, read_evidence())
    if row.command == NONE:
        raise UserError(f"{row.item}: {row.why}")
    print(f"{row.command}    ({row.cost}; {row.data})", flush=True)
    words = shlex.split(row.command)
    if words[0] == "python":
        words[0] = sys.executable
    elif words[0].startswith("nic"):
        words = [sys.executable, "-m", _MODULES[words[0]], *words[1:]]
    return subprocess.run(words, cwd=CHECKOUT, check=False).returncode


_MODULES = {"nic": "nic_lightning.cli", "nic-train": "nic_lightning.train", "nic-analyze": "nic_lightning.analyze"}

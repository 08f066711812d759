"""`nic runs list`: every run of a folder, and how far it is."""

from __future__ import annotations

import json
from pathlib import Path

from nic_lightning.runs.index import find_runs
from nic_lightning.runs.overview import overview, table


def list_runs(folder: Path, as_json: bool = False) -> None:
    """Print a table, or JSON, of the runs at or below `folder`; raises RunError when there is none."""
    lines = [overview(run) for run in find_runs([folder])]
    print(json.dumps([line.as_json() for line in lines], indent=2) if as_json else table(lines))

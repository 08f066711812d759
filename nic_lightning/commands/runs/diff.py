"""`nic runs diff`: config keys in which runs differ."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from nic_lightning.commands.options import Json
from nic_lightning.errors import RunError, UserError
from nic_lightning.runs.index.index import one_run
from nic_lightning.runs.index.overview import columns
from nic_lightning.runs.index.summary import differences


def diff(folders: Annotated[list[Path], Parameter(name="RUN")], /, *, as_json: Json = False) -> None:
    """Print the config keys in which runs differ.

    Args:
        folders: run folders, two or more
        as_json: print JSON

    Examples:
        nic runs diff runs/first runs/second

    Raises:
        UserError: there are fewer than two.
        RunError: one of them is no run.
    """
    if len(folders) < 2:
        raise UserError("Name two runs or more; there is nothing to compare one with.")
    runs = [one_run(folder) for folder in folders]
    without = [run for run in runs if run.config is None]
    if without:
        raise RunError(f"{without[0].folder}: {'; '.join(without[0].problems)}")
    found = differences([run.config or {} for run in runs])
    names = [str(folder) for folder in folders]
    if as_json:
        plain = {key: [None if v is None else json.loads(v) for v in values] for key, values in found.items()}
        print(json.dumps({"runs": names, "differences": plain}, indent=2))
    elif not found:
        print("They differ in nothing but their names.")
    else:
        print(columns([("key", *names), *((key, *(v or "-" for v in values)) for key, values in found.items())]))

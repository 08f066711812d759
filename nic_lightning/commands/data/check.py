"""`nic data check`: which files are present, missing or damaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from nic_lightning.commands.options import Json
from nic_lightning.data import catalog


def check(
    name: Annotated[str, Parameter(name="NAME")],
    /,
    *,
    root: Annotated[Path | None, Parameter(metavar="DIR")] = None,
    as_json: Json = False,
) -> int:
    """Print which files of a data set are present, missing or damaged; the exit code is 1 where some are.

    Args:
        name: data set, or a folder of images
        root: folder of the data sets (default: $NIC_DATA, or ./data)
        as_json: print JSON

    Examples:
        nic data check kodak
        nic data check my_photographs --json
    """
    report = catalog.check(name, root)
    print(json.dumps(report.as_dict(), indent=2) if as_json else catalog.check_table(report))
    return 0 if report.ok else 1

"""`nic data list`: the catalogue, and which files are there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from nic_lightning.data.catalog import list_table
from nic_lightning.data.cloud_sets import cloud_rows
from nic_lightning.data.flow_sets import flow_rows


def list_data(*, root: Annotated[Path | None, Parameter(metavar="DIR")] = None) -> None:
    """Print the data sets that have a name, and which of their files are there.

    Args:
        root: folder of the data sets (default: $NIC_DATA, or ./data)

    Examples:
        nic data list --root data
    """
    print(list_table(root, lambda base: [*flow_rows(base), *cloud_rows(base)]))

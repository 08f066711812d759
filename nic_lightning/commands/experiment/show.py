"""`nic experiment show`: what was published and measured of a table or figure, and the command that measures it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from cyclopts import Parameter

from nic_lightning.report.experiments.evidence import find, read_evidence


def show(name: Annotated[str, Parameter(name="NAME")], /) -> None:
    """Print all that is known of a table or figure.

    Args:
        name: as nic experiment list shows it

    Examples:
        nic experiment show thesis-table-3.2
    """
    row = asdict(find(name, read_evidence()))
    width = max(map(len, row))
    print("\n".join(f"{key.ljust(width)}  {value}" for key, value in row.items()))

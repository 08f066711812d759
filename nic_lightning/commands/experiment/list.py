"""`nic experiment list`: every table and figure, and what was shown of it here."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter

from nic_lightning.report.experiments.evidence import read_evidence

Verdict = Literal["reproduced", "trend", "needs", "cannot", "open"]


def list_experiment(*, verdict: Annotated[Verdict | None, Parameter(show_choices=True)] = None) -> None:
    """Print all tables and figures with results, what they show, and the verdict.

    Args:
        verdict: only those whose verdict begins with this word

    Examples:
        nic experiment list
        nic experiment list --verdict reproduced
    """
    rows = [row for row in read_evidence() if verdict is None or row.verdict.startswith(verdict)]
    cells = [("name", "verdict", "shows"), *((row.name, row.verdict, row.shows) for row in rows)]
    name, kind = (max(len(cell[column]) for cell in cells) for column in (0, 1))
    print("\n".join(f"{cell[0]:{name}}  {cell[1]:{kind}}  {cell[2]}" for cell in cells))

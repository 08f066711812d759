"""Print a line "WIDTH LAMBDA" for each width of a slimmable run: python found_lambdas.py RUN."""

from __future__ import annotations

import sys
from pathlib import Path

from nic_lightning.errors import UserError
from nic_lightning.runs.index.index import find_runs


def main(run: Path) -> int:
    """Write them to the standard output; 2 with one sentence when the run has no results."""
    try:
        rows = [row for found in find_runs([run]) for row in found.results() if row.get("width")]
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    for width, lmbda in sorted({(row["width"], row["lmbda"]) for row in rows}):
        print(width, f"{lmbda:.6g}")
    return 0 if rows else 2


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

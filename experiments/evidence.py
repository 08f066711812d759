"""Write the table of README.md from evidence.yaml: python experiments/evidence.py"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

from nic_lightning.errors import UserError
from nic_lightning.report.experiments.evidence import markdown, read_evidence
from nic_lightning.report.experiments.gathering import fill

HERE = Path(__file__).resolve().parent


def main() -> int:
    """0, or 2 with one sentence."""
    try:
        rows = read_evidence(HERE)
        fill(HERE / "README.md", {"evidence": markdown(rows)})
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    print(", ".join(f"{count} {verdict}" for verdict, count in Counter(row.verdict for row in rows).items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())

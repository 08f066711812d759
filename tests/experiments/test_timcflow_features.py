"""The small training of flow features: the README tells what was measured, and what it says of it holds."""

from __future__ import annotations

import csv
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "experiments" / "timcflow_features"


def test_the_readme_tells_what_was_measured():
    with (FOLDER / "measured.csv").open() as file:
        rows = list(csv.DictReader(file))
    text = (FOLDER / "README.md").read_text()
    assert len(rows) >= 3 * (2 * 2 + 2 * 6)
    for row in rows:
        assert "| " + " | ".join(value or "-" for value in row.values()) + " |" in text
    cheapest: dict[tuple[str, str], dict[str, float]] = {}
    for row in rows:
        if row["labels"] == "cheapest":
            kind = row["lambdas"] if row["lambdas"] in ("two frames", "minimum") else "learned"
            cheapest.setdefault((row["frame"], row["features"]), {})[kind] = float(row["epe_all"])
    for (frame, features), errors in cheapest.items():
        if features == "untrained":
            assert cheapest[frame, "trained here"]["two frames"] < errors["two frames"] / 10
        else:
            assert errors["learned"] < min(errors["two frames"], errors["minimum"])

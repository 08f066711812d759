"""Print the final errors of measured.csv beside the full pipeline's on the same frames, of timcflow_sintel.

python experiments/timcflow_simplified/final.py
"""

from __future__ import annotations

import csv
from pathlib import Path

HERE = Path(__file__).resolve().parent
ERRORS = ("epe_all", "epe_noc", "epe_occ")


def read(path: Path, stage: str, method: str, column: str) -> dict[str, tuple[float, ...]]:
    """Errors of all, non-occluded and occluded pixels of each frame that has them."""
    with path.open() as file:
        rows = [row for row in csv.DictReader(file) if (row["stage"], row[column]) == (stage, method)]
    return {row["frame"]: tuple(float(row[key]) for key in ERRORS) for row in rows if row["epe_occ"]}


def main() -> None:
    other = HERE.parent / "timcflow_sintel" / "measured.csv"
    now = read(HERE / "measured.csv", "flow", "simplified", "variant")
    before = read(other, "refined", "simplified", "method")
    full = read(other, "refined", "timcflow", "method")
    print("| frame | full: all / noc / occ | simplified, before | simplified, now | now / full |")
    print("|---|---|---|---|---|")
    frames = sorted(now)
    for frame in frames:
        columns = [" / ".join(f"{error:.2f}" for error in found[frame]) for found in (full, before, now)]
        print(f"| {frame} | {' | '.join(columns)} | {now[frame][0] / full[frame][0]:.2f} |")
    means = [sum(found[frame][0] for frame in frames) / len(frames) for found in (full, before, now)]
    print(f"| mean, all | {' | '.join(f'{mean:.2f}' for mean in means)} | {means[2] / means[0]:.2f} |")


if __name__ == "__main__":
    main()

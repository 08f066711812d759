"""Choose settings on all scenes of sweep.csv but one, and see what they do on that one; print a table for each scene.

    python experiments/timcflow_simplified/hold_out.py experiments/timcflow_simplified/sweep.csv

The choice is the least geometric mean of errors, so that a scene of large motion counts like one of small motion. It
is made among the settings that all scenes of the held-out one's scale have.
"Unfiltered" is the best without the filter, of all potentials, at the chosen cost of leaving the frame.
"""

from __future__ import annotations

import csv
import math
import sys
from pathlib import Path

Setting = tuple[str, ...]
FILTER = ("radius", "sigma_space", "sigma_colour")
NONE = ("0", "0", "0")


def read(path: Path) -> dict[str, dict[tuple[str, Setting], dict[Setting, float]]]:
    """Errors of all pixels by scale, scene and setting (outside cost, window, potentials)."""
    found: dict[str, dict[tuple[str, Setting], dict[Setting, float]]] = {}
    with path.open() as file:
        for row in csv.DictReader(file):
            setting = (row["outside_cost"], *(row[key] for key in FILTER), row["near"], row["far"])
            scene = (row["scene"], (row["set"],))
            found.setdefault(row["ratio"], {}).setdefault(scene, {})[setting] = float(row["epe_all"])
    return found


def main() -> None:
    print("| scene | ratio | chosen without it: outside cost, window, potentials | unfiltered | filtered |")
    print("|---|---|---|---|---|")
    lower = total = 0
    for ratio, scenes in read(Path(sys.argv[1])).items():
        common = set.intersection(*(set(errors) for errors in scenes.values()))
        filtered = sorted(s for s in common if s[1:4] != NONE)
        for held, errors in scenes.items():
            rest = [other for scene, other in scenes.items() if scene != held]
            means = {setting: sum(math.log(other[setting]) for other in rest) for setting in filtered}
            chosen = min(means, key=means.__getitem__)
            plain = min(error for s, error in errors.items() if s in common and (s[0], s[1:4]) == (chosen[0], NONE))
            lower, total = lower + (errors[chosen] < plain), total + 1
            words = f"{chosen[0]}, {'/'.join(chosen[1:4])}, {'/'.join(chosen[4:])}"
            print(f"| {held[0]} | {ratio} | {words} | {plain:.3f} | {errors[chosen]:.3f} |")
    print(f"\nThe filter lowers the error on {lower} of {total} scenes.")


if __name__ == "__main__":
    main()

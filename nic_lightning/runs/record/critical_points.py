"""critical_points/ of a run folder: what `nic critical_points` measured and shows. No torch."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nic_lightning.errors import RunError
from nic_lightning.runs.record.files import read_inside, write_atomically

FOLDER = "critical_points"
TABLE = "clouds.csv"
SHOWN = "shown.json"
FIGURE = "clouds.png"
COLUMNS = ("dataset", "item", "true", "decided", "bits", "points", "critical", "minimal")
"""Of clouds.csv, a line for each cloud; the last three count points."""
SETS = {"points": "encoded", "critical": "critical", "minimal": "minimal", "reconstruction": "reconstruction"}
"""Sets of points of a cloud in shown.json, and what they are called."""
MAX_BYTES, MAX_CLOUDS, MAX_POINTS = 4 * 2**20, 16, 4096


def write_shown(folder: Path, clouds: Sequence[Mapping[str, Any]]) -> None:
    """Write clouds to look at: "item", "true" and "decided" class, "bits", and SETS, lists of [x, y, z] each."""
    write_atomically(folder / SHOWN, (json.dumps({"clouds": list(clouds)}) + "\n").encode())


def read_shown(run: Path) -> list[dict[str, Any]]:
    """Those of a run folder, which may come from anybody; raises RunError for what `write_shown` did not write."""
    name = f"{FOLDER}/{SHOWN}"
    try:
        listed = json.loads(read_inside(run, name, MAX_BYTES))["clouds"]
        return [_checked(cloud) for cloud in listed[:MAX_CLOUDS]]
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        raise RunError(f"{name} holds no clouds to show.") from error


def _checked(cloud: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {key: str(cloud[key])[:200] for key in ("item", "true", "decided")}
    found["bits"] = float(cloud["bits"])
    for name in SETS:
        points = cloud.get(name) or []
        if len(points) > MAX_POINTS or any(len(point) != 3 for point in points):
            raise ValueError(f"{name} are no points.")
        found[name] = [[float(value) for value in point] for point in points]
        if not all(math.isfinite(value) for point in found[name] for value in point):
            raise ValueError(f"{name} are not finite.")
    if not math.isfinite(found["bits"]):
        raise ValueError("bits are not finite.")
    return found

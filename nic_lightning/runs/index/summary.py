"""What a run folder shows at a glance, and what sets runs apart: for `nic runs show`, `diff` and the dashboard."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

from nic_lightning.media.base import DEFAULT, Medium, find_medium
from nic_lightning.runs.index.index import Run
from nic_lightning.runs.index.overview import overview, strict
from nic_lightning.runs.record.results import mean, mean_of_all

TIMES = ("encode_ms", "decode_ms")
MEASURED_FLOW = ("epe_all", "epe_noc", "epe_occ", "fl", "time")
SHOWN = ("codec", "flow", "task", "data", "trainer", "seed", "init_from", "callbacks")
"""Parts of the config that say what a run is."""
NAMES = frozenset({"name", "run_dir"})
"""Config keys that tell runs apart without making them different."""
_MAX_FLAT = 2_000
_MAX_CHECKPOINTS = 100


def summary(run: Run) -> dict[str, Any]:
    """Plain values for strict JSON. Never fails: what could not be read stands among the problems."""
    line = overview(run)
    status = run.status or {}
    points = result_means(run.results())
    config = run.config or {}
    return {
        **line.as_json(),
        "problem": status.get("error") if isinstance(status.get("error"), str) and line.state == "failed" else None,
        "problems": run.problems,
        "started": _text(status.get("started")),
        "ended": _text(status.get("ended")),
        "overrides": run.overrides,
        "config": {key: value for key, value in flat(config).items() if key.partition(".")[0] in SHOWN},
        "results": points,
        "checkpoints": _checkpoints(run),
    }


def result_means(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Means over the images of each data set, codec and operating point, in the order of the table.

    None where some of the images have no value; "gaps" says how many have a finite one.
    """
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        place = (row.get("medium"), row.get("dataset"), row.get("codec"), row.get("label"))
        groups.setdefault(place, []).append(row)
    return [_means(find_medium(place[0]), place[1:], group) for place, group in groups.items()]


def _means(medium: Medium, place: Sequence[Any], group: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    head = dict(zip(("dataset", "codec", "point"), place, strict=True)) | {"images": len(group)}
    if medium.name != DEFAULT:
        head = {"medium": medium.name} | head
    measured = (*medium.rates, *medium.drawn, *TIMES)
    return (
        head
        | {key: strict(mean_of_all(_number(row.get(key)) for row in group)) for key in measured}
        | {key: strict(mean(_number(row.get(key)) for row in group)) for key in MEASURED_FLOW}
        | {"gaps": _gaps(group, medium)}
    )


def gap_notes(points: Sequence[Mapping[str, Any]]) -> list[str]:
    """A sentence for each quality in `result_means` that some images have no finite value of."""
    found = {}
    for point in points:
        for key, count in point["gaps"].items():
            items = find_medium(point.get("medium")).items
            about = f"{point['dataset']}: {count} of {point['images']} {items} with a finite {key}"
            found[f"{about}; nic report has their mean, beside that of their rates."] = None
    return list(found)


def _gaps(group: Sequence[Mapping[str, Any]], medium: Medium) -> dict[str, int]:
    """Of each quality that some images have a finite value of and some have not: how many have."""
    counts = {}
    for key in medium.drawn:
        values = [_number(row.get(key)) for row in group]
        counts[key] = sum(value is not None and math.isfinite(value) for value in values)
    return {key: count for key, count in counts.items() if 0 < count < len(group)}


def _number(value: Any) -> float | None:
    """Columns beyond those of every results table may hold anything."""
    return value if isinstance(value, int | float) else None


def differences(configs: Sequence[Mapping[str, Any]]) -> dict[str, list[str | None]]:
    """Config key -> its value in each config as JSON, None where it is not set; keys equal in all are left out."""
    flattened = [flat(config) for config in configs]
    keys = dict.fromkeys(key for each in flattened for key in each)
    values = {key: [each.get(key) for each in flattened] for key in keys if key not in NAMES}
    return {key: found for key, found in values.items() if len(set(found)) > 1}


def flat(config: Mapping[str, Any]) -> dict[str, str]:
    """Dotted key -> value as JSON, the first 2,000; a list is one value."""
    found: dict[str, str] = {}
    waiting: list[tuple[str, Any]] = [("", config)]
    while waiting and len(found) < _MAX_FLAT:
        path, value = waiting.pop()
        if isinstance(value, Mapping) and (value or not path):
            inside = [(f"{path}.{key}" if path else str(key), inner) for key, inner in value.items()]
            waiting += reversed(inside)
        else:
            found[path[:200]] = json.dumps(value, default=str)[:1000]
    return found


def _checkpoints(run: Run) -> list[dict[str, Any]]:
    try:
        with os.scandir(run.folder / "checkpoints") as entries:
            files = sorted(entries, key=lambda entry: entry.name)[:_MAX_CHECKPOINTS]
            facts = [(e.name, e.stat(follow_symlinks=False)) for e in files if e.is_file(follow_symlinks=False)]
    except OSError:
        return []
    stamp = "%Y-%m-%dT%H:%M:%S%z"
    return [{"name": n, "bytes": s.st_size, "time": time.strftime(stamp, time.localtime(s.st_mtime))} for n, s in facts]


def _text(value: Any) -> str | None:
    return value[:40] if isinstance(value, str) else None

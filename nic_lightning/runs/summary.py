"""What a run folder tells at a glance, and what sets runs apart: for `nic runs show`, `diff` and the dashboard."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

from nic_lightning.runs.index import Run
from nic_lightning.runs.overview import overview
from nic_lightning.runs.results import mean

MEASURED = ("bpp", "bpp_estimated", "psnr", "ms_ssim_db", "lpips", "encode_ms", "decode_ms")
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
    """Means over the images of each data set, codec and operating point, in the order of the table."""
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row.get("dataset"), row.get("codec"), row.get("label")), []).append(row)
    return [
        {"dataset": dataset, "codec": codec, "point": label, "images": len(group)}
        | {key: mean(_number(row.get(key)) for row in group) for key in (*MEASURED, *MEASURED_FLOW)}
        for (dataset, codec, label), group in groups.items()
    ]


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

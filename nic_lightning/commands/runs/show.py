"""`nic runs show`: what is known of a run: config, metrics, results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from nic_lightning.commands.options import Json
from nic_lightning.media.base import Medium, find_medium
from nic_lightning.runs.index.index import one_run
from nic_lightning.runs.index.overview import columns
from nic_lightning.runs.index.summary import MEASURED_FLOW, gap_notes, summary

_HEAD = ("dataset", "codec", "point", "images")


def show(folder: Annotated[Path, Parameter(name="RUN")], /, *, as_json: Json = False) -> None:
    """Print what is known of one run: state, config, last metrics, results.

    Args:
        folder: run folder
        as_json: print JSON

    Examples:
        nic runs show runs/first

    Raises:
        RunError: the folder is no run.
    """
    found = summary(one_run(folder))
    print(json.dumps(found, indent=2) if as_json else _as_text(found))


def _as_text(found: dict[str, Any]) -> str:
    sentences = [sentence for sentence in (found["problem"], *found["problems"]) if sentence]
    total = "" if found["max_steps"] is None else f" of {found['max_steps']:,}"
    facts = [
        ("run", found["name"]),
        ("state", found["state"]),
        ("step", "-" if found["step"] is None else f"{found['step']:,}{total}"),
        ("started", found["started"] or "-"),
        ("ended", found["ended"] or "-"),
        ("tags", ", ".join(found["tags"]) or "-"),
        ("overrides", " ".join(found["overrides"]) or "-"),
        *([("note", found["note"])] if found["note"] else []),
        *(("problem", sentence) for sentence in sentences),
        *((f"checkpoints/{c['name']}", f"{c['bytes'] / 2**20:.1f} MiB") for c in found["checkpoints"]),
    ]
    parts = [columns(facts), "Configuration", columns(list(found["config"].items()) or [("-",)])]
    if found["metrics"]:
        parts += ["Last metrics", columns([(key, f"{float(value):.6g}") for key, value in found["metrics"].items()])]
    if found["results"]:
        for name in dict.fromkeys(point.get("medium") for point in found["results"]):
            parts += _results(find_medium(name), [p for p in found["results"] if p.get("medium") == name])
    return "\n\n".join(parts)


def _results(medium: Medium, points: list[dict[str, Any]]) -> list[str]:
    """Title and table of the results of one medium."""
    rated = any(point[medium.rate.key] is not None for point in points)
    shown = (*_HEAD, *((medium.rate.key, *medium.drawn) if rated else MEASURED_FLOW))
    rows = [[_cell(point[key]) for key in shown] for point in points]
    return [f"Results, means over {medium.items}", "\n".join([columns([shown, *rows]), *gap_notes(points)])]


def _cell(value: Any) -> str:
    return "-" if value is None else f"{value:.4f}" if isinstance(value, float) else str(value)

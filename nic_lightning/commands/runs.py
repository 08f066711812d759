"""`nic runs list`, `show`, `diff` and `tag`: what runs there are, how far they are, and what sets them apart."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nic_lightning.errors import RunError, UserError, counted
from nic_lightning.runs.index.index import Run, about_links, find_runs
from nic_lightning.runs.index.overview import Line, columns, overview, table
from nic_lightning.runs.index.summary import MEASURED_FLOW, differences, gap_notes, summary
from nic_lightning.runs.index.tags import change_tags

_DOWN = ("step", "when")
_SHOWN = ("dataset", "codec", "point", "images", "bpp", "psnr", "ms_ssim_db", "lpips")


def list_runs(
    folder: Path, as_json: bool = False, sort: str | None = None, tags: Sequence[str] = (), states: Sequence[str] = ()
) -> None:
    """Print a table, or JSON, of the runs at or below `folder` that have all `tags` and one of `states`.

    Raises:
        RunError: there is no run.
    """
    lines = [overview(run) for run in find_runs([folder])]
    for sentence in about_links([folder]):
        print(sentence, file=sys.stderr)
    kept = [line for line in lines if set(tags) <= set(line.tags) and (not states or line.state in states)]
    if lines and not kept and not as_json:
        wanted = [f"the tag {tag}" for tag in tags] + [" or ".join(f"state {state}" for state in states)] * bool(states)
        print(f"None of {len(lines)} runs in {folder} has {' and '.join(wanted)}.")
        return
    if sort:
        kept.sort(key=lambda line: _rank(line, sort))
    print(json.dumps([line.as_json() for line in kept], indent=2) if as_json else table(kept))


def show(folder: Path, as_json: bool = False) -> None:
    """Print what is known of one run. Raises RunError where `folder` is no run."""
    found = summary(one_run(folder))
    print(json.dumps(found, indent=2) if as_json else _as_text(found))


def diff(folders: Sequence[Path], as_json: bool = False) -> None:
    """Print the config keys in which runs differ. Raises UserError for fewer than two, RunError for what is no run."""
    if len(folders) < 2:
        raise UserError("Name two runs or more; there is nothing to compare one with.")
    runs = [one_run(folder) for folder in folders]
    without = [run for run in runs if run.config is None]
    if without:
        raise RunError(f"{without[0].folder}: {'; '.join(without[0].problems)}")
    found = differences([run.config or {} for run in runs])
    names = [str(folder) for folder in folders]
    if as_json:
        plain = {key: [None if v is None else json.loads(v) for v in values] for key, values in found.items()}
        print(json.dumps({"runs": names, "differences": plain}, indent=2))
    elif not found:
        print("They differ in nothing but their names.")
    else:
        print(columns([("key", *names), *((key, *(v or "-" for v in values)) for key, values in found.items())]))


def tag(folder: Path, changes: Sequence[str]) -> None:
    """Change the tags of one run and print what they are now."""
    if not changes:
        raise UserError("Say what to change: nic runs tag RUN +word -word.")
    print(", ".join(change_tags(one_run(folder), list(changes))) or "no tags")


def one_run(folder: Path) -> Run:
    """The run in `folder`; RunError where it is no run, or holds several."""
    runs = find_runs([folder])
    if len(runs) > 1 or runs[0].folder != folder:
        raise RunError(f"{folder} holds {counted(len(runs), 'run')}; name one, such as {runs[0].folder}.")
    return runs[0]


def _rank(line: Line, key: str) -> Any:
    """Runs without the value come last, whatever the direction."""
    value: Any = {"left": line.seconds_left, "when": line.when}.get(key, getattr(line, key, None))
    if isinstance(value, str):
        return (False, [-ord(c) for c in value] if key in _DOWN else value.lower())
    if value is None or math.isnan(value):
        return (True, 0)
    return (False, -value if key in _DOWN else value)


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
        rated = any(point["bpp"] is not None for point in found["results"])
        shown = _SHOWN if rated else (*_SHOWN[:4], *MEASURED_FLOW)
        rows = [[_cell(point[key]) for key in shown] for point in found["results"]]
        parts += ["Results, means over images", "\n".join([columns([shown, *rows]), *gap_notes(found["results"])])]
    return "\n\n".join(parts)


def _cell(value: Any) -> str:
    return "-" if value is None else f"{value:.4f}" if isinstance(value, float) else str(value)

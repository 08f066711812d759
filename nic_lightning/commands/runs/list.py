"""`nic runs list`: state, steps and loss of every run in a folder."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from nic_lightning.commands.options import Json
from nic_lightning.runs.index.index import about_links, find_runs
from nic_lightning.runs.index.overview import Line, overview, table

_DOWN = ("step", "when")
_Key = Literal["name", "state", "step", "loss", "when", "codec", "left"]
_State = Literal["running", "finished", "failed", "interrupted", "elsewhere", "damaged"]


def list_runs(
    folder: Annotated[Path, Parameter(name="DIR")] = Path("runs"),
    /,
    *,
    sort: _Key | None = None,
    tags: Annotated[tuple[str, ...], Parameter(name="--tag", metavar="WORD")] = (),
    states: Annotated[tuple[_State, ...], Parameter(name="--state")] = (),
    as_json: Json = False,
) -> None:
    """Print a table of the runs in a folder, and in the folders in it: state, steps, loss.

    Args:
        folder: a folder of runs
        sort: highest step, newest sign, lowest loss first
        tags: only runs with this tag; may be repeated: with all of them
        states: only runs in this state; may be repeated: in one of them
        as_json: print JSON

    Examples:
        nic runs list
        nic runs list runs/sweep --state failed --sort loss

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


def _rank(line: Line, key: str) -> Any:
    """Runs without the value come last, whatever the direction."""
    value: Any = {"left": line.seconds_left, "when": line.when}.get(key, getattr(line, key, None))
    if isinstance(value, str):
        return (False, [-ord(c) for c in value] if key in _DOWN else value.lower())
    if value is None or math.isnan(value):
        return (True, 0)
    return (False, -value if key in _DOWN else value)

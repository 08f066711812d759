"""How far each run is, read from the ends of its files: for `nic runs list` and the dashboard."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from nic_lightning.errors import RunError
from nic_lightning.runs.index.index import Run
from nic_lightning.runs.index.tags import tags_of
from nic_lightning.runs.record.files import checked_path
from nic_lightning.runs.record.results import mean
from nic_lightning.runs.record.text import printable

_TAIL = 2**18
_MAX_METRICS = 2**30
_MAX_KEYS = 500
_RECENT = 20
"""Lines that are always read: the pace is computed from them."""
_SOUGHT = (b'"train/loss"', b'"val')
"""Before those, lines are read only as far back as the last with each of these."""


@dataclass(frozen=True)
class Line:
    """One run at a glance. `step` counts finished optimiser steps as far as is known; `when` is its last sign.

    `state` is that of `Run`, or "damaged". `problem` says what is wrong, or why the run failed. `metrics` holds the
    last value of each metric, means over operating points: `train/bpp` is that of all `train/bpp@...`.
    """

    name: str
    folder: str
    state: str
    step: int | None = None
    max_steps: int | None = None
    loss: float | None = None
    when: str | None = None
    problem: str | None = None
    codec: str | None = None
    tags: list[str] = field(default_factory=list)
    seconds_left: float | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    note: str | None = None
    """Who ended a finished run before its last step, or what interrupted one."""

    def as_json(self) -> dict[str, Any]:
        """Strict JSON: numbers that are none as text."""
        values = asdict(self) | {"metrics": {key: strict(value) for key, value in self.metrics.items()}}
        return values | {"loss": strict(self.loss)}


def overview(run: Run) -> Line:
    """The line of a run. Never fails, whatever the folder holds."""
    config = run.config if isinstance(run.config, dict) else {}
    status = run.status or {}
    state = "damaged" if run.status is None or run.config is None else run.state
    logged = _last_lines(run.folder)
    last: dict[str, Any] = logged[-1] if logged else {}
    loss = next((line["train/loss"] for line in reversed(logged) if "train/loss" in line), None)
    steps = _count(_inside(config, "trainer", "max_steps"))
    step = steps_done(status, last)
    failure = status.get("error") if state == "failed" else None
    return Line(
        name=run.name,
        folder=str(run.folder),
        state=state,
        step=step,
        max_steps=steps,
        loss=loss,
        when=_when(status, last),
        problem="; ".join([*run.problems, *([str(failure)[:1000]] if failure else [])]) or None,
        note=_note(state, status),
        codec=_codec(config),
        tags=tags_of(run),
        seconds_left=_left(logged, step, steps) if state in ("running", "elsewhere") else None,
        metrics=_metrics(logged),
    )


def steps_done(status: Mapping[str, Any], last: Mapping[str, Any]) -> int | None:
    """Finished optimiser steps, as far as the status and the `last` line of metrics know; None where neither does."""
    known = (_count(status.get("step")), last["step"] + 1 if last else None)
    return max((count for count in known if count is not None), default=None)


def table(lines: list[Line]) -> str:
    """Plain text, a run a line; what a folder says of itself is shown without control characters."""
    rows = [("run", "state", "step", "loss", "last sign", "")]
    for line in lines:
        total = "" if line.max_steps is None else f" / {line.max_steps:,}"
        step = "-" if line.step is None else f"{line.step:,}{total}"
        loss = "-" if line.loss is None else f"{line.loss:.5g}"
        when = (line.when or "-")[:16].replace("T", " ")
        rows.append((line.name, line.state, step, loss, when, line.problem or line.note or ""))
    return columns(rows)


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Rows of text below one another, without control characters; a cell of more than 200 characters is cut."""
    cells = [[shown(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in cells)


def shown(text: str) -> str:
    """Text of a run folder in a table: at most 200 characters, and none that moves the cursor."""
    return printable(text, 200)


def _last_lines(folder: Path) -> list[dict[str, Any]]:
    """Of the last 256 KiB of metrics.jsonl: the newest lines, and the newest with a loss and with a validation.

    None where it cannot be read.
    """
    try:
        path = checked_path(folder, "metrics.jsonl", _MAX_METRICS)
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
            raw = file.read(_TAIL).split(b"\n")[:-1]
    except (RunError, OSError):
        return []
    return [*_newest(raw)][::-1]


def _newest(raw: Sequence[bytes]) -> Iterator[dict[str, Any]]:
    """Parsed lines from the end; to parse all of them would take most of the time of a long list."""
    read, sought = 0, set(_SOUGHT)
    for text in reversed(raw):
        held = {key for key in sought if key in text}
        if (read < _RECENT or held) and (line := _parse(text)):
            read += 1
            sought -= held
            yield line
        if read >= _RECENT and not sought:
            return


def _parse(raw: bytes) -> dict[str, Any] | None:
    try:
        line = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    if not isinstance(line, dict) or type(line.get("step")) is not int or abs(line["step"]) > 2**53:
        return None
    kept: dict[str, Any] = {"step": line["step"]}
    for key, value in list(line.items())[:_MAX_KEYS]:
        if key not in ("step", "epoch") and (value in ("nan", "inf", "-inf") or _is_plain(value)):
            kept[key[:200]] = float(value)
    return kept


def _is_plain(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 1e300


def _metrics(logged: Sequence[dict[str, Any]]) -> dict[str, float]:
    last: dict[str, tuple[int, list[float]]] = {}
    for number, line in enumerate(logged):
        for key, value in line.items():
            if key in ("step", "time"):
                continue
            title = key.partition("@")[0]
            if last.get(title, (-1,))[0] != number:
                last[title] = (number, [])
            last[title][1].append(value)
    means = {title: mean(values) for title, (_, values) in last.items()}
    return {title: math.nan if value is None else value for title, value in means.items()}


def _left(logged: Sequence[dict[str, Any]], step: int | None, steps: int | None) -> float | None:
    """Seconds to the last step, at the pace of the newest lines."""
    timed = [line for line in logged[-_RECENT:] if "time" in line]
    if len(timed) < 2 or step is None or steps is None:
        return None
    done, took = timed[-1]["step"] - timed[0]["step"], timed[-1]["time"] - timed[0]["time"]
    if done <= 0 or not 0 < took < math.inf:
        return None
    return max(steps - step, 0) * took / done


def _note(state: str, status: dict[str, Any]) -> str | None:
    if state == "finished" and status.get("ended_by"):
        return f"{status['ended_by']} ended it"[:1000]
    if state == "interrupted" and isinstance(status.get("error"), str):
        return status["error"].partition(": ")[2][:1000] or None
    return None


def _when(status: dict[str, Any], last: dict[str, Any]) -> str | None:
    if isinstance(status.get("ended"), str):
        return status["ended"][:40]
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(last["time"]))
    except (KeyError, ValueError, OverflowError, OSError):
        started = status.get("started")
        return started[:40] if isinstance(started, str) else None


def _codec(config: dict[str, Any]) -> str | None:
    """The codec by the name of its file, `modulated`; of classic codecs, which share one, by that of its class."""
    target = _inside(config, "codec", "_target_")
    if not isinstance(target, str) or target.count(".") < 2:
        return None
    *_, room, file, name = target.split(".")
    return (name.lower() if room == "baselines" else file)[:80]


def _inside(config: dict[str, Any], *keys: str) -> Any:
    value: Any = config
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value <= 2**53 else None


def strict(value: float | None) -> float | str | None:
    """A number for strict JSON: one that is not finite as text."""
    return str(value) if value is not None and not math.isfinite(value) else value

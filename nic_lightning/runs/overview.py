"""How far each run is, read from the ends of its files: for `nic runs list`."""

from __future__ import annotations

import json
import math
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nic_lightning.errors import RunError
from nic_lightning.runs.files import checked_path
from nic_lightning.runs.index import Run

_TAIL = 2**18
_MAX_METRICS = 2**30


@dataclass(frozen=True)
class Line:
    """One run at a glance. `step` counts finished optimiser steps as far as they were logged; `when` is its last sign.

    `state` is that of `Run`, or "damaged". `problem` says what is wrong, or why the run failed.
    """

    name: str
    folder: str
    state: str
    step: int | None = None
    max_steps: int | None = None
    loss: float | None = None
    when: str | None = None
    problem: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Strict JSON: a loss that is no number as text."""
        loss = self.loss
        return asdict(self) | {"loss": str(loss) if loss is not None and not math.isfinite(loss) else loss}


def overview(run: Run) -> Line:
    """The line of a run. Never fails, whatever the folder holds."""
    config = run.config if isinstance(run.config, dict) else {}
    trainer = config.get("trainer")
    steps: Any = trainer.get("max_steps") if isinstance(trainer, dict) else None
    logged = _last_lines(run.folder)
    last: dict[str, Any] = logged[-1] if logged else {}
    loss = next((line["train/loss"] for line in reversed(logged) if "train/loss" in line), None)
    damaged = run.status is None or run.config is None
    failure = run.status.get("error") if run.status and run.state == "failed" else None
    return Line(
        name=run.name,
        folder=str(run.folder),
        state="damaged" if damaged else run.state,
        step=last["step"] + 1 if last else None,
        max_steps=steps if type(steps) is int and steps >= 0 else None,
        loss=loss,
        when=_when(run, last),
        problem="; ".join([*run.problems, *([str(failure)[:1000]] if failure else [])]) or None,
    )


def table(lines: list[Line]) -> str:
    """Plain text, a run a line; what a folder says of itself is shown without control characters."""
    rows = [("run", "state", "step", "loss", "last sign", "")]
    for line in lines:
        total = "" if line.max_steps is None else f" / {line.max_steps:,}"
        step = "-" if line.step is None else f"{line.step:,}{total}"
        loss = "-" if line.loss is None else f"{line.loss:.5g}"
        when = (line.when or "-")[:16].replace("T", " ")
        rows.append((line.name, line.state, step, loss, when, line.problem or ""))
    cells = [[_printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in cells)


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)[:200]


def _last_lines(folder: Path) -> list[dict[str, Any]]:
    """The last lines of metrics.jsonl, from its last 256 KiB; none where it cannot be read."""
    try:
        path = checked_path(folder, "metrics.jsonl", _MAX_METRICS)
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
            raw = file.read(_TAIL).split(b"\n")[:-1]
    except (RunError, OSError):
        return []
    return [line for line in map(_parse, raw) if line]


def _parse(raw: bytes) -> dict[str, Any] | None:
    try:
        line = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    if not isinstance(line, dict) or type(line.get("step")) is not int or abs(line["step"]) > 2**53:
        return None
    kept: dict[str, Any] = {"step": line["step"]}
    for key in ("time", "train/loss"):
        value: Any = line.get(key)
        if value in ("nan", "inf", "-inf") or (type(value) in (int, float) and abs(value) < 1e300):
            kept[key] = float(value)
    return kept


def _when(run: Run, last: dict[str, Any]) -> str | None:
    status = run.status or {}
    if isinstance(status.get("ended"), str):
        return status["ended"][:40]
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(last["time"]))
    except (KeyError, ValueError, OverflowError, OSError):
        started = status.get("started")
        return started[:40] if isinstance(started, str) else None

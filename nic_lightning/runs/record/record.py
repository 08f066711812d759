"""The run record: a folder that says what was run, how far it came, and what was measured on the way."""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from nic_lightning.errors import Interrupted, RunError
from nic_lightning.mistakes import mistake
from nic_lightning.runs.machine.environment import environment, git_state
from nic_lightning.runs.machine.process import this_process
from nic_lightning.runs.record.files import checked_path, read_inside, write_atomically

STATES = ("running", "finished", "failed", "interrupted")
GO_ON = "Interrupted; the same command continues the run from its last checkpoint."
_MAX_STATUS = 2**20
_MAX_METRICS = 2**30
MAX_LINE = 2**20
_STARTED = ("status.json", "config.yaml", "overrides.yaml", "environment.json", "git.diff", "wandb_id", "resume.yaml")
_WORK = ("checkpoints", "metrics.jsonl", "results.parquet")
_RESERVED = ("step", "epoch", "time")


class RunRecord:
    """A run folder: config.yaml, overrides.yaml, environment.json, git.diff, status.json, metrics.jsonl.

    Every file but metrics.jsonl is replaced whole. A line of metrics.jsonl is one `write` to a file opened
    for appending, so a line that `log` has returned from survives `kill -9` of the process. In distributed
    training only rank 0 may own a record.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.trains, self.began = False, False
        """Whether this is a training, and whether a step of this start has begun."""
        self.steps: int | None = None
        """Optimiser steps that the newest checkpoint holds; None: there is none of this start."""
        self.ended_by: str | None = None
        """Callback that ended the run before its last step, for good."""

    def start(self, config: Mapping[str, Any], overrides: list[str]) -> None:
        """Begin the run, or begin it again: earlier environments stay in environment.json as "earlier".

        Args:
            config: resolved configuration as plain Python (dict, list, str, numbers, None).
            overrides: command-line overrides that gave it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self.trains = config.get("trainer") is not None
        _drop_cut_line(self.metrics_path)
        git, diff = git_state()
        now = _now()
        facts = {"started": now, "seeds": _seeds(config), "git": git, **environment()}
        facts["trainer"] = config.get("trainer")  # where it computes may differ from start to start
        earlier = self._earlier_environments()
        status = {"state": "running", "started": self._first_start() or now, "ended": None, "error": None}
        # First, since a folder with a config and without a status would count as damaged.
        write_atomically(self.folder / "status.json", _to_json({**status, "process": this_process()}))
        write_atomically(self.folder / "config.yaml", to_yaml(config))
        write_atomically(self.folder / "overrides.yaml", to_yaml(list(overrides)))
        write_atomically(self.folder / "environment.json", _to_json({**facts, "earlier": earlier}))
        if diff:
            write_atomically(self.folder / "git.diff", diff)
        else:
            (self.folder / "git.diff").unlink(missing_ok=True)

    def log(self, step: int, values: Mapping[str, float], epoch: int | None = None) -> None:
        """Append one line to metrics.jsonl; NaN and infinities as the strings "nan", "inf" and "-inf"."""
        line: dict[str, Any] = {"step": int(step), "time": round(time.time(), 3)}
        if epoch is not None:
            line["epoch"] = int(epoch)
        line.update({k: _plain(float(v)) for k, v in values.items() if k not in _RESERVED})
        data = (json.dumps(line, allow_nan=False) + "\n").encode()
        try:
            handle = os.open(self.metrics_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                written = os.write(handle, data)
            finally:
                os.close(handle)
        except OSError as error:
            raise RunError(f"{self.metrics_path} cannot be written: {error.strerror}.") from error
        if written != len(data):
            raise RunError(f"{self.metrics_path} cannot be written: the disk is full; make room and start again.")

    def metrics_bytes(self) -> int:
        """Length of metrics.jsonl in bytes: a checkpoint keeps it, see `cut_metrics`."""
        return self.metrics_path.stat().st_size if self.metrics_path.exists() else 0

    def cut_metrics(self, length: int) -> None:
        """Forget the lines after the first `length` bytes: a resumed run writes them again."""
        if 0 <= length < self.metrics_bytes():
            os.truncate(self.metrics_path, length)
            _drop_cut_line(self.metrics_path)

    def add_environment(self, facts: Mapping[str, Any]) -> None:
        """Add what is known only once training begins, such as `numerics()`, to environment.json."""
        try:
            known = json.loads(read_inside(self.folder, "environment.json", 16 * _MAX_STATUS))
        except (RunError, ValueError, RecursionError):
            known = {}
        if isinstance(known, dict):
            write_atomically(self.folder / "environment.json", _to_json({**known, **facts}))

    def finish(self, state: str, error: str | None = None) -> None:
        """End the run as "finished", "failed" or, stopped from outside, "interrupted"; `steps` goes with it."""
        if state not in STATES:
            raise ValueError(f"state is one of {STATES}, not {state!r}")
        status: dict[str, Any] = {"state": state, "started": self._first_start(), "ended": _now(), "error": error}
        if self.steps is not None:
            status["step"] = self.steps
        if state == "finished" and self.ended_by is not None:
            status["ended_by"] = self.ended_by
        write_atomically(self.folder / "status.json", _to_json(status))

    def forget(self) -> None:
        """Remove what `start`, and loggers since, have written: of a start that came to no step, no run is left."""
        leave_wandb()
        for name in (*_STARTED, "train.log"):
            (self.folder / name).unlink(missing_ok=True)
        shutil.rmtree(self.folder / "wandb", ignore_errors=True)

    @property
    def metrics_path(self) -> Path:
        """Where `log` writes."""
        return self.folder / "metrics.jsonl"

    def _first_start(self) -> str | None:
        try:
            return read_status(self.folder).get("started")
        except RunError:
            return None

    def _earlier_environments(self) -> list[dict[str, Any]]:
        try:
            last = json.loads(read_inside(self.folder, "environment.json", 16 * _MAX_STATUS))
            earlier = last.pop("earlier", [])
        except (RunError, ValueError, AttributeError, RecursionError):
            return []
        return [*earlier, last][-20:] if isinstance(earlier, list) else [last]


@contextlib.contextmanager
def ending_in(record: RunRecord, advice: str = "") -> Iterator[None]:
    """Record how the run ends: finished, interrupted, or failed and why; after Ctrl-C print the `advice`.

    A training that ends before its first step, in a folder without anything of an earlier one, leaves no record.
    """
    blank = not any((record.folder / name).exists() for name in _WORK)
    try:
        yield
    except BaseException as error:
        if blank and record.trains and not record.began:
            record.forget()
            raise
        interrupted = isinstance(error, KeyboardInterrupt | Interrupted | BrokenPipeError)
        with contextlib.suppress(OSError):  # a full disk, which may be what has ended the run
            cause = mistake(error) or error
            record.finish("interrupted" if interrupted else "failed", f"{type(cause).__name__}: {cause}")
        if isinstance(error, KeyboardInterrupt) and advice:
            print(advice, file=sys.stderr)
        raise
    record.finish("finished")


def read_status(folder: str | Path) -> dict[str, Any]:
    """status.json of a run folder; RunError when it is missing or damaged."""
    try:
        status = json.loads(read_inside(Path(folder), "status.json", _MAX_STATUS))
    except (ValueError, RecursionError) as error:
        raise RunError("status.json is damaged.") from error
    if not isinstance(status, dict) or status.get("state") not in STATES:
        raise RunError("status.json is damaged.")
    return status


def ending_of(folder: Path) -> str:
    """In brackets, who ended a finished run before its last step; empty where nobody did."""
    try:
        status = read_status(folder)
    except RunError:
        return ""
    return f" ({status['ended_by']} ended it at step {status.get('step')})" if status.get("ended_by") else ""


def read_metrics(folder: str | Path) -> list[dict[str, Any]]:
    """Lines of metrics.jsonl in the order written, values as float; cut and damaged lines are left out.

    Raises:
        RunError: the file is missing, a link out of the folder, or larger than a run writes.
    """
    return list(metric_lines(folder))


def metric_lines(folder: str | Path) -> Iterator[dict[str, Any]]:
    """What `read_metrics` returns, one line after the other, so that memory does not grow with the file."""
    path = checked_path(Path(folder), "metrics.jsonl", _MAX_METRICS)
    with path.open("rb") as file:
        while raw := file.readline(MAX_LINE):
            line = parse_line(raw)
            if line is not None:
                yield line


def parse_line(raw: bytes) -> dict[str, Any] | None:
    """A line of metrics.jsonl, values as float; None when it is cut or damaged."""
    if not raw.endswith(b"\n"):
        return None
    try:
        line = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    if not isinstance(line, dict) or type(line.get("step")) is not int:
        return None
    parsed: dict[str, Any] = {}
    for key, value in line.items():
        if key in ("step", "epoch"):
            parsed[key] = value if type(value) is int else None
        elif value in ("nan", "inf", "-inf") or type(value) in (int, float):
            parsed[key] = float(value) if not isinstance(value, int) or abs(value) < 10**300 else math.inf
    return parsed


def leave_wandb() -> None:
    """End W&B's part of a run that is given up, if it has one."""
    wandb: Any = sys.modules.get("wandb")
    if wandb is not None and getattr(wandb, "run", None) is not None:
        said = io.StringIO()  # how to upload what will be gone
        with contextlib.suppress(Exception), contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            wandb.finish(exit_code=1, quiet=True)


def _drop_cut_line(path: Path) -> None:
    """Cut a half-written last line away, so that the next line does not continue it."""
    if not path.exists() or path.stat().st_size == 0:
        return
    with path.open("rb+") as file:
        end = file.seek(0, os.SEEK_END)
        tail_start = max(0, end - MAX_LINE)
        file.seek(tail_start)
        tail = file.read()
        if not tail.endswith(b"\n"):
            file.truncate(tail_start + tail.rfind(b"\n") + 1)


def _seeds(config: Mapping[str, Any]) -> dict[str, Any]:
    return {"seed": config.get("seed")} if "seed" in config else {}


def _plain(value: Any) -> Any:
    """A number as strict JSON has it: NaN and infinities have no number there."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


class _PlainDumper(yaml.SafeDumper):
    """No anchors: a value that stands twice is written twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def to_yaml(value: Any) -> str:
    """Plain values as YAML, in their order."""
    plain = dict(value) if isinstance(value, Mapping) else value
    return yaml.dump(plain, Dumper=_PlainDumper, sort_keys=False, allow_unicode=True)


def _to_json(value: Any) -> str:
    return json.dumps(value, indent=2) + "\n"


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")

"""The list of runs, kept fresh by a thread: a request never waits for the disk."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nic_lightning.media.base import all_media
from nic_lightning.runs.index.index import Run, read_run, run_folders, run_name
from nic_lightning.runs.index.overview import Line, overview, shown

FILES = ("status.json", "config.yaml", "metrics.jsonl", "results.parquet", "tags.json")
"""A run is read again when size or time of one of these changes."""
EVERY = 1.0
"""Seconds between two looks at the disk, while somebody asks."""
Signature = tuple[tuple[int, int, int] | None, ...]


@dataclass
class Entry:
    """A run of the list: its row, and what that was made from."""

    folder: Path
    row: dict[str, Any]
    seq: int
    signature: Signature | None = None
    run: Run | None = None


@dataclass(frozen=True)
class Changes:
    """What a page does not know yet. `reset`: `rows` are all there are."""

    version: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    reset: bool = False
    waiting: int = 0
    """Runs that are known by name only as yet."""


class Catalogue:
    """The runs at or below `root`. Links are not followed, so that nothing outside of it is ever read."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._token = f"{time.time_ns():x}"
        self._entries: dict[str, Entry] = {}
        self._seq, self._removed = 0, 0
        self._lock = threading.Lock()
        self._wanted = threading.Event()
        self._stopped = False

    def start(self) -> None:
        """Begin to read, in a thread."""
        self._wanted.set()
        threading.Thread(target=self._follow, name="catalogue", daemon=True).start()

    def stop(self) -> None:
        """End the thread after what it is at."""
        self._stopped = True
        self._wanted.set()

    def changes(self, known: str | None = None) -> Changes:
        """The rows that changed since version `known`, and a hint to look at the disk again."""
        self._wanted.set()
        token, _, seq = (known or "").partition(":")
        since = int(seq) if token == self._token and seq.isdecimal() and len(seq) < 20 else -1
        with self._lock:
            reset = since < self._removed
            rows = [entry.row for entry in self._entries.values() if reset or entry.seq > since]
            waiting = sum(entry.signature is None for entry in self._entries.values())
            return Changes(f"{self._token}:{self._seq}", rows, reset, waiting)

    def rows(self) -> list[dict[str, Any]]:
        """All rows."""
        with self._lock:
            return [entry.row for entry in self._entries.values()]

    def folders(self, ids: Sequence[str]) -> dict[str, Path]:
        """Id -> folder, of those ids that are runs of the list; nothing else ever names a folder."""
        with self._lock:
            return {key: self._entries[key].folder for key in ids if key in self._entries}

    def look(self) -> None:
        """Find runs, and read those that changed, the newest first."""
        found = {run_id(folder, self.root): folder for folder in run_folders(self.root)}
        with self._lock:
            gone = self._entries.keys() - found.keys()
            for key in gone:
                del self._entries[key]
            if gone:
                self._seq += 1
                self._removed = self._seq
            for key in found.keys() - self._entries.keys():
                self._seq += 1
                self._entries[key] = Entry(found[key], _unread(key, found[key], self.root), self._seq)
            entries = list(self._entries.items())
        changed = []
        for key, entry in entries:
            signature = signed(entry.folder)
            if signature != entry.signature or _state_moved(entry):
                changed.append((max((part[1] for part in signature if part), default=0), key, signature))
        for _, key, signature in sorted(changed, reverse=True):
            if self._stopped:
                return
            self._read(key, signature)

    def _read(self, key: str, signature: Signature) -> None:
        entry = self._entries[key]
        run = read_run(entry.folder, run_name(entry.folder, self.root))
        row = row_of(key, overview(run), run, self.root)
        with self._lock:
            entry.run, entry.signature = run, signature
            if row != entry.row:
                self._seq += 1
                entry.row, entry.seq = row, self._seq

    def _follow(self) -> None:
        while not self._stopped:
            self._wanted.wait()
            self._wanted.clear()
            with contextlib.suppress(OSError):  # of a disk that is away for a while
                self.look()
            time.sleep(EVERY)


def run_id(folder: Path, root: Path) -> str:
    """The path below the root, as text that any page can hold; "." for the root itself."""
    return folder.relative_to(root).as_posix().encode(errors="backslashreplace").decode()


def signed(folder: Path) -> Signature:
    """Size, time and number of each of FILES; None where there is none."""
    facts: list[tuple[int, int, int] | None] = []
    start = f"{folder}{os.sep}"  # a thousand times: a Path for each file would take longest
    for name in FILES:
        try:
            stat = os.stat(start + name, follow_symlinks=False)
            facts.append((stat.st_size, stat.st_mtime_ns, stat.st_ino))
        except OSError:
            facts.append(None)
    return tuple(facts)


def row_of(key: str, line: Line, run: Run, root: Path) -> dict[str, Any]:
    """A line of the page's list: plain values only."""
    sweep = run.folder.parent.relative_to(root).as_posix() if run.folder not in (root, root.parent) else "."
    last = {name.rpartition("/")[2]: value for name, value in line.metrics.items() if name.startswith("val")}
    numbers = line.as_json()
    return {
        "id": key,
        "name": shown(key if key != "." else line.name),
        "state": line.state,
        "progress": _part(line),
        "step": line.step,
        "max_steps": line.max_steps,
        "left": line.seconds_left,
        "loss": numbers["loss"] if not isinstance(numbers["loss"], str) else None,
        "loss_text": numbers["loss"] if isinstance(numbers["loss"], str) else None,
        **_measures(last, line.metrics),
        "codec": shown(line.codec or ""),
        "sweep": shown(sweep.encode(errors="backslashreplace").decode()) if sweep != "." else "",
        "tags": ", ".join(map(shown, line.tags)),
        "when": shown((line.when or "")[:19].replace("T", " ")),
        "measured": os.path.lexists(run.folder / "results.parquet"),
        "problem": shown(line.problem or ""),
    }


def _measures(last: Mapping[str, float], metrics: Mapping[str, float]) -> dict[str, float | None]:
    """The rate and the first quality of each medium, as far as they were logged."""
    found: dict[str, float | None] = {}
    for medium in all_media():
        rate = last.get(medium.rate.estimated, metrics.get(f"train/{medium.rate.key}"))
        found |= {medium.rate.key: _finite(rate), medium.default: _finite(last.get(medium.default))}
    return found


def _unread(key: str, folder: Path, root: Path) -> dict[str, Any]:
    return row_of(key, Line(key, str(folder), "reading"), Run(folder, key), root)


def _state_moved(entry: Entry) -> bool:
    """Whether a run that said it is running has died, or the other way round: no file changes then."""
    status = entry.run.status if entry.run else None
    if entry.run is None or status is None or status["state"] != "running":
        return False
    return entry.row["state"] not in ("damaged", entry.run.state)


def _part(line: Line) -> float | None:
    if line.step is None or not line.max_steps:
        return None
    return min(line.step / line.max_steps, 1.0)


def _finite(value: float | None) -> float | None:
    return value if value is not None and abs(value) < float("inf") else None

"""Finding runs on disk and reading them, however damaged they are. No torch needed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from nic_lightning.errors import RunError, counted
from nic_lightning.runs.machine.process import life
from nic_lightning.runs.record.files import checked_path, read_inside
from nic_lightning.runs.record.record import read_metrics, read_status
from nic_lightning.runs.record.results import MAX_BYTES, read_results
from nic_lightning.runs.settings.identity import series

MARKS = ("status.json", "results.parquet", "metrics.jsonl")
"""A folder that holds one of these is a run."""
MAX_DEPTH = 6
MAX_FOLDERS = 20_000
_MAX_NESTING = 100
_MAX_TEXT = 2**20
_SKIPPED = {"checkpoints", "figures", "wandb", "__pycache__"}


@dataclass
class Run:
    """A run folder as found on disk. What could not be read is None or empty, and `problems` says why."""

    folder: Path
    name: str
    config: dict[str, Any] | None = None
    config_text: str = ""
    overrides: list[str] = field(default_factory=list)
    status: dict[str, Any] | None = None
    problems: list[str] = field(default_factory=list)

    @property
    def state(self) -> str:
        """One of "running", "elsewhere" (on another host), "interrupted", "finished", "failed" and "unknown".

        What status.json calls running is believed only while its process lives.
        """
        if self.status is None:
            return "unknown"
        if self.status["state"] != "running":
            return self.status["state"]
        lives = life(self.status)
        return "running" if lives == "alive" else "interrupted" if lives == "dead" else "elsewhere"

    def results(self) -> list[dict[str, Any]]:
        """Rows of results.parquet; empty when there is none or it is damaged (then a problem is added).

        "run" is this run's name, not what the table says: runs in several places may have recorded the same name.
        "series" is what it has in common with runs of other lambdas (`identity.series`).
        """
        if not os.path.lexists(self.folder / "results.parquet"):
            return []
        try:
            rows = read_results(checked_path(self.folder, "results.parquet", MAX_BYTES))
            return [{**row, "run": self.name, "series": series(self.config)} for row in rows]
        except RunError as error:
            self.add_problem(error)
            return []

    def metrics(self) -> list[dict[str, Any]]:
        """Lines of metrics.jsonl; empty when there is none or it is unreadable (then a problem is added)."""
        if not os.path.lexists(self.folder / "metrics.jsonl"):
            return []
        try:
            return read_metrics(self.folder)
        except RunError as error:
            self.add_problem(error)
            return []

    def read_text(self, name: str) -> str:
        """A text file of the run, at most 1 MiB; empty when it cannot be read (then a problem is added)."""
        try:
            return read_inside(self.folder, name, _MAX_TEXT).decode(errors="replace")
        except RunError as error:
            self.add_problem(error)
            return ""

    def add_problem(self, error: Exception | str) -> None:
        """Keep a sentence about what is wrong with the folder, once."""
        sentence = f"{self.name}: {error}"
        if sentence not in self.problems:
            self.problems.append(sentence)


def find_runs(paths: Iterable[str | Path], read: Callable[[Path, str], Run] | None = None) -> list[Run]:
    """The runs at or below the paths, in the order of the paths and then by name; each folder once.

    Every run has a name of its own: where folders share one, it begins with as much of the path as tells them apart.
    `read` makes a run of folder and name: `read_run`, or `Run` where no file of it is needed.

    Raises:
        RunError: a path does not exist, or has no run at or below it.
    """
    found: dict[Path, Run] = {}
    for path in map(Path, paths):
        if not path.exists():
            raise RunError(f"{path} does not exist; name a run folder, or a folder of runs.")
        folders = run_folders(path)
        if not folders:
            links = " ".join(["", *about_links([path])])
            raise RunError(f"{path} holds no run: no folder with a {MARKS[0]}, {MARKS[1]} or {MARKS[2]}.{links}")
        for folder in folders:
            key = folder.resolve()
            if key not in found:
                found[key] = (read or read_run)(folder, run_name(folder, path))
    runs = list(found.values())
    _name_apart(runs)
    return runs


def rename(run: Run, name: str) -> None:
    """Give a run another name, in its problems too."""
    run.problems = [problem.replace(f"{run.name}: ", f"{name}: ", 1) for problem in run.problems]
    run.name = name


def _name_apart(runs: Sequence[Run]) -> None:
    """Put one more folder of the path before names that several runs have, until each has a name of its own."""
    parts = {id(run): run.folder.resolve().parts for run in runs}
    while True:
        groups: dict[str, list[Run]] = {}
        for run in runs:
            groups.setdefault(run.name, []).append(run)
        shared = [run for group in groups.values() if len(group) > 1 for run in group]
        longer = {id(run): "/".join(parts[id(run)][-run.name.count("/") - 2 :]) for run in shared}
        changed = [run for run in shared if longer[id(run)] != run.name]
        if not changed:
            return
        for run in changed:
            rename(run, longer[id(run)])


def read_run(folder: str | Path, name: str | None = None) -> Run:
    """One run folder. Never fails: what is missing or damaged is named in `problems`."""
    folder = Path(folder)
    run = Run(folder, name or folder.resolve().name or str(folder))
    run.config_text = run.read_text("config.yaml")
    if run.config_text:
        config = _load_yaml(run, "config.yaml", run.config_text)
        run.config = config if isinstance(config, dict) else None
        if run.config is None:
            run.add_problem("config.yaml is damaged.")
    if os.path.lexists(folder / "overrides.yaml"):
        overrides = _load_yaml(run, "overrides.yaml", run.read_text("overrides.yaml"))
        run.overrides = [str(item) for item in overrides] if isinstance(overrides, list) else []
    try:
        run.status = read_status(folder)
    except RunError as error:
        run.add_problem(error)
    return run


def run_folders(root: Path) -> list[Path]:
    """Folders with a run at or below `root`, sorted; links are not followed, nor runs and hidden folders searched."""
    found: list[Path] = []
    waiting: list[tuple[Path, int]] = [(root, 0)]
    visited = 0
    while waiting and visited < MAX_FOLDERS:
        folder, depth = waiting.pop()
        visited += 1
        is_run, children = _inside(folder)
        if is_run:
            found.append(folder)
        elif depth < MAX_DEPTH:
            waiting += [(folder / name, depth + 1) for name in sorted(children, reverse=True)]
    return found


def about_links(roots: Iterable[str | Path]) -> list[str]:
    """A sentence for each of `roots` that holds links to folders, in which no run is sought."""
    found = []
    for root in map(Path, roots):
        try:
            with os.scandir(root) as entries:
                links = sorted(entry.path for entry in entries if entry.is_symlink() and entry.is_dir())
        except OSError:
            continue
        if links and not any(os.path.lexists(root / mark) for mark in MARKS):
            others = f" Nor {'is' if len(links) == 2 else 'are'} {len(links) - 1} more." if len(links) > 1 else ""
            found.append(f"{links[0]} is a link, which is not followed: name {os.path.realpath(links[0])}.{others}")
    return found


def _inside(folder: Path) -> tuple[bool, list[str]]:
    """Whether a folder is a run, and the names of the folders in it that are to be searched; one look at the disk."""
    children = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name in MARKS:
                    return True, []
                if entry.name[0] != "." and entry.name not in _SKIPPED and entry.is_dir(follow_symlinks=False):
                    children.append(entry.name)
    except OSError:
        return False, []
    return False, children


def run_name(folder: Path, root: Path) -> str:
    """The run's folder name; below a sweep folder, with the sweep's name before it."""
    top = root.resolve().name or str(root)
    return top if folder == root else "/".join([top, *folder.relative_to(root).parts])


_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Plain values only; libyaml's is ten times as fast."""


def _load_yaml(run: Run, name: str, text: str) -> Any:
    try:
        _check_shape(text)
        return yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError, RecursionError, OverflowError, TypeError, AttributeError):
        run.add_problem(f"{name} is damaged.")
        return None


def _check_shape(text: str) -> None:
    """Refuse aliases, which let a small file unfold without bound, and nesting that would overflow libyaml's stack."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent) or depth > _MAX_NESTING:
            raise yaml.YAMLError("aliases and deep nesting are not read")


def one_run(folder: Path) -> Run:
    """The run in `folder`; RunError where it is no run, or holds several."""
    runs = find_runs([folder])
    if len(runs) > 1 or runs[0].folder != folder:
        raise RunError(f"{folder} holds {counted(len(runs), 'run')}; name one, such as {runs[0].folder}.")
    return runs[0]

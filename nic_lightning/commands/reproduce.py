"""`nic runs reproduce`: print what makes a run again, or do it in a folder of its own and compare the losses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from nic_lightning.commands.runs import one_run
from nic_lightning.errors import RunError
from nic_lightning.runs.index.index import read_run
from nic_lightning.runs.record.files import read_inside
from nic_lightning.runs.record.record import read_metrics
from nic_lightning.runs.resume.reproduction import Reproduction, git, read, script
from nic_lightning.runs.settings.overrides import changes

PRINTED = Path("reproduced")
_ELSEWHERE = frozenset({"run_dir", "fresh", "logger"})


def reproduce(folder: Path, start: bool = False, out: Path | None = None) -> int:
    """Print a shell script for the run in `folder`; with `start`, make it again below the new folder `out` at once.

    Nothing outside `out` is written. Returns the exit code of the training, or 1 when its losses differ. Raises
    RunError where the folder holds too little.
    """
    made = read(one_run(folder))
    if not start:
        print(script(made, out or PRINTED), end="")
        return 0
    if out is None:
        raise RunError("Give the new folder for code and run: -o DIR.")
    for note in made.notes:
        print(note, file=sys.stderr)
    out = out.absolute()
    source = _checked_out(made, out)
    if different := made.other_packages():
        print(f"Packages differ: {', '.join(different)}.", file=sys.stderr)
    code = _train(made, source, out / "run")
    return code or _compare(folder, out / "run")


def _checked_out(made: Reproduction, out: Path) -> Path:
    """A clone of this checkout at the run's commit, with its uncommitted changes."""
    if made.commit is None:
        raise RunError(
            "nic_lightning did not run from a git checkout there; without --start, its versions are printed."
        )
    checkout = made.checkout
    if checkout is None:
        raise RunError(f"The checkout of nic_lightning here does not have commit {made.commit}; fetch it first.")
    if not made.is_whole:
        raise RunError(f"{made.run.folder} cannot be reproduced: {' '.join(made.notes)}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RunError(f"{out} exists already; give a new folder.")
    out.mkdir(parents=True, exist_ok=True)
    source = out / "source"
    steps: list[tuple[Path, tuple[str, ...], bytes | None]] = [
        (out, ("clone", "--quiet", "--no-checkout", "--", str(checkout), "source"), None),
        (source, ("checkout", "--quiet", "--detach", made.commit), None),
    ]
    if made.diff:
        steps.append((source, ("apply", "-"), made.diff))
    for folder, arguments, data in steps:
        good, text = git(folder, *arguments, data=data)
        if not good:
            raise RunError(f"git {arguments[0]} failed: {' '.join(text.split())[:500]}")
    return source


def _train(made: Reproduction, source: Path, folder: Path) -> int:
    """nic-train of `source`, in the working folder of then, where it still exists, for relative paths."""
    there = made.folder if made.folder is not None and made.folder.is_dir() else source.parent
    environment = {**os.environ, "PYTHONPATH": str(source), "PYTHONSAFEPATH": "1"}
    probe = [sys.executable, "-c", "import nic_lightning; print(nic_lightning.__file__)"]
    found = subprocess.run(
        probe, cwd=there, env=environment, capture_output=True, text=True, check=False
    ).stdout.strip()
    if not Path(found).is_relative_to(source):
        raise RunError(
            f"Python takes nic_lightning from {found or 'nowhere'}, not from {source}; run the printed script."
        )
    command = [sys.executable, "-m", "nic_lightning.train", *made.arguments(folder)]
    print(f"Training in {folder} with the code in {source}", file=sys.stderr, flush=True)
    return subprocess.run(command, cwd=there, env=environment, check=False).returncode


def _compare(old: Path, new: Path) -> int:
    """Say whether both runs logged the same losses, and which config keys differ; 0 when all losses are equal."""
    before, after = read_run(old).config or {}, read_run(new).config or {}
    if different := changes(before, after, ignore=_ELSEWHERE):
        print(f"The config differs: {', '.join(different)}.", file=sys.stderr)
    losses = [_losses(folder) for folder in (old, new)]
    unequal = [key for key in losses[0] if losses[0][key] != losses[1].get(key)]
    if not unequal and len(losses[0]) == len(losses[1]):
        print(f"All {len(losses[0])} logged losses are equal, to the last digit.")
        return 0
    if not unequal:
        print(f"The first {len(losses[0])} logged losses are equal; the new run logged {len(losses[1])}.")
        return 1
    step = unequal[0]
    print(
        f"{len(unequal)} of {len(losses[0])} logged losses differ, first at step {step}: "
        f"{losses[0][step]} there, {losses[1].get(step)} here."
    )
    there, here = _numerics(old), _numerics(new)
    for name in sorted(name for name in {*there, *here} if there.get(name) != here.get(name)):
        print(f"Results depend on {name}: {there.get(name)} there, {here.get(name)} here.")
    return 1


def _numerics(folder: Path) -> dict[str, Any]:
    """What results depend on beside code and config: threads, kernels, precision; empty where it was not recorded."""
    try:
        known = json.loads(read_inside(folder, "environment.json", 2**22))["numerics"]
    except (RunError, ValueError, KeyError, TypeError, RecursionError):
        return {}
    return known if isinstance(known, dict) else {}


def _losses(folder: Path) -> dict[int, Any]:
    return {line["step"]: repr(line["train/loss"]) for line in read_metrics(folder) if "train/loss" in line}

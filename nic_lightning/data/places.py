"""Which folder a relative path means: below the data root, or below the working directory. Starts without torch."""

from __future__ import annotations

import functools
import glob
import logging
import os
from pathlib import Path

log = logging.getLogger(__name__)


def folders_of(spec: str, root: Path) -> list[Path]:
    """The folder of that path, or else those that its wildcards match; empty where there is none.

    What exists is looked up before any sign is taken for a wildcard, so that "set[1]" is the folder of that name. A
    relative path is one below the data root, else below the working directory, and a warning says where both exist;
    "./photos" is the other way round.
    """
    spec = os.path.expanduser(spec)
    from_here = spec.startswith((f".{os.sep}", f"..{os.sep}"))
    bases = (Path(), root) if from_here else (root, Path())
    literal = [[base / spec] if (base / spec).is_dir() else [] for base in bases]
    found = literal if any(literal) else [_matches(spec, base) for base in bases]
    first, second = found
    if first and second and not from_here and first[0].resolve() != second[0].resolve():
        taken, other = first[0].absolute(), second[0].absolute()
        _say(f"{spec}: {taken} is taken, not {other}; give .{os.sep}{spec} for the folder here.")
    return first or second


def _matches(spec: str, base: Path) -> list[Path]:
    places = [base / place for place in sorted(glob.glob(spec, root_dir=base))]
    return [place for place in places if place.is_dir()]


def warn_of_folder_here(name: str, folders: tuple[Path, ...]) -> None:
    """Warn where a folder of the working directory has the name of a catalogued set, which lies elsewhere."""
    here = Path(name)
    if here.is_dir() and not any(folder.resolve().is_relative_to(here.resolve()) for folder in folders):
        _say(f"{name} is the catalogued set in {folders[0].absolute()}; give .{os.sep}{name} for the folder here.")


@functools.cache  # a set is located more than once in a run
def _say(sentence: str) -> None:
    log.warning("%s", sentence)

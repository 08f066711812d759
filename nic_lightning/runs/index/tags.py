"""Words that runs are found by: those of the config, or, once changed by `nic runs tag`, those in tags.json."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from nic_lightning.errors import RunError, UserError
from nic_lightning.runs.index.index import Run
from nic_lightning.runs.record.files import read_inside, write_atomically

FILE = "tags.json"
MAX_TAGS = 50
_WORD = re.compile(r"[^\s,+\-][^\s,]{0,63}")


def tags_of(run: Run) -> list[str]:
    """The run's tags, in order; those of the config where tags.json is missing or damaged (then a problem is added)."""
    if os.path.lexists(run.folder / FILE):
        try:
            return _plain(json.loads(read_inside(run.folder, FILE, 2**16)))
        except (RunError, ValueError, RecursionError):
            run.add_problem(f"{FILE} is damaged.")
    return _plain((run.config or {}).get("tags"))


def change_tags(run: Run, changes: list[str]) -> list[str]:
    """Add `+word`, take `-word` away, and write tags.json; the tags that are left.

    Raises:
        UserError: a change is neither, or there are too many.
    """
    tags = tags_of(run)
    for change in changes:
        sign, word = change[:1], change[1:]
        if sign not in ("+", "-") or not _WORD.fullmatch(word) or not word.isprintable():
            raise UserError(
                f"{change!r} is no change of tags; write +word or -word, up to 64 characters without blanks."
            )
        tags = [tag for tag in tags if tag != word] + ([word] if sign == "+" else [])
    if len(tags) > MAX_TAGS:
        raise UserError(f"{run.name} would have {len(tags)} tags; {MAX_TAGS} are the most.")
    write_atomically(Path(run.folder) / FILE, json.dumps(tags) + "\n")
    return tags


def _plain(tags: object) -> list[str]:
    if not isinstance(tags, list):
        return []
    words = (str(tag)[:64] for tag in tags[:MAX_TAGS] if isinstance(tag, str | int | float))
    return list(dict.fromkeys(word for word in words if word))

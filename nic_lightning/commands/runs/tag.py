"""`nic runs tag`: words to find a run by."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from nic_lightning.errors import UserError
from nic_lightning.runs.index.index import one_run
from nic_lightning.runs.index.tags import change_tags


def tag(
    folder: Annotated[Path, Parameter(name="RUN")],
    /,
    *changes: Annotated[str, Parameter(name="+WORD|-WORD", allow_leading_hyphen=True)],
) -> None:
    """Change the words to find a run by, and print what they are now: +word adds one, -word takes it away.

    Args:
        folder: run folder
        changes: tags to add and to take away

    Examples:
        nic runs tag runs/first +paper -draft
    """
    if not changes:
        raise UserError("Say what to change: nic runs tag RUN +word -word.")
    print(", ".join(change_tags(one_run(folder), list(changes))) or "no tags")

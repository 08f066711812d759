"""W&B's last words at exit, when its helper process was killed."""

from __future__ import annotations

import sys
from typing import Any

_installed = False


def leave_quietly() -> None:
    """Say nothing at exit about a helper process of W&B that is gone: the warning when it was lost has said it.

    W&B tears the helper down by a hook at exit, and Python prints what such a hook raises. Only lost connections of
    W&B's own hooks are left out; everything else goes where it went before.
    """
    global _installed
    if _installed:
        return
    _installed = True
    before = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        if not _is_lost_helper(unraisable.exc_value, unraisable.exc_traceback):
            before(unraisable)

    sys.unraisablehook = hook


def _is_lost_helper(error: BaseException | None, trace: Any) -> bool:
    if not isinstance(error, OSError | EOFError) or trace is None:
        return False
    frame = trace.tb_frame
    module = str(frame.f_globals.get("__name__", ""))
    return module.partition(".")[0] == "wandb" and "atexit" in frame.f_code.co_name

"""One process of a `Crew`: it is told what to do, gets image after image, and answers with what it measured."""

from __future__ import annotations

import os
import signal
import threading
from multiprocessing.connection import Connection
from typing import Any


def main(file: int) -> None:
    """Serve the process at the other end of a connection, open as the file `file`, until it closes it."""
    # Ctrl-C reaches the whole group, and so do a scheduler's signals, which are meant for the process that began this.
    for name in ("SIGINT", "SIGUSR1", "SIGUSR2"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        with Connection(file) as connection:
            _serve(connection)
    except (EOFError, OSError):  # the other end is gone
        os._exit(1)


def _end_with_parent() -> None:
    """Standard input ends when the process that holds its other end does, by `kill -9`, too."""
    os.read(0, 1)
    os._exit(1)


def _serve(connection: Connection) -> None:
    import traceback

    import torch

    from nic_lightning.callbacks.parcels import NotPortable, packed, unpacked
    from nic_lightning.media.base import all_media, register
    from nic_lightning.metrics.measuring import Measuring, Task

    torch.set_num_threads(1)
    work: Measuring | None = None
    connection.send_bytes(packed({}))
    while True:
        try:
            content = unpacked(connection.recv_bytes())
            if isinstance(content, Measuring):
                if content.medium not in all_media():
                    register(content.medium)
                work = content.ready()
                continue
            assert isinstance(content, Task)
            assert work is not None
            answer: dict[str, Any] = {"measured": work.measured(content)}
        except (EOFError, OSError):
            raise
        except Exception as error:
            answer = {"trace": traceback.format_exc()}
            try:
                answer["error"] = packed(error)
            except NotPortable:
                answer["error"] = b""
        connection.send_bytes(packed(answer))

"""`nic dashboard`: a page that lists runs and follows them while they train."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from nic_lightning.dashboard.catalogue import Catalogue
from nic_lightning.dashboard.sockets import open_socket
from nic_lightning.errors import RunError


def dashboard(
    folder: Annotated[Path, Parameter(name="DIR")] = Path("runs"),
    /,
    *,
    host: str = "127.0.0.1",
    port: Annotated[int, Parameter(metavar="N")] = 8050,
) -> int:
    """Serve a page that lists runs and follows them while they train, until Ctrl-C.

    Args:
        folder: a folder of runs
        host: the default can only be reached from this machine
        port: 0 takes any that is free

    Examples:
        nic dashboard runs --port 0

    Raises:
        UserError: the folder is missing, or the port is taken.
    """
    if not folder.is_dir():
        raise RunError(f"{folder} is not there; name a folder of runs, such as the one that nic-train made.")
    opened = open_socket(host, port)  # what is wrong is said before anything heavy is loaded
    catalogue = Catalogue(folder.resolve())
    catalogue.start()  # runs are read while Dash is

    from nic_lightning.dashboard.server import serve

    serve(catalogue, host, opened, str(folder))
    return 0

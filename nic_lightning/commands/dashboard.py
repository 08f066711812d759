"""`nic dashboard`: what is wrong is said before anything heavy is loaded, and runs are read while Dash is."""

from __future__ import annotations

from pathlib import Path

from nic_lightning.dashboard.catalogue import Catalogue
from nic_lightning.dashboard.sockets import open_socket
from nic_lightning.errors import RunError


def dashboard(folder: Path, host: str, port: int) -> int:
    """Serve the page until Ctrl-C. Raises UserError when the folder is missing or the port is taken."""
    if not folder.is_dir():
        raise RunError(f"{folder} is not there; name a folder of runs, such as the one that nic-train made.")
    opened = open_socket(host, port)
    catalogue = Catalogue(folder.resolve())
    catalogue.start()

    from nic_lightning.dashboard.server import serve

    serve(catalogue, host, opened, str(folder))
    return 0

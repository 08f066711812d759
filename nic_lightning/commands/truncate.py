"""`nic truncate`: layered .nic files to shorter ones, without a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from nic_lightning import bitstream
from nic_lightning.commands.file_by_file import each, read_file
from nic_lightning.commands.options import Out, Overwrite
from nic_lightning.runs.record.files import write_atomically


def truncate(
    files: Annotated[list[Path], Parameter(name="FILE")],
    /,
    *,
    layers: Annotated[int, Parameter(metavar="K")],
    out: Out,
    overwrite: Overwrite = False,
) -> int:
    """Cut files that a scalable codec (codec=scalable) wrote; nothing is decoded.

    Args:
        files: layered .nic files
        layers: keep the first K
        out: folder to write into
        overwrite: replace files that exist

    Examples:
        nic truncate files/photo.nic --layers 2 -o shorter
    """

    def one(source: Path, target: Path) -> str:
        data = read_file(source)
        short = bitstream.truncate(data, layers)
        write_atomically(target, short)
        return f"{target}: {len(short):,} of {len(data):,} bytes"

    return each(files, out, ".nic", one, overwrite)

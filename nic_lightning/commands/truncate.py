"""`nic truncate`: shorter files of fewer layers, without a model."""

from __future__ import annotations

from pathlib import Path

from nic_lightning import bitstream
from nic_lightning.commands.each import each, read_file
from nic_lightning.runs.record.files import write_atomically


def truncate(files: list[Path], out: Path, layers: int, *, overwrite: bool = False) -> int:
    """Write the first `layers` layers of each file into `out`; the exit code, 2 when one of them has them not."""

    def one(source: Path, target: Path) -> str:
        data = read_file(source)
        short = bitstream.truncate(data, layers)
        write_atomically(target, short)
        return f"{target}: {len(short):,} of {len(data):,} bytes"

    return each(files, out, ".nic", one, overwrite)

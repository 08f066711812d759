"""Which checkpoint a run continues from: the newest one that is intact. Reads the archive only, without torch."""

from __future__ import annotations

import zipfile
from pathlib import Path

from nic_lightning.errors import RunError

FOLDER = "checkpoints"
LAST, PREVIOUS = "last.ckpt", "previous.ckpt"
_CHUNK = 2**20


def newest_intact(folder: Path) -> tuple[Path | None, list[str]]:
    """The checkpoint of a run `folder` to continue from (None: there is none yet), and a sentence for each damaged one.

    Raises RunError when there are checkpoints and all are damaged.
    """
    damaged = []
    for name in (LAST, PREVIOUS):
        path = folder / FOLDER / name
        if not path.exists():
            continue
        fault = _fault(path)
        if fault is None:
            return path, damaged
        damaged.append(f"{path} is damaged ({fault})")
    if damaged:
        raise RunError(f"{'; '.join(damaged)}: no intact checkpoint is left; fresh=true starts the run over.")
    return None, []


def _fault(path: Path) -> str | None:
    """What is wrong with an archive that torch.save wrote: every byte is compared with its checksum."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            # torch stores without compression, so an intact archive is no larger than its file.
            if any(e.compress_type != zipfile.ZIP_STORED or e.file_size != e.compress_size for e in entries):
                return "its content is compressed, which nic-train never does"
            if not any(e.filename.endswith("data.pkl") for e in entries):
                return "it holds no tensors"
            for entry in entries:
                with archive.open(entry) as file:
                    while file.read(_CHUNK):  # raises BadZipFile where the checksum differs
                        pass
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        return " ".join(str(error).split()) or type(error).__name__
    return None

"""Reading and writing small files safely: whole or not at all, inside their folder, of bounded size."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from nic_lightning.errors import RunError


def write_atomically(path: Path, data: bytes | str) -> None:
    """Write `data` to `path` so that a reader sees the old file or the new one, never a part of it.

    Raises OSError that names `path`: a full disk names nothing by itself, and nobody asked for a temporary file.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data.encode() if isinstance(data, str) else data)
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def read_inside(folder: Path, name: str, limit: int) -> bytes:
    """The bytes of `folder/name`.

    Raises:
        RunError: it is no ordinary file, a link out of the folder, unreadable, or longer than `limit` bytes.
    """
    path = checked_path(folder, name, limit)
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise RunError(f"{name} cannot be read: {error.strerror}.") from error
    if len(data) > limit:
        raise RunError(f"{name} is longer than {limit:,} bytes and was not read.")
    return data


def checked_path(folder: Path, name: str, limit: int) -> Path:
    """`folder/name`, known to be an ordinary file in the folder of at most `limit` bytes; else RunError."""
    path = folder / name
    try:
        real = path.resolve(strict=True)
        if not real.is_relative_to(folder.resolve()):
            raise RunError(f"{name} is a link out of the run folder and was not read; copy the file there.")
        if not real.is_file():
            raise RunError(f"{name} is not a file.")
        if real.stat().st_size > limit:
            raise RunError(f"{name} is longer than {limit:,} bytes and was not read.")
    except FileNotFoundError as error:
        raise RunError(f"{name} is missing.") from error
    except (OSError, RuntimeError, ValueError) as error:
        raise RunError(f"{name} cannot be read: {error}.") from error
    return path

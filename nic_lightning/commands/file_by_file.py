"""What the commands for many files share: a bad one is named, and the others go on. Starts without torch."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Container, Sequence
from pathlib import Path

from nic_lightning.bitstream import MAX_PIXELS
from nic_lightning.errors import BitstreamError, UserError, disk_error

MAX_FILE_BYTES = 2 * MAX_PIXELS
"""Nothing longer than 64 bits for each pixel of the largest image is read as a .nic file."""


def each(
    sources: list[Path],
    out: Path | None,
    suffix: str,
    one: Callable[[Path, Path], str],
    overwrite: bool,
    *,
    whole_names: bool = False,
    own_names: bool = False,
) -> int:
    """Run `one(source, target)` for each file and print what it returns; the exit code, 2 when one of them failed.

    Targets lie in the folder `out`, without one beside their source. They have their source's name without its ending;
    with `whole_names` those that would share a target keep it: photo.jpg and photo.png become photo.jpg.nic and
    photo.png.nic. With `own_names` it is for `one` to name what it makes, in the target's folder, and to look
    whether that is free.
    """
    if out is not None and out.exists() and not out.is_dir():
        raise UserError(f"{out} is not a folder; give one with -o.")
    failed, written = 0, set()
    targets = _targets(sources, out, suffix, whole_names)
    for source, target in zip(sources, targets, strict=True):
        try:
            if not own_names:
                require_other(target, written)
                require_free(target, overwrite)
            print(one(source, target), flush=True)
            written.add(target)
        except BrokenPipeError:  # it is not the file that failed: nobody reads what we print
            raise
        except (UserError, OSError) as error:
            failed += 1
            _say(source, error)
    if failed:
        print(f"{failed} of {len(sources)} files failed.", file=sys.stderr)
    return 2 if failed else 0


def _targets(sources: list[Path], out: Path | None, suffix: str, whole_names: bool) -> list[Path]:
    """What is made of each source: in `out`, or beside it; "." and ".." have a name as what they stand for."""
    named = [source if source.stem.strip(".") else source.resolve() for source in sources]
    folders = [source.parent if out is None else out for source in named]
    plain = [folder / source.stem for folder, source in zip(folders, named, strict=True)]
    counts = Counter(dict(zip(named, plain, strict=True)).values())
    return [
        folder / f"{source.name if whole_names and counts[stem] > 1 else source.stem}{suffix}"
        for folder, source, stem in zip(folders, named, plain, strict=True)
    ]


def none_is_usable(sources: Sequence[Path], look: Callable[[Path], object]) -> bool:
    """Whether `look` refuses every file; then they are named as `each` would, before a codec is loaded for them."""
    refused: list[tuple[Path, Exception]] = []
    for source in sources:
        try:
            look(source)
            return False
        except (UserError, OSError) as error:
            refused.append((source, error))
    for source, error in refused:
        _say(source, error)
    print(f"{len(sources)} of {len(sources)} files failed.", file=sys.stderr)
    return True


def _say(source: Path, error: Exception) -> None:
    sentence = str(disk_error(error) or error)
    print(sentence if str(source) in sentence else f"{source}: {sentence}", file=sys.stderr)


def require_other(target: Path, written: Container[Path]) -> None:
    """Raise UserError for a file that the same command has made of another source."""
    if target in written:
        raise UserError(f"another file of this command already made {target}; give a folder of its own by -o")


def require_free(target: Path, overwrite: bool) -> None:
    """Raise UserError for a file that exists and must not be replaced."""
    if target.exists() and not overwrite:
        raise UserError(f"{target} exists; use --overwrite to replace it")


def read_file(path: Path) -> bytes:
    """Bytes of a .nic file; raises BitstreamError when there is none, or it is longer than `MAX_FILE_BYTES`."""
    if not path.is_file():
        raise BitstreamError("a folder; name the files in it" if path.is_dir() else "no such file")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise BitstreamError(f"the file is longer than {MAX_FILE_BYTES:,} bytes and was not read")
    return path.read_bytes()

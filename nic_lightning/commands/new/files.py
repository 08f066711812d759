"""What `nic new` writes: templates filled in, names that may be given, and files that appear whole or not at all."""

from __future__ import annotations

import importlib.util
import keyword
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from string import Template

from nic_lightning.errors import RunError, UserError

_TEMPLATES = Path(__file__).parent / "templates"
_LONGEST = 50
_VALUES = frozenset({"true", "false", "null", "none", "nan", "inf", "yes", "no", "on", "off"})
"""What YAML or Hydra's command line would not read as a name."""


def require_name(what: str, name: str) -> None:
    """Raise UserError where `name` cannot be a module, a folder and a word of Hydra's command line at once."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name, re.ASCII) or len(name) > _LONGEST:
        raise UserError(
            f"{name[:80]!r} cannot be the name of a {what}: it takes a small letter, then small letters, digits and _, "
            f"{_LONGEST} characters at most."
        )
    if keyword.iskeyword(name) or keyword.issoftkeyword(name) or name in _VALUES:
        raise UserError(f"{name!r} means something else to Python or YAML: choose another name for the {what}.")
    if name in sys.stdlib_module_names:
        raise UserError(f"{name!r} is a module of Python's standard library: choose another name for the {what}.")


def require_new_package(name: str) -> None:
    """Raise UserError for the name of a package that is installed, of ours and of Hydra's among them."""
    spec = importlib.util.find_spec(name)
    if spec is not None and spec.origin is not None:  # a folder without code is none
        raise UserError(f"{name!r} is a package that is installed already: choose another name for the project.")


def filled(template: str, names: Mapping[str, str]) -> str:
    """The text of a template with its placeholders $name replaced."""
    return Template((_TEMPLATES / f"{template}.txt").read_text(encoding="utf-8")).substitute(names)


def class_name(name: str) -> str:
    """`two_waves` as TwoWaves."""
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))


def write_folder(folder: Path, texts: Mapping[str, str]) -> None:
    """Make `folder` with the files `texts`, by path: all of them or none.

    Raises:
        RunError: there is something at that place.
    """
    if folder.exists() or folder.is_symlink():
        raise RunError(f"{folder} exists already; nothing in it was changed: give -o with a folder to make.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        for path, text in texts.items():
            (unfinished / path).parent.mkdir(parents=True, exist_ok=True)
            (unfinished / path).write_text(text, encoding="utf-8")
        unfinished.chmod(0o777 & ~_umask())
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def write_files(folder: Path, texts: Mapping[str, str]) -> None:
    """Add the files `texts`, by path in `folder`: all of them or none, and none in the place of another file.

    Raises:
        RunError: there is a file at one of the places.
    """
    for path in texts:
        if (folder / path).exists() or (folder / path).is_symlink():
            raise RunError(f"{folder / path} exists already; nothing was changed: choose another name.")
    made: list[Path] = []
    try:
        for path, text in texts.items():
            with _complete(folder / path, text) as unfinished:
                os.link(unfinished.name, folder / path)  # unlike a rename, never in the place of another
            made.append(folder / path)
    except BaseException as error:
        for path in made:
            path.unlink(missing_ok=True)
        if isinstance(error, FileExistsError):
            raise RunError(f"{error.filename2} exists already; nothing was changed: choose another name.") from error
        raise


def _complete(path: Path, text: str):
    path.parent.mkdir(parents=True, exist_ok=True)
    file = tempfile.NamedTemporaryFile("w", encoding="utf-8", prefix=f".{path.name}-", dir=path.parent)  # noqa: SIM115
    try:
        file.write(text)
        file.flush()
        os.fchmod(file.fileno(), 0o666 & ~_umask())
    except BaseException:
        with suppress(OSError):
            file.close()
        raise
    return file


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask

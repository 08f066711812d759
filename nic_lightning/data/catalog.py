"""Find image sets and folders below the data root, and say what is present, missing or damaged.

Starts without torch, so that `nic data` answers at once.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

from nic_lightning.data.images import UnreadableImage, list_images, read_rgb
from nic_lightning.data.places import folders_of, warn_of_folder_here
from nic_lightning.data.sets import CATALOG, CatalogEntry
from nic_lightning.errors import DataError, counted
from nic_lightning.targets import alternatives

__all__ = [
    "CATALOG",
    "CatalogEntry",
    "CatalogReport",
    "Located",
    "check",
    "check_table",
    "entry",
    "find_root",
    "list_table",
    "locate",
]

ROOT_IS_SET_BY = "NIC_DATA, data.root=PATH (nic-train), root=PATH (nic-evaluate) or --root (nic data)"


@dataclass(frozen=True)
class Located:
    """An image set or folder that exists: its folders, its files in order, and the links left out."""

    name: str
    """Catalogue name, or the folder's name fit for metric names."""
    folders: tuple[Path, ...]
    files: tuple[Path, ...]
    refused: tuple[str, ...] = ()
    expected: int | None = None
    """Images in the complete set, where that is known."""


@dataclass(frozen=True)
class CatalogReport:
    """What `check` found: `present` holds sound images; `missing` names files where names are known."""

    name: str
    folders: list[str]
    source: str
    licence: str
    expected: int | None
    checksums: bool
    """Whether every file was compared with its recorded SHA-256; else the images were decoded."""
    present: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    missing_count: int = 0
    damaged: list[str] = field(default_factory=list)
    """"name: reason" of each file that is not what it should be."""

    @property
    def state(self) -> str:
        """One of "damaged", "partial", "complete", "empty", "present" (the full count is not known)."""
        if self.damaged:
            return "damaged"
        if not self.present:
            return "empty"
        if self.missing_count:
            return "partial"
        return "present" if self.expected is None else "complete"

    @property
    def ok(self) -> bool:
        """Nothing missing, nothing damaged."""
        return self.state in ("complete", "present")

    def as_dict(self) -> dict[str, object]:
        """Plain values, for JSON."""
        return asdict(self) | {"state": self.state, "ok": self.ok}


def find_root(root: str | Path | None = None) -> Path:
    """The data root: `root`, else the environment variable NIC_DATA, else ./data. It need not exist."""
    return Path(root or os.environ.get("NIC_DATA") or "data").expanduser()


def entry(name: str) -> CatalogEntry:
    """The catalogue's entry of that name; DataError with the nearest name for an unknown one."""
    if name in CATALOG:
        return CATALOG[name]
    raise DataError(
        f"There is no data set or folder {name!r}{alternatives(name, sorted(CATALOG))}; nic data list has all, and any "
        "folder of images can be given by its path."
    )


def locate(spec: str | Path, root: str | Path | None = None) -> Located:
    """Find a catalogued set by name, or a folder by path; the path may hold wildcards ("photos/train/*").

    Relative paths are looked up below the data root first, then below the working directory; a folder that exists
    comes before wildcards (`places.folders_of`).

    Raises:
        DataError: unknown name, missing folder, or a folder without image files.
    """
    text = str(spec)
    base = find_root(root)
    known = CATALOG.get(text)
    located = _locate_entry(known, base) if known else _locate_folders(text, base)
    if known:
        warn_of_folder_here(text, located.folders)
    if not located.files:
        where = ", ".join(map(str, located.folders))
        links = f"; {located.refused[0]}" if located.refused else ""
        links += f", and {counted(len(located.refused) - 1, 'more link')}" if len(located.refused) > 1 else ""
        raise DataError(f"There are no images of data set {located.name!r} in {where}{links}.")
    return located


def check(name: str, root: str | Path | None = None) -> CatalogReport:
    """Compare a catalogued set with its recorded checksums, or decode its images where none are known.

    `name` may also be a folder, whose images are decoded.

    Raises:
        DataError: unknown name, or a folder that is missing or holds no images.
    """
    located = locate(name, root)
    known = CATALOG.get(str(name))
    sums = known.files if known else {}
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        problems = list(pool.map(lambda path: _problem(path, sums.get(path.name)), located.files))
    sound = [path.name for path, problem in zip(located.files, problems, strict=True) if problem is None]
    damaged = [f"{p.name}: {why}" for p, why in zip(located.files, problems, strict=True) if why is not None]
    damaged += located.refused
    seen = {path.name for path in located.files}
    return CatalogReport(
        name=located.name,
        folders=[str(folder) for folder in located.folders],
        source=known.source if known else "a folder of your own",
        licence=known.licence if known else "unknown",
        expected=located.expected,
        checksums=bool(sums),
        present=sound,
        missing=[file for file in sums if file not in seen],
        missing_count=max(0, (located.expected or 0) - len(located.files)),
        damaged=damaged,
    )


def check_table(report: CatalogReport) -> str:
    """Plain text of a report, for the terminal."""
    of = f" of {report.expected}" if report.expected is not None else ""
    how = "compared with recorded SHA-256 sums" if report.checksums else "checksums unknown, images decoded"
    lines = [
        f"{report.name}: {report.state}",
        f"  folder   {', '.join(report.folders)}",
        f"  source   {report.source}",
        f"  licence  {report.licence}",
        f"  present  {len(report.present)}{of} ({how})",
        f"  missing  {report.missing_count}",
        *(f"           {name}" for name in report.missing),
        f"  damaged  {len(report.damaged)}",
        *(f"           {name}" for name in report.damaged),
    ]
    return "\n".join(lines)


def list_table(root: str | Path | None = None, more: Callable[[Path], Iterable[tuple[str, ...]]] | None = None) -> str:
    """Plain text of the catalogue and what of it lies below the data root; counts files, opens none.

    `more` gives rows of other sets below the root, such as those of optical flow.
    """
    base = find_root(root)
    rows: list[tuple[str, ...]] = [("name", "found", "checksums", "licence", "source")]
    for known in CATALOG.values():
        try:
            found = len(_locate_entry(known, base).files)
        except DataError:
            found = 0
        total = "?" if known.count is None else str(known.count)
        rows.append(
            (
                known.name,
                f"{found} of {total}",
                "known" if known.files else "unknown",
                known.licence,
                known.source,
            )
        )
    rows += more(base) if more else ()
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([f"data root: {base.absolute()}", *lines])


def _problem(path: Path, sha256: str | None) -> str | None:
    try:
        if sha256 is None:
            read_rgb(path)
            return None
        with path.open("rb") as file:
            same = hashlib.file_digest(file, "sha256").hexdigest() == sha256
    except UnreadableImage as error:
        return error.reason
    except OSError as error:
        return str(error.strerror or error)
    return None if same else "its SHA-256 is not the recorded one"


def _locate_entry(known: CatalogEntry, root: Path) -> Located:
    base = _package_folder(known.package) if known.package else root
    places = [(base / place, True) for place in known.folders]
    places += [(base / place, False) for place in known.flat]
    existing = [(folder, recursive) for folder, recursive in places if folder.is_dir()]
    if not existing:
        raise DataError(
            f"The folder {' or '.join(str(folder) for folder, _ in places)} of data set {known.name!r} is "
            f"missing: get the set from {known.source} and unpack it there, or name another data root with "
            f"{ROOT_IS_SET_BY}." + (f" For the folder here give ./{known.name}." if Path(known.name).is_dir() else "")
        )
    files: list[Path] = []
    refused: list[str] = []
    for folder, recursive in existing:
        found, links = list_images(folder, recursive=recursive, pattern=known.pattern)
        files += [path for path in found if not known.files or path.name in known.files]
        refused += [] if known.package else links
    folders = tuple(folder for folder, _ in existing)
    return Located(known.name, folders, tuple(files), tuple(refused), known.count)


def _package_folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)  # finds without importing
    if spec is None or not spec.submodule_search_locations:
        raise DataError(f"The embedded photographs need the package {package!r}: pip install scikit-image.")
    return Path(spec.submodule_search_locations[0])


def _locate_folders(text: str, root: Path) -> Located:
    spec = os.path.expanduser(text)
    folders = folders_of(text, root)
    if not folders:
        if re.fullmatch(r"[\w-]+", text):
            entry(text)
        if Path(spec).is_file():
            raise DataError(f"{text} is a file: give a folder of images or a data set's name.")
        raise DataError(
            f"The folder {root / spec} is missing: give a folder of images or a data set's name, or name "
            f"another data root with {ROOT_IS_SET_BY}."
        )
    files: list[Path] = []
    refused: list[str] = []
    for folder in folders:
        found, links = list_images(folder)
        files += found
        refused += links
    return Located(_label(spec), tuple(folders), tuple(dict.fromkeys(files)), tuple(refused))


def _label(spec: str) -> str:
    """A name for metrics: "photos/valid" is "photos_valid"; of an absolute path its last part."""
    path = Path(spec)
    parts = [path.name or "images"] if path.is_absolute() else [p for p in path.parts if p not in (".", "..")]
    kept = [part for part in (re.sub(r"[^\w.-]+", "", part) for part in parts) if part]
    return "_".join(kept) or "images"

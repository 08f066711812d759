"""What a medium is: all that commands, evaluation, results and reports have to know of what codecs take and give back.

It has two halves. The first one, `Medium`, says its words, columns and axes, and starts without torch. The second one,
`Handler` (`handling.py`), reads, writes, counts and compares, and is imported when it is used.

A medium NAME of this package is nic_lightning/media/NAME/description.py with its `MEDIUM`; one of another package is
registered by `register`. A codec says its own as `codec.medium`; one that says none is an image codec.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path

from nic_lightning.errors import DataError, UserError, choices
from nic_lightning.media.handling import Handler

DEFAULT = "image"
"""The medium of codecs, rows and files that name none."""


@dataclass(frozen=True)
class Rate:
    """What the bits of a file are measured by. Its columns are one of the whole file and one of the entropy model."""

    key: str
    """Column of results tables, and what a search for a target calls it: "bpp"."""
    estimated: str
    unit: str
    axis: str
    """Title of a plot's axis: "rate [bits per pixel]"."""
    target_help: str
    """Help of the option of `nic compress` for a target."""
    log_axis: bool = False


@dataclass(frozen=True)
class Quality:
    """One column that compares what was decoded with its original."""

    key: str
    """Column of results tables: "psnr"."""
    title: str
    unit: str = ""
    digits: int = 4
    """Decimals in tables."""
    lower_is_better: bool = False
    log_axis: bool = False
    drawn: bool = True
    """Whether there are plots of it, and BD-rates over it without being asked for."""
    measured: bool = True
    """Whether evaluations measure it; else it is known from published curves alone."""
    tolerance: float | None = None
    """By how much a search for it may miss; None: it is not searched for."""
    target_help: str = ""
    """Help of the option of `nic compress` for a target."""

    @property
    def axis(self) -> str:
        """Title of a plot's axis: "PSNR [dB]"."""
        return f"{self.title} [{self.unit}]" if self.unit else self.title

    @property
    def suffix(self) -> str:
        """The unit as it stands behind a number."""
        return f" {self.unit}" if self.unit else ""


@dataclass(frozen=True)
class Medium:
    """The half of a medium that describes it."""

    name: str
    """One input: "image"; with an s, several."""
    unit: str
    units: str
    """What its extent is counted in, and the column of that: "pixels"."""
    rate: Rate
    qualities: tuple[Quality, ...]
    """In the order of tables."""
    default: str
    """Key of the quality that is reported where there is room for one."""
    look: Callable[[Path], None]
    """Raises DataError for a file whose beginning is none of the medium; imports no torch."""
    handler: Callable[[], Handler]
    """Imports the other half."""
    pictures: bool = False
    """Whether results are pictures, which pages show and Fréchet distances are taken of."""

    @property
    def drawn(self) -> dict[str, Quality]:
        """Qualities that plots are drawn over, by key."""
        return {quality.key: quality for quality in self.qualities if quality.drawn}

    @property
    def compared(self) -> dict[str, Quality]:
        """All qualities, by key: what deltas can be given over. Those that are drawn come first."""
        return self.drawn | {quality.key: quality for quality in self.qualities}

    @property
    def measured(self) -> dict[str, Quality]:
        """Qualities that evaluations measure, by key."""
        return {quality.key: quality for quality in self.qualities if quality.measured}

    @property
    def rates(self) -> tuple[str, str]:
        """Columns of the rate: that of the files and the estimated one."""
        return self.rate.key, self.rate.estimated

    @property
    def averaged(self) -> tuple[str, ...]:
        """Columns whose means over inputs make the points of a curve."""
        return (*self.rates, *(quality.key for quality in self.qualities))

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of results tables that only this medium has."""
        return (self.units, *self.rates, *self.measured)

    @property
    def targets(self) -> dict[str, Rate | Quality]:
        """What a search for an operating point may aim at, by key: the rate, and qualities with a tolerance."""
        found: dict[str, Rate | Quality] = {self.rate.key: self.rate}
        return found | {quality.key: quality for quality in self.qualities if quality.tolerance is not None}

    def quality(self, key: str) -> Quality:
        """The quality of a column; UserError where there is none."""
        if key not in self.compared:
            raise UserError(f"{self.items.capitalize()} have no quality {key!r}; {choices(key, self.compared)}.")
        return self.compared[key]

    def sign(self, key: str) -> float:
        """-1 for a quality of which less is better; 1 for others, those that nobody has declared among them."""
        return -1.0 if key in self.compared and self.compared[key].lower_is_better else 1.0

    def heading(self, key: str) -> str:
        """A column's heading: the title of a quality, with its unit where another one has the same title."""
        quality = self.quality(key)
        shared = sum(other.title == quality.title for other in self.qualities) > 1
        return f"{quality.title}{quality.suffix}" if shared else quality.title

    @property
    def one(self) -> str:
        """One input with its article: "an image"."""
        return f"{'an' if self.name[:1] in 'aeiou' else 'a'} {self.name}"

    @property
    def items(self) -> str:
        """Several inputs: "images"."""
        return f"{self.name}s"


_REGISTERED: dict[str, Medium] = {}


def register(medium: Medium) -> Medium:
    """Make a medium of another package known, by its name; it is returned. UserError for a name that is taken."""
    known = _REGISTERED.get(medium.name)
    if medium.name in _own() or (known is not None and known != medium):
        raise UserError(f"There is a medium {medium.name!r} already: give yours another name.")
    _REGISTERED[medium.name] = medium
    return medium


def find_medium(name: str | None) -> Medium:
    """The medium of a name, that of images for None; UserError where nothing of that name is known."""
    name = DEFAULT if name is None else name
    if name in _REGISTERED:
        return _REGISTERED[name]
    if name not in _own():
        known = ", ".join(medium.name for medium in all_media())
        shown = "".join(sign if sign.isprintable() else "?" for sign in name[:40])
        raise UserError(f"There is no medium {shown!r} here, only {known}: import the package that registers it.")
    return _imported(name)


def all_media() -> list[Medium]:
    """Every medium that is known, images first."""
    return [*map(_imported, _own()), *_REGISTERED.values()]


def medium_of(codec: object) -> Medium:
    """The medium that a codec says; UserError where it is not known."""
    return find_medium(getattr(codec, "medium", DEFAULT))


def look_at(path: Path) -> Medium:
    """The medium of a file, by its beginning; DataError for one that is missing, or that no medium knows."""
    if not path.exists():
        raise DataError(f"Cannot read {path}: no such file.")
    refused: list[UserError] = []
    for medium in all_media():
        try:
            medium.look(path)
            return medium
        except UserError as error:
            refused.append(error)
    raise refused[0]


@cache
def _own() -> tuple[str, ...]:
    """Names of the media in this package."""
    from nic_lightning import media

    found = sorted(module.name for module in pkgutil.iter_modules(media.__path__) if module.ispkg)
    return tuple(sorted(found, key=lambda name: name != DEFAULT))


@cache
def _imported(name: str) -> Medium:
    return import_module(f"nic_lightning.media.{name}.description").MEDIUM

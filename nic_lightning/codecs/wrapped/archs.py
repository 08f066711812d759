"""CompressAI's image models by name: their classes, their families here, and their sizes. Imports no CompressAI."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nic_lightning.errors import UserError, choices

LAMBDAS = (0.0018, 0.0035, 0.0067, 0.013, 0.025, 0.0483, 0.0932, 0.18)
"""Of the zoo's qualities 1 to 8, for an MSE of images in [0, 255]."""
MOST_CHANNELS = 1024
"""Of networks that are built, and of latents that tables are made for while a file is read."""
DEFAULT_QUALITY = 3
STEPPED = ("bmshj2018-hyperprior-vbr", "mbt2018-mean-vbr")
"""Architectures in which the bin width of z may depend on the rate."""


@dataclass(frozen=True)
class Arch:
    """One architecture."""

    model: str
    """Its class in compressai.models."""
    family: str
    """Module and class in this package."""
    low: tuple[int, int]
    """Channels of the transforms (N) and of y (M) at low qualities."""
    high: tuple[int, int]
    first_high: int = 9
    """The first quality with the high sizes."""
    qualities: int = 8
    """How many there are; 0 of one model for all rates."""
    square: bool = False
    """Whether N and M are one number."""
    grouped: bool = False
    """Whether latents are coded in groups of channels."""


_WIDE = (192, 320)
_BALLE = (128, 192), _WIDE
ARCHS = {
    "bmshj2018-factorized": Arch("FactorizedPrior", "factorised.Factorised", *_BALLE, 6),
    "bmshj2018-factorized-relu": Arch("FactorizedPriorReLU", "factorised.Factorised", *_BALLE, 6),
    "bmshj2018-hyperprior": Arch("ScaleHyperprior", "hyperprior.Hyperprior", *_BALLE, 6),
    "mbt2018-mean": Arch("MeanScaleHyperprior", "hyperprior.Hyperprior", *_BALLE, 5),
    "mbt2018": Arch("JointAutoregressiveHierarchicalPriors", "serial.Serial", (192, 192), _WIDE, 5),
    "cheng2020-anchor": Arch("Cheng2020Anchor", "serial.Serial", (128, 128), (192, 192), 4, 6, square=True),
    "cheng2020-attn": Arch("Cheng2020Attention", "serial.Serial", (128, 128), (192, 192), 4, 6, square=True),
    "cheng2020-anchor-checkerboard": Arch(
        "Cheng2020AnchorCheckerboard", "tree.Tree", (128, 128), (192, 192), 4, 6, square=True
    ),
    "elic2022-official": Arch("Elic2022Official", "tree.Tree", _WIDE, _WIDE, grouped=True),
    "elic2022-chandelier": Arch("Elic2022Chandelier", "tree.Tree", _WIDE, _WIDE, grouped=True),
    "bmshj2018-hyperprior-vbr": Arch("ScaleHyperpriorVbr", "variable.VariableHyperprior", _WIDE, _WIDE, qualities=0),
    "mbt2018-mean-vbr": Arch("MeanScaleHyperpriorVbr", "variable.VariableHyperprior", _WIDE, _WIDE, qualities=0),
    "mbt2018-vbr": Arch(
        "JointAutoregressiveHierarchicalPriorsVbr", "variable_serial.VariableSerial", _WIDE, _WIDE, qualities=0
    ),
}


def arch_of(name: str) -> Arch:
    """The architecture of a name; raises UserError for one that is unknown."""
    if name not in ARCHS:
        raise UserError(f"codec.arch is {name!r}; {choices(str(name), ARCHS)}.")
    return ARCHS[name]


@dataclass(frozen=True)
class Size:
    """Channels of a model: of the transforms, of y, and of the groups of y where latents have groups."""

    width: int
    latents: int
    groups: tuple[int, ...] | None = None


def size_of(
    name: str, quality: int | None, width: int | None, latents: int | None, groups: Sequence[int] | None
) -> Size:
    """Channels of an architecture at a quality, where they are not given; UserError for what there is not."""
    arch = arch_of(name)
    lambda_of(name, quality)
    low = (quality or DEFAULT_QUALITY) < arch.first_high
    n, m = arch.low if low else arch.high
    n = n if width is None else int(width)
    m = n if arch.square and latents is None else m if latents is None else int(latents)
    if arch.square and n != m:
        raise UserError(f"codec.latents is {m}; {name} has as many as codec.width, {n}: leave it out.")
    if not 1 <= n <= MOST_CHANNELS or not 1 <= m <= MOST_CHANNELS:
        raise UserError(f"codec.width is {n} and codec.latents {m}; give 1 to {MOST_CHANNELS} of both.")
    return Size(n, m, _groups(name, arch, m, groups))


def _groups(name: str, arch: Arch, latents: int, groups: Sequence[int] | None) -> tuple[int, ...] | None:
    if not arch.grouped:
        if groups is not None:
            raise UserError(f"codec.groups is {list(groups)}; {name} has no groups of channels: leave it out.")
        return None
    found = tuple(groups) if groups is not None else (16, 16, 32, 64, latents - 128)
    if len(found) < 2 or min(found) < 1 or sum(found) != latents:
        raise UserError(
            f"codec.groups is {list(found)} with {latents} latents; give two or more numbers whose sum that is."
        )
    return found


def lambda_of(name: str, quality: int | None) -> float | None:
    """Lambda of a quality, for an MSE of images in [0, 1]; None of one model for all rates.

    Raises UserError for a quality that the architecture does not have.
    """
    arch = arch_of(name)
    if arch.qualities == 0:
        if quality is not None:
            raise UserError(f"codec.quality is {quality}; {name} is one model for all rates: leave it out.")
        return None
    found = DEFAULT_QUALITY if quality is None else quality
    if not 1 <= found <= arch.qualities:
        raise UserError(f"codec.quality is {quality}; {name} has 1 to {arch.qualities}.")
    return round(LAMBDAS[found - 1] * 255**2, 4)

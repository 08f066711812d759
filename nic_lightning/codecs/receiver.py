"""What only a receiver has, as codecs declare it: options of `nic decompress`. Starts without torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class ReceiverOption:
    """A choice that a receiver makes: an option of `nic decompress`, an argument of `decoding`."""

    name: str
    type: type
    """str, int, bool for a flag; Path for an image, which `decoding` gets as a function that reads it."""
    what: str
    """What a codec without the option has none of, as in "Codec cae has no layers"."""
    help: str
    metavar: str | None = None


@dataclass(frozen=True)
class Decoded:
    """Images of one file."""

    endings: tuple[tuple[str, ...], ...]
    """For each image the words that its file's name has behind that of the .nic file."""
    images: Iterator[Any]
    """Each (1, 3, H, W) in [0, 1], or what else the codec's medium has; decoded as they are asked for."""
    note: str = ""


@dataclass(frozen=True)
class Decoding:
    """How a receiver decodes files. `of` raises BitstreamError for bytes that it cannot decode."""

    ending: tuple[str, ...]
    """That of the first image of each file."""
    of: Callable[[bytes], Decoded]


ReadImage = Callable[[int], tuple["Tensor", str]]
"""Reads an image as (3, side, side) in [0, 1] for a side, and says from where."""

LAYERS = (
    ReceiverOption("layers", int, "layers", "of layered files: only the first K", "K"),
    ReceiverOption("progressive", bool, "layers", "one PNG for each layer: NAME.layers1.png, ..."),
)
"""Of files that consist of layers (codec=scalable)."""

STYLE = (
    ReceiverOption("domain", str, "domains", "translate into this domain; autoencoded files have none", "NAME"),
    ReceiverOption("reference", Path, "domains", "in the style of this image of the domain, about square", "IMAGE"),
    ReceiverOption("seed", int, "domains", "in random styles that follow from N (default: 0)", "N"),
    ReceiverOption("samples", int, "domains", "K random styles: NAME.DOMAIN.1.png, NAME.DOMAIN.2.png, ...", "K"),
)
"""Of files that are translated when they are decoded (codec=i2icodec, codec=ui2icodec)."""

DECLARED = {
    "Files with layers (codec=scalable)": LAYERS,
    "Files of a translation codec (codec=i2icodec, codec=ui2icodec)": STYLE,
}
"""All that the command line offers, by what help calls it. A codec names its own as `receiver_options`."""

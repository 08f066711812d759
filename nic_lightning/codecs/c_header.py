"""The encoder of a point-cloud codec as a C99 header, for a sensor: `codecs/assets/point_encoder.h`, filled in.

Weights have batch normalisation folded in, as in `codecs/point_symbols.py`, tables are the integers of the codec. The
header sums in double, as the codec does, in another order. So a symbol differs only where a latent is within the error
of float64, 1e-9 of a bin and less, of the edge of its bin; and a file with such a symbol is a valid file of a latent
that is as near.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from nic_lightning import __version__
from nic_lightning.entropy.tables import CdfTables
from nic_lightning.errors import UserError
from nic_lightning.layers.folded_points import Folded, folded_layers
from nic_lightning.layers.points import Gain

NAME = "point_encoder.h"
MOST_WEIGHTS = 1 << 12
"""Of an encoder that is written: the full one has 147,648, more than a small device holds."""
_TEMPLATE = Path(__file__).parent / "assets" / NAME
_REAL = "NIC_REAL"
_BYTES = {_REAL: 8, "float": 4, "uint32_t": 4, "int32_t": 4, "uint16_t": 2, "uint8_t": 1}


@dataclass(frozen=True)
class Header:
    """A header's text, and the bytes that its constants and its variables take, with double as NIC_REAL."""

    text: str
    constants: int
    variables: int


def c_header(
    layers: nn.Sequential, gain: nn.Module, medians: Tensor, tables: CdfTables, head: bytes, about: str
) -> Header:
    """The header of an encoder.

    Args:
        layers: of the encoder, from coordinates to features.
        gain: what the largest features are multiplied with.
        medians: centres of the quantisation grid.
        tables: one row a channel.
        head: what a file of one cloud has before its string.
        about: what the encoder is of, one line.

    Raises:
        UserError: the encoder has other layers, values that are not finite, or more than `MOST_WEIGHTS` weights.
    """
    folded = folded_layers(layers) if type(gain) is Gain else None
    if folded is None:
        raise UserError(
            "The encoder has layers that no C header is made of: convolution, batch norm, ReLU, then a gain."
        )
    count = sum(layer.weight.size for layer in folded)
    if count > MOST_WEIGHTS:
        raise UserError(
            f"An encoder of {count:,} weights makes no C header, at most {MOST_WEIGHTS:,} do: take codec.size=micro or "
            "lite, or leave --c-header out."
        )
    factor = (gain.factor * gain.weight.detach().double().cpu()).numpy().ravel()  # pyright: ignore
    declared = _constants(folded, factor, medians.detach().cpu().numpy().ravel(), tables, head)
    if not all(np.isfinite(values).all() for _, _, values in declared):
        raise UserError("The encoder's weights are not finite: training diverged.")
    widest = max([3, *(len(layer.bias) for layer in folded[:-1])])
    sizes = {
        "HEAD_BYTES": len(head), "CHANNELS": len(factor), "LAYERS": len(folded),
        "ROWS": sum(len(layer.bias) for layer in folded), "WIDEST": widest,
    }  # fmt: skip
    constants = sum(_BYTES[kind] * len(values) for kind, _, values in declared)
    variables = 8 * len(factor) + 16 * widest + len(head) + 7 * len(factor) + 12 + 24  # with the file and the coder
    lines = [f"#define NIC_{name} {value}" for name, value in sizes.items()]
    lines += [_array(*each) for each in declared]
    about += (
        f"\n * Constants take {constants:,} bytes; the file, features and the coder take {variables:,} of the stack."
    )
    text = _TEMPLATE.read_text(encoding="utf-8").replace("@ABOUT@", f" * {about}").replace("@DATA@", "\n".join(lines))
    return Header(text, constants, variables)


_Declared = tuple[str, str, np.ndarray]
"""Type, name and values of an array."""


def _constants(
    layers: list[Folded], factor: np.ndarray, medians: np.ndarray, tables: CdfTables, head: bytes
) -> list[_Declared]:
    # The last entry of each row is 2^16, which 16 bits do not hold and the encoder knows.
    rows = [tables.cdf[c, : tables.lengths[c] - 1] for c in range(len(factor))]
    first = np.concatenate([layer.first for layer in layers])
    return [
        ("uint8_t", "head", np.frombuffer(head, np.uint8)),
        ("uint16_t", "shape[][2]", np.array([layer.weight.shape for layer in layers]).ravel()),
        ("uint8_t" if first.max() < 256 else "uint16_t", "first", first),
        (_REAL, "weights", np.concatenate([layer.weight.ravel() for layer in layers])),
        (_REAL, "bias", np.concatenate([layer.bias for layer in layers])),
        (_REAL, "gain", factor),
        ("float", "medians", medians),
        ("int32_t", "offsets", tables.offsets[: len(factor)]),
        ("uint32_t", "places", np.cumsum([0, *map(len, rows)])),
        ("uint16_t", "tables", np.concatenate(rows)),
    ]


def _array(kind: str, name: str, values: np.ndarray) -> str:
    words = list(_literals(kind, values))
    if name.endswith("[2]"):
        words = [f"{{{a}, {b}}}" for a, b in zip(words[::2], words[1::2], strict=True)]
    name = name if name.endswith("]") else f"{name}[]"
    each = 4 if kind == _REAL else 12
    rows = [", ".join(words[at : at + each]) for at in range(0, len(words), each)]
    return f"static const {kind} nic_{name} = {{\n    " + ",\n    ".join(rows) + "};"


def _literals(kind: str, values: np.ndarray) -> Iterable[str]:
    if kind == _REAL:  # hexadecimal floats are exact
        return (float(value).hex() for value in values)
    return (f"{float(value).hex()}f" if kind == "float" else str(int(value)) for value in values)


def about_codec(name: str, size: str, points: int, fingerprint: bytes) -> str:
    """What a header says of its codec."""
    return (
        f"{name}, size {size}, fingerprint {fingerprint.hex()}, nic_lightning {__version__}. Of more than {points:,}\n"
        " * points nic_lightning encodes a subset of so many; this encoder looks at all that it gets."
    )

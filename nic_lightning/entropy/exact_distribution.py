"""Adapted tables that come out equal on every machine: h_s and its softmax in integers alone.

Weights, biases and activations are integers, kept as float64 while they are convolved. Below 2^53 float64 adds integers
without rounding, in any order; `_bound` proves of every layer that it stays there. Logits are integers in units of
2^-8 bits, and their powers of two come from a table of 256 integers.
"""

from __future__ import annotations

import numpy as np
import torch
from numba import njit
from torch import Tensor, nn
from torch.nn import functional as F

from nic_lightning.entropy.distribution import (
    MAX_LEVEL,
    MIDDLE,
    PER_OCTAVE,
    STRIDE,
    DistributionTransforms,
    shuffle,
)
from nic_lightning.entropy.tables import CdfTables
from nic_lightning.errors import RunError, UserError
from nic_lightning.layers.precision import without_autocast

FRACTION, ACTIVATION = 8, 12
"""Fractional bits of logits and of activations."""
_LIMIT, _FINEST = 2.0**52, 16
"""Of every sum of a layer; and fractional bits of weights at most."""
_LARGEST = 2**24
"""Activation in units of 2^-12, 4,096: what is above is cut off, which the proof relies on."""
_LARGEST_LOGIT = 64 << FRACTION
_ONE = 30
"""Bits of the integer that stands for 2^0 in `EXP2`."""

# Neither table has an entry within 1e-6 of a half, which no library's logarithm or power is off by: all machines round
# to the same integers.
EXP2 = np.round(np.exp2(_ONE - np.arange(1 << FRACTION) / (1 << FRACTION))).astype(np.int64)
"""round(2^30 2^(-k / 256)) for k = 0 to 255."""
LOG2 = np.round((1 << FRACTION) * np.log2(np.maximum(np.arange(1 << 16), 1))).astype(np.int64)
"""round(256 log2 f) of frequencies f = 0 (as 1) to 2^16 - 1."""


class ExactSynthesis(nn.Module):
    """h_s as integers, made once from the trained one and stored with it; decoders never make it anew.

    Buffers, for each layer i: `weight_i` (in, out / groups, kernel) in units of 2^-shifts[i], `bias_i` in units of
    2^-(shifts[i] + 12); and of the image's size: `slope`, added to bias_0 for each level, and `gain`, in units of
    2^-8 octaves for each level.
    """

    shifts: Tensor
    slope: Tensor
    gain: Tensor

    def __init__(self, transforms: DistributionTransforms):
        super().__init__()
        layers: list[nn.ConvTranspose1d] = list(transforms.h_s)  # pyright: ignore[reportAssignmentType]
        self._layout = [(layer.stride[0], layer.kernel_size[0] // 2, layer.groups) for layer in layers]
        for i, layer in enumerate(layers):
            self.register_buffer(f"weight_{i}", torch.zeros(layer.weight.shape, dtype=torch.int32))
            self.register_buffer(f"bias_{i}", torch.zeros(layer.out_channels, dtype=torch.int64))
        self.register_buffer("shifts", torch.zeros(len(layers), dtype=torch.int32))  # 0: not made yet
        self.register_buffer("slope", torch.zeros(layers[0].out_channels, dtype=torch.int64))
        self.register_buffer("gain", torch.zeros(transforms.side, dtype=torch.int32))
        self._kept: tuple[list[tuple[Tensor, int]], list[tuple[Tensor, Tensor, int]], Tensor] | None = None

    @torch.inference_mode(False)  # validation runs in inference mode, whose tensors no later step may change
    @torch.no_grad()  # within, since leaving inference mode turns gradients on
    def make(self, transforms: DistributionTransforms) -> None:
        """Take over the weights of `transforms`; raises UserError where they are not finite, or far too large."""
        if not all(torch.isfinite(p).all() for p in transforms.parameters()):
            raise UserError("A network for encoding distributions is not finite: lower the learning rate.")
        octaves = transforms.gain.double() * (1 << FRACTION) / PER_OCTAVE
        self.gain = octaves.round().clamp(-(2**15), 2**15).int()
        slope = transforms.synthesis_slope.double() / PER_OCTAVE
        for i, layer in enumerate(transforms.h_s):
            found = self._integers(i, layer.weight.double(), layer.bias.double(), slope)  # pyright: ignore
            if found is None:
                raise UserError(
                    "A network for encoding distributions has weights beyond all bounds: training diverged."
                )
            for name, value in found.items():
                setattr(self, name, value)

    def _integers(self, i: int, weight: Tensor, bias: Tensor, slope: Tensor) -> dict[str, Tensor] | None:
        """The finest integers of a layer that pass the proof; None where not even the coarsest do."""
        for shift in range(_FINEST, 0, -1):
            unit = 2.0 ** (shift + ACTIVATION)
            made = {f"weight_{i}": (weight * 2.0**shift).round(), f"bias_{i}": (bias * unit).round()}
            made |= {"slope": (slope * unit).round()} if i == 0 else {}
            bound = _bound(made[f"weight_{i}"], made[f"bias_{i}"], made.get("slope"), shift, self._layout[i][2])
            if bound < _LIMIT and float(made[f"weight_{i}"].abs().max()) < 2**31:
                shifts = self.shifts.clone()
                shifts[i] = shift
                integers = {name: value.to(getattr(self, name).dtype) for name, value in made.items()}
                return integers | {"shifts": shifts}
        return None

    def corrections(self, q: np.ndarray, level: int, columns: range | None = None) -> np.ndarray:
        """Corrections of logits in units of 2^-8 bits, int64 (channels, bins), of symbols q (side, bins / 8).

        With `columns`, of these bins alone, (channels, len(columns)); the others take no time.
        Raises RunError where the integers were never made, or could leave the range in which sums are exact.
        """
        layers, slope = self._proven()
        x = torch.from_numpy(q.astype(np.int64) * self._inverse_gain(level)[:, None])[None].double()
        x.clamp_(-_LARGEST, _LARGEST)
        spans, first = self._spans(columns or range(q.shape[1] * STRIDE), q.shape[1]), 0
        with torch.no_grad(), without_autocast("cpu"):  # on CPUs it makes bfloat16 of float64, too
            for i, (stride, padding, groups) in enumerate(self._layout):
                weight, bias, shift = layers[i]
                bias = bias + (level - MIDDLE) * slope if i == 0 else bias
                x = x[..., spans[i].start - first : spans[i].stop - first]
                x = F.conv_transpose1d(x, weight, bias, stride, padding, stride - 1, groups)
                first, last = spans[i].start * stride, i == len(self._layout) - 1
                drop = shift + (ACTIVATION - FRACTION if last else 0)
                x.add_(2.0 ** (drop - 1)).mul_(2.0**-drop).floor_()  # half up; a power of two changes no digit
                x.clamp_(-_LARGEST_LOGIT, _LARGEST_LOGIT) if last else x.clamp_(0, _LARGEST)
                x = shuffle(x, groups) if i > 0 and not last else x
        asked = slice(None) if columns is None else slice(columns.start - first, columns.stop - first)
        return x[0, :, asked].numpy().astype(np.int64)

    def _spans(self, columns: range, width: int) -> list[range]:
        """The columns of each layer's input, of which there are `width` at first, that these outputs depend on."""
        sizes = [width]
        for stride, _, _ in self._layout:
            sizes.append(sizes[-1] * stride)
        spans, start, stop = [], columns.start, columns.stop
        for (stride, padding, _), size in zip(reversed(self._layout), reversed(sizes[:-1]), strict=True):
            # An output t takes input j at tap t + padding - j stride, of which there are 2 padding + 1.
            start, stop = max(0, -(-(start - padding) // stride)), min(size, (stop - 1 + padding) // stride + 1)
            spans.append(range(start, stop))
        return spans[::-1]

    def _inverse_gain(self, level: int) -> np.ndarray:
        """2^-gain at a level in units of 2^-12, at most 2^12."""
        exponent = -self.gain.cpu().numpy().astype(np.int64) * (level - MIDDLE)
        octave = -((-exponent) >> FRACTION)  # rounded up
        table = EXP2[(octave << FRACTION) - exponent]
        return table >> np.clip(_ONE - ACTIVATION - octave, 6, 62)

    def _proven(self) -> tuple[list[tuple[Tensor, Tensor, int]], Tensor]:
        """Weight, bias and shift of each layer, and the slope, in float64; kept until a buffer changes."""
        state = [(t, 0 if t.is_inference() else t._version) for t in self.buffers()]
        known = self._kept is not None and all(
            a is b and at == then for (a, at), (b, then) in zip(state, self._kept[0], strict=True)
        )
        if self._kept is None or not known:
            self._require_exact()
            names = range(len(self._layout))
            layers = [(self._float(f"weight_{i}"), self._float(f"bias_{i}"), int(self.shifts[i])) for i in names]
            self._kept = (state, layers, self._float("slope"))
        return self._kept[1], self._kept[2]

    def _float(self, name: str) -> Tensor:
        return getattr(self, name).cpu().double()

    def _require_exact(self) -> None:
        for i, (_, _, groups) in enumerate(self._layout):
            shift, slope = int(self.shifts[i]), self._float("slope") if i == 0 else None
            weight, bias = self._float(f"weight_{i}"), self._float(f"bias_{i}")
            if not 0 < shift <= _FINEST or _bound(weight, bias, slope, shift, groups) >= _LIMIT:
                raise RunError(
                    "The checkpoint's integer network for encoding distributions is damaged or was never made; save it "
                    "after update_tables()."
                )


def _bound(weight: Tensor, bias: Tensor, slope: Tensor | None, shift: int, groups: int) -> float:
    """The largest absolute value that a sum of the layer, in any order, can have on its way; all taps, all phases."""
    norms = weight.abs().unflatten(0, (groups, -1)).sum((1, 3)).flatten()
    most = norms * _LARGEST + bias.abs() + 2.0 ** (shift + ACTIVATION)
    most = most if slope is None else most + slope.abs() * max(MIDDLE, MAX_LEVEL - MIDDLE)
    return float(most.max())


def adapted_tables(static: CdfTables, live: np.ndarray, corrections: np.ndarray, first: int) -> CdfTables:
    """Tables of the static ones' supports with corrected logits: integers in, integers out.

    Entry k of a row with B symbols is k + (65535 - B) C[k] // C[B], where C is the running sum of 2^logit: every symbol
    keeps one unit, and so does the escape. Outside the corrections' bins the logits are the static ones.

    Args:
        static: one row a channel.
        live: (channels,) bool; the others' rows are taken as they are.
        corrections: (channels, bins) int64 in units of 2^-8 bits, each within +-2^14.
        first: symbol of the corrections' first bin.
    """
    cdf = static.cdf.copy()
    _correct(cdf, static.lengths, static.offsets, live, corrections, first, LOG2, EXP2)
    return CdfTables(cdf, static.lengths, static.offsets)


@njit(cache=True, nogil=True)
def _correct(cdf, lengths, offsets, live, corrections, first, log2, exp2):  # pragma: no cover  (compiled)
    """Replace the live rows of static tables."""
    logits = np.empty(cdf.shape[1], np.int64)
    for r in range(len(lengths)):
        if not live[r]:
            continue
        symbols, top = lengths[r] - 2, np.int64(-(1 << 62))
        for k in range(symbols):
            logits[k] = log2[cdf[r, k + 1] - cdf[r, k]]
            place = offsets[r] + k - first
            if 0 <= place < corrections.shape[1]:
                logits[k] += corrections[r, place]
            top = max(top, logits[k])
        total = np.int64(0)
        for k in range(symbols):  # and from here on, the mass below a symbol
            down = top - logits[k]
            logits[k] = total
            total += exp2[down & 255] >> min(down >> 8, 62)
        reciprocal, spare = 1.0 / total, 65535 - symbols
        for k in range(symbols):  # a quotient below 2^16 by float64 is off by 1 at most, and a remainder shows it
            scaled = logits[k] * spare
            quotient = np.int64(scaled * reciprocal)
            remainder = scaled - quotient * total
            cdf[r, k] = k + quotient + (remainder >= total) - (remainder < 0)
        cdf[r, symbols], cdf[r, symbols + 1] = 65535, 1 << 16

"""Symbols of point clouds by compiled code: those of the analysis in float64 and its rounding, or none at all.

Batch normalisation is folded into the convolutions, and only the largest value of each channel is shifted, bent by the
ReLU and scaled, since these do not change which point is largest. The sums are in another order than those of the
analysis. So each latent is an interval, which holds whatever float64 gives in any order, and both of its ends are
rounded: rounding is monotone, and where both ends give one symbol, the analysis gives it, too. Where they do not,
which hardly ever happens, `PointSymbols.of` gives None, and the caller asks the analysis.

The last layer of a large network is a product of matrices in float32 first. Its intervals are wider; channels that they
leave open are summed in float64.
"""

from __future__ import annotations

import os

import numpy as np
import torch
from numba import njit
from torch import Tensor, nn

from nic_lightning.entropy.model import MAX_SYMBOL
from nic_lightning.layers.folded_points import STEPS, Folded, error_of_sums, folded_layers
from nic_lightning.layers.points import Gain

BLOCK = 128
"""Points that go through the layers together: their features stay in the nearest caches."""
_UNROLLED = 4
"""Terms of a sum that are added at a time; inputs of a layer are filled up to a multiple of it."""
_LARGE = 1 << 14
"""Weights of a last layer from which on it is a product of matrices."""
_PART = 256
"""Points of such a product: 1 MiB of 1,024 channels stays in the second cache."""
_FARTHEST = 2.0**60
"""Of coordinates. The sum of all squares is far from the largest float32 then."""
_MOST = np.float32(MAX_SYMBOL)


def point_symbols(layers: nn.Sequential, gain: nn.Module, medians: Tensor) -> PointSymbols | None:
    """The compiled encoder of these modules; None where they are of other kinds, not on the CPU, or not finite."""
    tensors = (*layers.state_dict().values(), *gain.state_dict().values(), medians)
    if type(gain) is not Gain or any(t.device.type != "cpu" for t in tensors) or medians.dtype != torch.float32:
        return None
    folded = folded_layers(layers)
    found = PointSymbols(folded, gain, medians.flatten().numpy().copy()) if folded else None
    return found if found is not None and found.usable else None


class PointSymbols:
    """Symbols of clouds, for one state of a codec.

    Args:
        layers: of the encoder, from coordinates to features.
        gain: what the largest features are multiplied with.
        medians: centres of the quantisation grid, (C,), float32.
    """

    def __init__(self, layers: list[Folded], gain: Gain, medians: np.ndarray):
        factor = (gain.factor * gain.weight.detach().double()).numpy()[:, 0]
        self._ends = layers[-1].bias, error_of_sums(layers), factor, medians
        # Sums of finite weights are finite for all coordinates below `_FARTHEST`.
        self.usable = bool(np.isfinite(self._ends[1] * np.abs(factor) * _FARTHEST).all())
        self._layers = _packed(layers)
        self._matrices = None
        if layers[-1].weight.size >= _LARGE and not any(layer.first.any() for layer in layers):
            self._matrices = [(torch.from_numpy(f.weight).t().contiguous(), torch.from_numpy(f.bias)) for f in layers]
            self._short = self._matrices[-1][0].float()
            self._sizes = self._short.abs()

    def of(self, points: np.ndarray) -> np.ndarray | None:
        """Symbols (C,), int32, of a cloud (P, 3), float32; None where they are not certain, as for NaN."""
        if self._matrices is None:
            symbols, undecided = _compiled(points, *self._layers, *self._ends)
        else:
            symbols, undecided = self._by_matrices(points, self._matrices)
        return None if undecided.any() else symbols

    def _by_matrices(self, points: np.ndarray, matrices: list[tuple[Tensor, Tensor]]) -> tuple[np.ndarray, np.ndarray]:
        """`of` where the last layer is large: symbols, and which of them are not certain."""
        x = torch.from_numpy(points)
        bias, error, factor, medians = self._ends
        reach = float(x.abs().max())
        if not reach < _FARTHEST:
            return np.zeros(len(bias), np.int32), np.ones(len(bias), np.bool_)
        error = error * max(1.0, reach)
        features = _features(x, matrices)
        if not _float32_is_whole():
            return _rounded(_largest_of(features, matrices[-1][0]), bias, error, factor, medians)
        short = [part.float() for part in features]
        largest = torch.stack([(part @ self._short).amax(0) for part in short]).amax(0)
        size = torch.stack([part.amax(0) for part in short]).amax(0) @ self._sizes
        # As in `error_of_sums`: one sum is rounded, in float32, and so are its weights and features, where tiny ones
        # vanish.
        rough = (len(self._sizes) + STEPS) * 2.0**-24 * 1.01 * size.double().numpy() + 2.0**-60
        symbols, undecided = _rounded(largest.double().numpy(), bias, error + rough, factor, medians)
        rest = np.flatnonzero(undecided)
        if rest.size:
            exact = _largest_of(features, matrices[-1][0][:, rest])
            symbols[rest], undecided[rest] = _rounded(exact, bias[rest], error[rest], factor[rest], medians[rest])
        return symbols, undecided


def _float32_is_whole() -> bool:
    """Whether products of float32 use all its bits: torch and oneDNN can be set to 16, and no bound holds for these."""
    if torch.is_autocast_enabled("cpu"):
        return False
    try:
        precision = torch.get_float32_matmul_precision()
    except RuntimeError:  # it was set by torch.backends...fp32_precision, to something else than at first
        return False
    modes = (os.environ.get(f"{name}_DEFAULT_FPMATH_MODE", "STRICT") for name in ("ONEDNN", "DNNL"))
    return precision == "highest" and all(mode.upper() == "STRICT" for mode in modes)


def _features(x: Tensor, matrices: list[tuple[Tensor, Tensor]]) -> list[Tensor]:
    """Inputs of the last layer, float64, (P', K) of some points at a time."""
    found = []
    for features in x.double().split(_PART):
        for weight, bias in matrices[:-1]:
            features = torch.addmm(bias, features, weight).relu_()
        found.append(features)
    return found


def _largest_of(features: list[Tensor], weight: Tensor) -> np.ndarray:
    """Largest values of channels of the last layer without its bias, float64."""
    return torch.stack([(part @ weight).amax(0) for part in features]).amax(0).numpy()


_Packed = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Weights, biases, first inputs, each of all layers in a row; of each layer outputs and filled-up inputs of a group."""


def _packed(layers: list[Folded]) -> _Packed:
    weights, shape = [], []
    for layer in layers:
        outputs, inputs = layer.weight.shape
        filled = -(-inputs // _UNROLLED) * _UNROLLED
        weights.append(np.pad(layer.weight, ((0, 0), (0, filled - inputs))).ravel())
        shape.append((outputs, filled))
    biases, firsts = [layer.bias for layer in layers], [layer.first for layer in layers]
    return np.concatenate(weights), np.concatenate(biases), np.concatenate(firsts), np.array(shape, np.int64)


@njit(cache=True, nogil=True)
def _rounded(largest, bias, error, factor, medians):  # pragma: no cover  (compiled)
    """Symbols (int32) of features whose largest values are within `error` of `largest + bias`, and which are open."""
    symbols, undecided = np.empty(largest.size, np.int32), np.empty(largest.size, np.bool_)
    for c in range(largest.size):
        middle = largest[c] + bias[c]
        below = factor[c] * max(middle - error[c], 0.0)
        above = factor[c] * max(middle + error[c], 0.0)
        # The analysis gives float32, from which medians are subtracted in float32.
        low = np.rint(np.float32(below) - medians[c])
        high = np.rint(np.float32(above) - medians[c])
        undecided[c] = not (abs(middle) + error[c] < np.inf and low == high and abs(low) < _MOST)
        symbols[c] = 0 if undecided[c] else np.int32(low)
    return symbols, undecided


@njit(cache=True, nogil=True)
def _load(points, start, into):  # pragma: no cover  (compiled)
    """Coordinates of a block of points as rows, the last point once more where there are none; returns the width."""
    count = points.shape[0]
    width = min(BLOCK, (count - start + 7) // 8 * 8)
    for p in range(width):
        at = min(start + p, count - 1)
        for k in range(3):
            into[k, p] = points[at, k]
    return width


@njit(cache=True, nogil=True, fastmath={"contract"})
def _sum(weights, at, fan, inputs, first, width, out):  # pragma: no cover  (compiled)
    """Weighted sum of rows of the inputs into a row, four rows at a time."""
    for k in range(0, fan, 4):
        w, x, y, z = weights[at + k], weights[at + k + 1], weights[at + k + 2], weights[at + k + 3]
        a, b, c, d = inputs[first + k], inputs[first + k + 1], inputs[first + k + 2], inputs[first + k + 3]
        if k == 0:
            for p in range(width):
                out[p] = w * a[p] + x * b[p] + y * c[p] + z * d[p]
        else:
            for p in range(width):
                out[p] += w * a[p] + x * b[p] + y * c[p] + z * d[p]


@njit(cache=True, nogil=True)
def _largest(points, weights, biases, firsts, shape):  # pragma: no cover  (compiled)
    """Largest value of each channel (C,), float64, of the last layer, whose bias is left out."""
    last = shape.shape[0] - 1
    rows = max(3, shape[:, 0].max()) + _UNROLLED  # a layer that is filled up reads some rows more than there are
    first, second, sums = np.zeros((rows, BLOCK)), np.zeros((rows, BLOCK)), np.empty(BLOCK)
    best = np.full((shape[last, 0], BLOCK), -np.inf)
    for start in range(0, points.shape[0], BLOCK):
        width = _load(points, start, first)
        inputs, outputs, at, row = first, second, 0, 0
        for i in range(last + 1):
            for o in range(shape[i, 0]):
                out = sums if i == last else outputs[o]
                _sum(weights, at, shape[i, 1], inputs, firsts[row], width, out)
                if i == last:
                    own = best[o]
                    for p in range(width):
                        own[p] = own[p] if own[p] > out[p] else out[p]
                else:
                    for p in range(width):
                        out[p] = max(out[p] + biases[row], 0.0)
                at += shape[i, 1]
                row += 1
            inputs, outputs = outputs, inputs
    found = np.empty(best.shape[0])
    width = min(BLOCK, (points.shape[0] + 7) // 8 * 8)
    for c in range(best.shape[0]):
        found[c] = best[c, :width].max()
    return found


@njit(cache=True, nogil=True)
def _compiled(points, weights, biases, firsts, shape, bias, error, factor, medians):  # pragma: no cover  (compiled)
    """Symbols (int32) of a cloud (P, 3), float32, and which of them are not certain."""
    reach = np.float64(1.0)
    for p in range(points.shape[0]):
        for k in range(3):
            far = abs(points[p, k])
            if not far <= reach:  # NaN, too
                reach = far
    if not reach < _FARTHEST:
        return np.zeros(bias.size, np.int32), np.ones(bias.size, np.bool_)
    return _rounded(_largest(points, weights, biases, firsts, shape), bias, error * reach, factor, medians)

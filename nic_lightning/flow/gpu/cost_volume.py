"""Cost volumes as `flow.cost_volume` makes them, by products of whole rows of features.

For each dy, the features of a row times those of a row of the other frame give all pairs of their pixels; the pairs of
one dx lie on a diagonal. Sums of 64 products may be rounded in another order than by numba, and then a cost within
that rounding of a whole number is off by one level. On a processor none of 15.6 million was.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from nic_lightning.flow.cost_volume import OUTSIDE, minimum_table
from nic_lightning.flow.triple import Lambdas, weighting_table

COLUMNS = 256  # pixels of one product; each is multiplied with 2 * radius more
SCORES = 1 << 24  # numbers of one product, 64 MiB
PIECE = 1 << 22  # entries of a table looked up at a time, by indices of 8 bytes


def match(
    first: Tensor,
    second: Tensor,
    radius: int,
    out: Tensor | None = None,
    reverse: Tensor | None = None,
    table: np.ndarray | None = None,
    top: int = 0,
    outside: int = OUTSIDE,
) -> Tensor:
    """Costs as of `flow.cost_volume.match`, of tensors on one device."""
    height, width, _ = first.shape
    n, device = 2 * radius + 1, first.device
    if out is None and reverse is None:
        out = torch.empty((height, width, n, n), dtype=torch.uint8, device=device)
    if reverse is not None:
        reverse.fill_(outside)
    other = F.pad(second, (0, 0, radius, radius))
    costs = torch.full((height, width + 2 * radius, n), outside, dtype=torch.uint8, device=device)
    own = costs[:, radius : radius + width]
    column = torch.arange(width, device=device)[:, None] + torch.arange(-radius, radius + 1, device=device)
    beyond = (column < 0) | (column >= width)
    put = _putting(table, device)
    for dy in range(-radius, radius + 1):
        low = min(height, max(0, -dy - top))
        high = max(low, min(height, len(second) - dy - top))
        own[:low] = outside
        own[high:] = outside
        _multiply(first, other, low, high, top + dy, own)
        own[low:high].masked_fill_(beyond, outside)
        if out is not None:
            put(out[:, :, dy + radius], own)
        if reverse is not None:
            reverse[low + top + dy : high + top + dy, :, dy + radius] = _of_second(costs[low:high], width)
    return reverse if out is None else out  # pyright: ignore[reportReturnType]


def combine(forward: Tensor, backward: Tensor, lambdas: Lambdas) -> Tensor:
    """As `flow.triple.combine`."""
    put = _putting(weighting_table(lambdas), forward.device)
    for costs, others in zip(forward, backward, strict=True):
        put(costs, others.flip(1, 2))
    return forward


def _multiply(first: Tensor, other: Tensor, low: int, high: int, dy: int, costs: Tensor) -> None:
    """Costs of rows low to high with those dy below, other's columns padded by the radius: costs (h, w, n) uint8."""
    width, n = costs.shape[1:]
    for left in range(0, width, COLUMNS):
        columns = min(COLUMNS, width - left)
        span = columns + n - 1
        rows = max(1, SCORES // (columns * span))
        for start in range(low, high, rows):
            end = min(high, start + rows)
            right = other[start + dy : end + dy, left : left + span].transpose(1, 2)
            scores = torch.bmm(first[start:end, left : left + columns], right)
            diagonals = scores.as_strided((end - start, columns, n), (columns * span, span + 1, 1))
            costs[start:end, left : left + columns] = (1 - diagonals).mul_(127).clamp_(0, 254)  # cut, not rounded


def _of_second(costs: Tensor, width: int) -> Tensor:
    """Costs (rows, width + 2 * radius, n) by pixels of the first frame as (rows, width, n) by those of the second.

    Pixel x2 gets at label dx what pixel x2 - dx has there: one column less for one label more.
    """
    rows, columns, n = costs.shape
    turned = costs.as_strided((rows, width, n), (columns * n, n, n - 1), costs.storage_offset() + n - 1)
    return turned.flip(2)


def _putting(table: np.ndarray | None, device: torch.device) -> Callable[[Tensor, Tensor], object]:
    """What turns its first argument into the second, or into table[first, second], in place."""
    if table is None:
        return Tensor.copy_
    if np.array_equal(table, minimum_table()):
        return lambda target, costs: torch.minimum(target, costs, out=target)
    entries = torch.from_numpy(np.ascontiguousarray(table).ravel()).to(device)

    def put(target: Tensor, costs: Tensor) -> None:
        size = max(1, PIECE // target[0].numel())
        for some, others in zip(target.split(size), costs.split(size), strict=True):
            some.copy_(entries[some.long() * 256 + others])

    return put

"""Paths of semi-global matching in Triton: a program for each row or column walks it to its end, in one launch.

The labels of the pixel before and of this one lie in two buffers of each program, in a rim as in the numba code. They
fit into the first two levels of cache; a barrier between pixels lets every thread see what the others wrote.
"""

# Kernels are not the Python that types are checked for.
# pyright: reportIndexIssue=false, reportArgumentType=false, reportOperatorIssue=false

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from nic_lightning.flow.semi_global_matching import Potts

RIM = tl.constexpr(16384)  # of labels beyond the range, as in `gpu.semi_global_matching`
BLOCK = 2048
_OPTIONS = {"num_warps": 16, "num_stages": 1, "enable_fp_fusion": False}
_STORE, _ADD, _DECIDE = 0, 1, 2


def winners(volume: Tensor, luma: Tensor, smoothness: Potts, sums: Tensor, last: bool) -> Tensor:
    """Numbers of the labels (h, w) int64 of the least sum over four paths, the first or last of equal ones.

    Args:
        volume: (h, w, n, n) uint8, contiguous, n < 256.
        luma: (h, w) float32, contiguous.
        smoothness: the pairwise term.
        sums: as large as the volume, int16, contiguous; its content is lost.
        last: which of equal labels wins.
    """
    height, width, n, _ = volume.shape
    found = torch.empty((height, width), dtype=torch.int32, device=volume.device)
    settings = (smoothness.near, smoothness.far, int(smoothness.far / 3), smoothness.edge)
    with torch.cuda.device_of(volume):
        for columns in (0, 1):
            step, length, apart, lines = (width, height, 1, width) if columns else (1, width, width, height)
            for back in (0, 1):
                buffers = torch.full((lines, 2, n + 2, n + 2), RIM.value, dtype=torch.int16, device=volume.device)
                buffers[:, 1, 1:-1, 1:-1] = 0  # nothing before the first pixel: L is its cost
                begin, move = (length - 1) * step * back, step - 2 * step * back
                _walk[(lines,)](
                    volume, luma, buffers, sums, found, begin, move, apart, length, *settings,
                    n=n, MODE=columns + back, LAST=last, BLOCK=BLOCK, **_OPTIONS,
                )  # fmt: skip
    return found.long()


@triton.jit
def _walk(
    volume, luma, buffers, sums, found, begin, move, apart, length, near, far, far_at_edge, edge,
    n: tl.constexpr, MODE: tl.constexpr, LAST: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip  # pragma: no cover: compiled
    """One path: L to `sums` (MODE 0), added to them (1), or added to them and the winners found (2, the last path)."""
    line = tl.program_id(0)
    stride: tl.constexpr = n + 2
    size: tl.constexpr = stride * stride
    labels: tl.constexpr = n * n
    home = buffers + line.to(tl.int64) * (2 * size)
    pixel = line * apart + begin
    light = tl.load(luma + pixel)
    least = 0
    for k in range(length):
        here = tl.load(luma + pixel)
        cap = least + tl.where(tl.abs(here - light) < edge, far, far_at_edge)
        before, now = home + (k + 1) % 2 * size, home + k % 2 * size
        at = pixel.to(tl.int64) * labels
        best = tl.full((BLOCK,), 32767, tl.int32)
        keys = tl.full((BLOCK,), 2147483647, tl.int32)
        for first in range(0, labels, BLOCK):
            label = first + tl.arange(0, BLOCK)
            there = label < labels
            cell = (label // n + 1) * stride + label % n + 1
            centre = tl.load(before + cell, there, other=0).to(tl.int32)
            left = tl.load(before + cell - 1, there, other=0).to(tl.int32)
            right = tl.load(before + cell + 1, there, other=0).to(tl.int32)
            above = tl.load(before + cell - stride, there, other=0).to(tl.int32)
            below = tl.load(before + cell + stride, there, other=0).to(tl.int32)
            cost = tl.load(volume + at + label, there, other=0).to(tl.int32)
            side = tl.minimum(tl.minimum(left, right), tl.minimum(above, below)) + near
            value = tl.minimum(tl.minimum(side, centre), cap) - least + cost
            tl.store(now + cell, value.to(tl.int16), there)
            best = tl.minimum(best, tl.where(there, value, 32767))
            if MODE == 0:
                tl.store(sums + at + label, value.to(tl.int16), there)
            else:
                total = (tl.load(sums + at + label, there, other=0).to(tl.int32) & 65535) + value
                if MODE == 1:
                    tl.store(sums + at + label, total.to(tl.int16), there)
                else:
                    order = labels - 1 - label if LAST else label
                    keys = tl.minimum(keys, tl.where(there, (total - 32768) * 65536 + order, 2147483647))
        tl.debug_barrier()
        least = tl.reduce(best, 0, _smaller)
        if MODE == 2:
            winner = tl.reduce(keys, 0, _smaller) & 65535
            tl.store(found + pixel, labels - 1 - winner if LAST else winner)
        light = here
        pixel += move


@triton.jit
def _smaller(a, b):  # pragma: no cover: compiled
    return tl.minimum(a, b)

"""Semi-global matching as `flow.semi_global_matching` does it: one step along all rows, or all columns, at a time.

Sums of four paths need 16 bits without a sign. Here they wrap around in int16, and are compared as unsigned.
"""

from __future__ import annotations

import logging
from functools import cache
from types import ModuleType

import torch
from torch import Tensor

from nic_lightning.flow.semi_global_matching import Potts, TruncatedL1

log = logging.getLogger(__name__)

RIM = 16384  # of labels beyond the range: more than any L, and with any penalty still within 15 bits


def semi_global_matching(
    volume: Tensor,
    luma: Tensor,
    smoothness: Potts | TruncatedL1,
    sums: Tensor | None = None,
    reversed_labels: bool = False,
) -> Tensor:
    """As `flow.semi_global_matching.semi_global_matching`, of tensors on one device; `sums` is int16."""
    sums = torch.empty(volume.shape, dtype=torch.int16, device=volume.device) if sums is None else sums
    fused = _triton(volume.device) if volume.is_cuda and isinstance(smoothness, Potts) else None
    if fused is not None:
        winners = fused.winners(volume, luma, smoothness, sums, reversed_labels)
    else:
        winners = _winners(volume, luma, smoothness, sums, reversed_labels)
    return _displacements(winners, volume.shape[2], reversed_labels)


def winner_takes_all(volume: Tensor, reversed_labels: bool = False) -> Tensor:
    """As `flow.semi_global_matching.winner_takes_all`."""
    return _displacements(_least(volume, reversed_labels), volume.shape[2], reversed_labels)


def _winners(volume: Tensor, luma: Tensor, smoothness: Potts | TruncatedL1, sums: Tensor, last: bool) -> Tensor:
    """Numbers of the labels (h, w) of the least sum."""
    for axis in (1, 0):
        for back in (False, True):
            _paths(
                volume.transpose(0, axis), luma.transpose(0, axis), smoothness, back, sums.transpose(0, axis), not axis
            )
    return _least(sums, last)


def _paths(
    volume: Tensor, luma: Tensor, smoothness: Potts | TruncatedL1, back: bool, sums: Tensor, crossing: bool
) -> None:
    """L of all lines (dimension 1) along dimension 0, or back, to `sums`, or added to what is there."""
    length, lines, n, _ = volume.shape
    add = back or crossing
    near = smoothness.near if isinstance(smoothness, Potts) else smoothness.slope
    steps = _penalties(luma, smoothness)
    before, now = torch.full((2, lines, n + 2, n + 2), RIM, dtype=torch.int16, device=volume.device)
    before[:, 1:-1, 1:-1] = 0  # nothing before the first pixel: L is its cost
    least = torch.zeros((lines, 1, 1), dtype=torch.int16, device=volume.device)
    reached = torch.empty((lines, n, n), dtype=torch.int16, device=volume.device)
    for k in reversed(range(length)) if back else range(length):
        if isinstance(smoothness, TruncatedL1):
            _spread(before[:, 1:-1, 1:-1], smoothness)
        value = now[:, 1:-1, 1:-1]
        torch.minimum(before[:, 1:-1, :-2], before[:, 1:-1, 2:], out=reached)
        torch.minimum(reached, before[:, :-2, 1:-1], out=reached)
        torch.minimum(reached, before[:, 2:, 1:-1], out=reached)
        torch.minimum(reached.add_(near), before[:, 1:-1, 1:-1], out=reached)
        torch.minimum(reached, least + steps[k + back][:, None, None], out=reached)
        torch.add(reached.sub_(least), volume[k], out=value)
        least = value.amin((1, 2), keepdim=True)
        if add:
            sums[k] += value
        else:
            sums[k] = value
        before, now = now, before


def _penalties(luma: Tensor, smoothness: Potts | TruncatedL1) -> Tensor:
    """The largest penalty of the steps from k - 1 to k (length + 1, lines) int16, 0 before the first and last."""
    steps = torch.zeros((len(luma) + 1, luma.shape[1]), dtype=torch.int16, device=luma.device)
    if isinstance(smoothness, Potts):
        smooth = (luma[1:] - luma[:-1]).abs() < torch.tensor(smoothness.edge, dtype=torch.float32, device=luma.device)
        steps[1:-1] = int(smoothness.far / 3)
        steps[1:-1].masked_fill_(smooth, smoothness.far)
    else:
        steps[1:-1] = smoothness.slope * smoothness.reach
    return steps


def _spread(values: Tensor, smoothness: TruncatedL1) -> None:
    """values(l) = min over k of values(k) + slope * |k - l|_1, in place, at least as far as |k - l| <= reach per axis.

    By steps of 1, 2, 4, ... along each axis, which together make every distance.
    """
    n = values.shape[-1]
    for axis in (1, 2):
        step = 1
        while step < n and step <= smoothness.reach:
            raised = values + smoothness.slope * step
            low, high = values.narrow(axis, 0, n - step), values.narrow(axis, step, n - step)
            torch.minimum(low, raised.narrow(axis, step, n - step), out=low)
            torch.minimum(high, raised.narrow(axis, 0, n - step), out=high)
            step *= 2


def _least(values: Tensor, last: bool) -> Tensor:
    """Number of the first or last least entry of (h, w, n, n), uint8 or int16 taken as unsigned: (h, w) int64."""
    winners = torch.empty(values.shape[:2], dtype=torch.int64, device=values.device)
    for y, row in enumerate(values.flatten(2)):
        ordered = row ^ -32768 if row.dtype == torch.int16 else row
        winners[y] = row.shape[1] - 1 - ordered.flip(1).argmin(1) if last else ordered.argmin(1)
    return winners


def _displacements(winners: Tensor, n: int, reversed_labels: bool) -> Tensor:
    flow = torch.stack([winners % n - n // 2, winners // n - n // 2], dim=-1).short()
    return -flow if reversed_labels else flow


@cache
def _triton(device: torch.device) -> ModuleType | None:
    """The kernel that walks a path in one launch, once it agrees on this device with the steps above; None if not."""
    try:
        from nic_lightning.flow.gpu import triton_paths

        random = torch.Generator().manual_seed(0)
        volume = torch.randint(0, 255, (9, 11, 33, 33), dtype=torch.uint8, generator=random).to(device)
        luma = torch.rand((9, 11), generator=random).to(device)
        sums = torch.empty(volume.shape, dtype=torch.int16, device=device)
        for last in (False, True):
            found = triton_paths.winners(volume, luma, Potts(7, 90, 0.5), sums, last)
            if not torch.equal(found, _winners(volume, luma, Potts(7, 90, 0.5), sums, last)):
                raise RuntimeError("its labels are wrong")
    except Exception as error:  # Triton may be missing, or whatever it compiles with
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        log.warning("Matching goes on without Triton's faster kernel: %s.", reason[:200])
        return None
    return triton_paths

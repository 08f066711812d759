"""Autoregressive context of quantised latents: in which order they are coded, and what is known at each."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nic_lightning.errors import UserError
from nic_lightning.layers.convolution import conv
from nic_lightning.layers.precision import without_autocast
from nic_lightning.layers.slimmable import ConditionalConv, SlimmableConv

KERNEL = 5
"""Taps of the masked convolution in each direction (Minnen et al. 2018)."""
ORDERS = ("checkerboard", "serial")
POSITIONS = 1024
"""Positions worked out at once at most: bounds the memory, and what a hostile string can cost before it ends."""


def mask_of(order: str) -> Tensor:
    """Taps (5, 5) of a masked convolution that see latents decoded before; UserError for an unknown order.

    "serial" is mask A of raster order: rows above, and what is left in the row. "checkerboard" (He et al. 2021) is the
    squares of the other colour.
    """
    if order not in ORDERS:
        raise UserError(f"codec.order is {order!r}; it can be {' or '.join(ORDERS)}.")
    taps = torch.arange(KERNEL * KERNEL)
    mask = taps < KERNEL * KERNEL // 2 if order == "serial" else taps % 2 == 1
    return mask.float().view(KERNEL, KERNEL)


def passes(order: str, height: int, width: int) -> Iterator[Tensor]:
    """Positions (flat indices, row by row) in the order of coding; those of one pass do not depend on each other.

    Checkerboard: one colour, which has no context, then the other. Serial: wavefronts. The 5x5 mask at (i, j) reaches
    (i', j') with j' + 3 i' < j + 3 i only. So all positions of equal j + 3 i are decoded together, in 3 (H - 1) + W
    steps, and the result is that of raster order. No pass has more than `POSITIONS` positions.
    """
    column, row = torch.arange(width), torch.arange(height)[:, None]
    time = ((row + column) % 2 if order == "checkerboard" else 3 * row + column).flatten()
    for positions in torch.split(time.argsort(stable=True), time.bincount().tolist()):
        if len(positions):
            yield from positions.split(POSITIONS)


class ContextModel(nn.Module):
    """Mean and scale of every latent from its hyper features and from latents decoded before it (Minnen et al. 2018).

        y_hat ─ masked 5/1 ─ 1/1 ─┬─ + ─ LReLU ─ 1/1 ─ LReLU ─ 1/1 ─ mean, scale
        hyper features ───── 1/1 ─┘

    Slimmable, every convolution conditional on the width: w channels of context, 2w of all else. The first 1/1 layer of
    the paper sees context and hyper features side by side; here it is a sum of two, so that each is a prefix of its
    kernel at every width. For the same reason mean and scale of a latent are neighbours. With order "checkerboard" the
    convolution sees the first colour only, also in training.
    """

    mask: Tensor

    def __init__(self, channels: int, levels: int, order: str, slope: float):
        super().__init__()
        self.order, self.slope = order, slope
        self.register_buffer("mask", mask_of(order), persistent=False)
        w = channels

        def layer(channels_in: int, channels_out: int, kernel: int = 1) -> ConditionalConv:
            plain = conv(channels_in, channels_out, kernel, bias=False, kind=SlimmableConv)
            return ConditionalConv(plain, levels)

        self.context = layer(w, w, KERNEL)
        self.from_context, self.from_hyper = layer(w, 2 * w), layer(2 * w, 2 * w)
        self.inner, self.result = layer(2 * w, 2 * w), layer(2 * w, 2 * w)

    def forward(self, y_hat: Tensor, hyper: Tensor, level: int) -> tuple[Tensor, Tensor]:
        """Means and scales, both (N, w, h, w'), of all latents y_hat at once; hyper features have 2w channels."""
        n, w, rows, columns = y_hat.shape
        with without_autocast(y_hat.device.type):
            seen = y_hat.to(hyper.dtype)
            if self.order == "checkerboard":
                i, j = (torch.arange(k, device=seen.device) for k in (rows, columns))
                seen = seen * ((i[:, None] + j) % 2 == 0)
            kernel = self.context.convolution.weight[:w, :w] * self.mask.to(seen)  # pyright: ignore[reportIndexIssue]
            phi = self.context.affine(F.conv2d(seen, kernel, padding=KERNEL // 2), level)
            x = self.from_context(phi, level, 2 * w) + self.from_hyper(hyper, level, 2 * w)
            x = self.inner(F.leaky_relu(x, self.slope), level, 2 * w)
            x = self.result(F.leaky_relu(x, self.slope), level, 2 * w)
        means, scales = x.view(n, w, 2, rows, columns).unbind(2)
        return means, scales


class ExactContext:
    """What a `ContextModel` says of one image at one width, pass by pass, in float64 on the CPU.

    Sender and receiver both run it, so that they get the same numbers. Means are multiples of 2^-8: the last digits of
    float64, in which machines differ, do not enter the latents, and so cannot grow from pass to pass.

    Args:
        model: what was trained.
        level: place of the width.
        hyper: hyper features (1, 2w, h, w'), float64, on the CPU.
    """

    GRID = 2.0**8
    LARGEST = 2.0**30

    @torch.no_grad()
    def __init__(self, model: ContextModel, level: int, hyper: Tensor):
        _, features, self.rows, self.columns = hyper.shape
        self.width, self.slope, self.order = features // 2, model.slope, model.order
        self.hyper = hyper[0].flatten(1).t()
        taps = model.mask.flatten().nonzero().flatten().cpu()
        self.context = _matrix(model.context, level, self.width, self.width, taps)
        self.from_context = _matrix(model.from_context, level, self.width, features)
        self.others = [_matrix(m, level, features, features) for m in (model.from_hyper, model.inner, model.result)]
        self.stride = self.columns + KERNEL - 1
        self.reach = taps // KERNEL * self.stride + taps % KERNEL
        self.decoded = torch.zeros((self.rows + KERNEL - 1) * self.stride, self.width, dtype=torch.float64)
        """Latents decoded so far, position by position, with a border of zeros."""

    def at(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Means and scales, both (positions, w); the positions are those of one of `passes`."""
        from_hyper, inner, result = self.others
        phi = F.linear(self._neighbours(positions), *self.context)
        x = F.linear(phi, *self.from_context) + F.linear(self.hyper[positions], *from_hyper)
        x = F.linear(F.leaky_relu(x, self.slope), *inner)
        x = F.linear(F.leaky_relu(x, self.slope), *result)
        means, scales = x.view(len(positions), self.width, 2).unbind(2)
        # Latents that no image has, from a hostile file, can overflow.
        means = torch.round(means.nan_to_num(0).clamp(-self.LARGEST, self.LARGEST) * self.GRID) / self.GRID
        return means, scales

    def place(self, positions: Tensor, latents: Tensor) -> None:
        """Take latents (positions, w) as decoded."""
        self.decoded[self._corner(positions) + (self.stride + 1) * (KERNEL // 2)] = latents

    def latents(self) -> Tensor:
        """All latents, (1, w, h, w')."""
        half = KERNEL // 2
        grid = self.decoded.view(self.rows + KERNEL - 1, self.stride, self.width)
        return grid[half:-half, half:-half].permute(2, 0, 1)[None].contiguous()

    def _neighbours(self, positions: Tensor) -> Tensor:
        """Latents decoded before, (positions, taps * w); one row of zeros where no position sees any."""
        first = int(positions[0])
        if self.order == "checkerboard" and (first // self.columns + first % self.columns) % 2 == 0:
            return self.decoded.new_zeros(1, len(self.reach) * self.width)
        return self.decoded[self._corner(positions)[:, None] + self.reach].flatten(1)

    def _corner(self, positions: Tensor) -> Tensor:
        """Where the window around each position begins."""
        return positions // self.columns * self.stride + positions % self.columns


def _matrix(
    layer: ConditionalConv, level: int, inputs: int, outputs: int, taps: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Kernel of one width, its scales multiplied in, (outputs, taps * inputs), and its bias; in float64 on the CPU."""
    kernel, affine = layer.convolution.weight, layer.affine
    block = kernel[:outputs, :inputs].flatten(2).cpu()  # pyright: ignore[reportIndexIssue]
    block = (block if taps is None else block[..., taps]).double().transpose(1, 2).flatten(1)
    scale = F.softplus(affine.scale[level, :outputs].double()).cpu()
    return block * scale[:, None], affine.bias[level, :outputs].double().cpu()

"""Generalised divisive normalisation, with a backward pass written out to save memory traffic."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from nic_lightning.layers.precision import without_autocast

_PEDESTAL = 2.0**-36
"""Square of the re-parameterisation offset 2^-18 of Ballé's released code: keeps the gradient of sqrt finite at 0."""


class LowerBound(torch.autograd.Function):
    """max(x, bound), a number or a tensor, whose gradient still passes where it would push x back over the bound."""

    @staticmethod
    def forward(ctx, x: Tensor, bound: float | Tensor) -> Tensor:  # noqa: D102
        ctx.save_for_backward(x)
        ctx.bound = bound
        return x.clamp_min(bound)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:  # noqa: D102
        (x,) = ctx.saved_tensors
        return grad * ((x >= ctx.bound) | (grad < 0)), None


def nonnegative(raw: Tensor, minimum: float = 0.0) -> Tensor:
    """Non-negative parameter from its square-root storage: max(raw, bound)^2 - pedestal >= minimum."""
    bounded: Tensor = LowerBound.apply(raw, (minimum + _PEDESTAL) ** 0.5)  # pyright: ignore[reportAssignmentType]
    return bounded * bounded - _PEDESTAL


def to_storage(value: Tensor) -> Tensor:
    """Inverse of `nonnegative`."""
    return torch.sqrt(torch.clamp_min(value + _PEDESTAL, _PEDESTAL))


class _Normalise(torch.autograd.Function):
    """y = x * (beta + gamma x^2)^(-1/2), or ^(+1/2) when inverse; channels are rows of gamma.

    One matrix product each for the forward pass, the input's gradient and gamma's gradient; everything else is done in
    place. Autograd's own graph keeps three more maps of the input's size and walks over memory twice as often.
    """

    @staticmethod
    def forward(ctx, x: Tensor, gamma: Tensor, beta: Tensor, inverse: bool) -> Tensor:
        root = _root(x, gamma, beta, inverse)
        ctx.save_for_backward(x, gamma, root)
        ctx.inverse = inverse
        return x * root

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor):
        x, gamma, root = ctx.saved_tensors
        # d root / d norm is 1/(2 root) for the inverse, -root^3/2 otherwise; d(x^2)/dx cancels the half.
        half = grad * x
        if ctx.inverse:
            half.div_(root)
        else:
            half.mul_(root).mul_(root).mul_(root).neg_()
        grad_x = _mix_channels(half, gamma.t(), None).mul_(x).addcmul_(grad, root) if ctx.needs_input_grad[0] else None
        grad_gamma = grad_beta = None
        if ctx.needs_input_grad[1] or ctx.needs_input_grad[2]:
            grad_gamma, grad_beta = _outer(half, x * x)
        return grad_x, grad_gamma, grad_beta, None


def _root(x: Tensor, gamma: Tensor, beta: Tensor, inverse: bool) -> Tensor:
    norm = _mix_channels(x * x, gamma, beta)
    return norm.sqrt_() if inverse else norm.rsqrt_()


def _is_channels_last(x: Tensor) -> bool:
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


def _mix_channels(x: Tensor, matrix: Tensor, bias: Tensor | None) -> Tensor:
    """Matrix @ x + bias over the channels of (N, C, H, W), in x's own memory format."""
    n, c, h, w = x.shape
    if _is_channels_last(x):
        rows = x.permute(0, 2, 3, 1).reshape(-1, c)
        out = torch.mm(rows, matrix.t()) if bias is None else torch.addmm(bias, rows, matrix.t())
        return out.view(n, h, w, matrix.shape[0]).permute(0, 3, 1, 2)
    flat, stack = x.reshape(n, c, h * w), matrix.expand(n, *matrix.shape)
    out = torch.bmm(stack, flat) if bias is None else torch.baddbmm(bias[:, None], stack, flat)
    return out.view(n, matrix.shape[0], h, w)


def _outer(half: Tensor, square: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of gamma (C, C) and beta (C) from the norm's doubled gradient and x^2."""
    c = half.shape[1]
    if _is_channels_last(half) and _is_channels_last(square):
        rows, cols = half.permute(0, 2, 3, 1).reshape(-1, c), square.permute(0, 2, 3, 1).reshape(-1, c)
        return torch.mm(rows.t(), cols).mul_(0.5), rows.sum(0).mul_(0.5)
    rows, cols = half.flatten(2), square.flatten(2)
    return torch.bmm(rows, cols.transpose(1, 2)).sum(0).mul_(0.5), rows.sum((0, 2)).mul_(0.5)


def normalise(x: Tensor, gamma: Tensor, beta: Tensor, inverse: bool) -> Tensor:
    """Divide x (N, C, H, W) by sqrt(beta + gamma x^2), or multiply when `inverse`; in float32, outside of autocast."""
    x = x.to(beta.dtype)
    if not torch.is_grad_enabled():
        return _root(x, gamma, beta, inverse).mul_(x)
    return _Normalise.apply(x, gamma, beta, inverse)  # pyright: ignore[reportReturnType]


class GDN(nn.Module):
    """Generalised divisive normalisation (Ballé et al. 2016, eq. 3; inverse: 2017, eq. 4).

        y_i = x_i / sqrt(beta_i + sum_j gamma_ij x_j^2)        (multiplied instead of divided when `inverse`)

    Input and output (N, C, H, W), any memory format. Always computed in float32: x^2 overflows float16 at |x| = 256.
    Parameters carry CompressAI's names and storage (square root with pedestal), so state dicts are interchangeable.
    """

    def __init__(self, channels: int, inverse: bool = False, beta_min: float = 1e-6, gamma_init: float = 0.1):
        super().__init__()
        self.inverse = bool(inverse)
        self.beta_min = float(beta_min)
        self.beta = nn.Parameter(to_storage(torch.ones(channels)))
        self.gamma = nn.Parameter(to_storage(gamma_init * torch.eye(channels)))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (N, C, H, W)."""
        with without_autocast(x.device.type):
            return normalise(x, nonnegative(self.gamma), nonnegative(self.beta, self.beta_min), self.inverse)

    def extra_repr(self) -> str:
        """Channels and direction."""
        return f"{self.beta.numel()}, inverse={self.inverse}"

"""Strided convolutions as tensorflow-compression pads and initialises them."""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.nn.utils import parametrize

from nic_lightning.errors import UserError


def conv(
    channels_in: int,
    channels_out: int,
    kernel: int,
    stride: int = 1,
    bias: bool = True,
    kind: type[nn.Conv2d] = nn.Conv2d,
) -> nn.Conv2d:
    """Convolution whose first output sample is aligned with the first input sample: H becomes ceil(H / stride)."""
    layer = kind(channels_in, channels_out, kernel, stride, kernel // 2, bias=bias)
    return _initialise(layer, kernel * kernel * channels_in)


def deconv(
    channels_in: int,
    channels_out: int,
    kernel: int,
    stride: int = 1,
    bias: bool = True,
    kind: type[nn.ConvTranspose2d] | None = None,
) -> nn.ConvTranspose2d:
    """Transposed convolution that undoes `conv`'s shape exactly: H becomes H * stride."""
    kind = kind or (SubpixelDeconv if channels_out <= 4 and stride > 1 else nn.ConvTranspose2d)
    layer = kind(channels_in, channels_out, kernel, stride, kernel // 2, output_padding=stride - 1, bias=bias)
    return _initialise(layer, kernel * kernel * channels_in)


class SubpixelDeconv(nn.ConvTranspose2d):
    """Transposed convolution to few channels, evaluated on CPUs as a convolution and a pixel shuffle.

    Each of the stride^2 output phases is a small convolution of the input; all phases together are one convolution with
    stride^2 times the channels. That fills vector units which 3 output channels leave empty: at 192 channels, 9/4, it
    takes half the time, though 1.8 times the multiplications. Parameters, function and gradients are the parent's.
    """

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """(N, C, H, W) -> (N, C', H * stride, W * stride)."""
        if not subpixel_pays(x) or output_size is not None:
            return super().forward(x, output_size)
        return subpixel(x, self.weight, self.bias, self.stride[0])


def subpixel_pays(x: Tensor) -> bool:
    """Whether `subpixel` is the faster way for an input: on CPUs, in float32."""
    return x.device.type == "cpu" and not torch.is_autocast_enabled("cpu")


def subpixel(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int) -> Tensor:
    """Transposed convolution with `weight` (C, C', k, k) as `SubpixelDeconv` evaluates it."""
    return _Subpixel.apply(x, weight, bias, stride)  # pyright: ignore[reportReturnType]


class _Subpixel(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor | None, stride: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.bias = stride, None if bias is None else list(bias.shape)
        kernel = phase_kernel(weight, stride)
        spread = None if bias is None else bias.repeat_interleave(stride * stride)
        return F.pixel_shuffle(F.conv2d(x, kernel, spread, padding=kernel.shape[-1] // 2), stride)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor):
        x, weight = ctx.saved_tensors
        pad, step = [weight.shape[-1] // 2] * 2, [ctx.stride] * 2
        mask = list(ctx.needs_input_grad[:3])
        gradients = torch.ops.aten.convolution_backward(
            grad, x, weight, ctx.bias, step, pad, [1, 1], True, [ctx.stride - 1] * 2, 1, mask
        )
        return *gradients, None


def phase_kernel(weight: Tensor, stride: int) -> Tensor:
    """Kernel (C' s^2, C, m, m) whose shuffled convolution is the transposed convolution of `weight` (C, C', k, k).

    Output sample s q + r sums x[q + d] weight[r + k // 2 - s d] over all d for which the tap exists.
    """
    c_in, c_out, k, _ = weight.shape
    reach = (k // 2 + stride - 1) // stride
    taps = torch.arange(stride)[:, None] + k // 2 - stride * torch.arange(-reach, reach + 1)[None, :]
    taps = torch.where((taps >= 0) & (taps < k), taps, k)  # k: a row of zeros
    spread = F.pad(weight, (0, 1, 0, 1))[:, :, taps][..., taps]  # (C, C', s, m, s, m)
    m = 2 * reach + 1
    return spread.permute(1, 2, 4, 0, 3, 5).reshape(c_out * stride * stride, c_in, m, m)


def _initialise(layer, fan_in: int):
    """TensorFlow's VarianceScaling(): normal cut at two deviations, variance 1/fan_in, for transposed kernels too.

    PyTorch's default has a third of that variance and counts the wrong channels for transposed convolutions.
    """
    deviation = math.sqrt(1 / fan_in) / 0.87962566103423978  # of the normal before its tails are cut at +-2
    nn.init.trunc_normal_(layer.weight, std=deviation, a=-2 * deviation, b=2 * deviation)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class RdftKernel(nn.Module):
    """Kernel stored as its real Fourier coefficients over the taps, as in the released MAE and SlimCAE code.

    The transform is orthonormal, so the set of functions is the same and only Adam's geometry changes.
    """

    basis: Tensor

    def __init__(self, size: int):
        super().__init__()
        self.register_buffer("basis", _rdft_basis(size), persistent=False)

    def forward(self, coefficients: Tensor) -> Tensor:
        """Kernel (A, B, k, k) from coefficients of the same shape."""
        return (coefficients.flatten(2) @ self.basis.to(coefficients)).view_as(coefficients)

    def right_inverse(self, kernel: Tensor) -> Tensor:
        """Coefficients of a kernel: the basis is orthonormal, so its transpose inverts it."""
        return (kernel.flatten(2) @ self.basis.to(kernel).t()).view_as(kernel)


@functools.cache
@torch.inference_mode(False)
def _rdft_basis(size: int) -> Tensor:
    """Orthonormal (k^2, k^2) matrix of the 2-D real Fourier basis: one row a coefficient, one column a tap."""
    rows = []
    axis = torch.arange(size, dtype=torch.float64, device="cpu")  # also where modules are made on the meta device
    for u in range(size):
        for v in range(size):
            phase = 2 * math.pi * (u * axis[:, None] + v * axis[None, :]) / size
            conjugate = ((-u) % size, (-v) % size)
            if (u, v) == conjugate:
                rows.append(torch.cos(phase) / size)
            elif (u, v) < conjugate:
                rows += [math.sqrt(2) / size * torch.cos(phase), math.sqrt(2) / size * torch.sin(phase)]
    return torch.stack(rows).flatten(1).float()


def store_kernels(module: nn.Module, kernel_param: str) -> None:
    """Choose what is trained for every convolution inside `module`: its taps ("direct") or "rdft" coefficients.

    Adam scales every trained number on its own, so training Fourier coefficients lets the smooth parts of a kernel move
    together. Seen once, not studied: at width 32 and learning rate 2e-3, one seed each, the loss on validation patches
    was 3.6 after 1,500 steps with coefficients, 4.8 after 1,500 and 3.8 after 3,000 with taps.
    """
    if kernel_param not in ("direct", "rdft"):
        raise UserError(f"codec.kernel_param is {kernel_param!r}; it can be direct or rdft.")
    if kernel_param == "rdft":
        use_rdft(module)


def use_rdft(module: nn.Module) -> None:
    """Re-parameterise every convolution kernel inside `module` by `RdftKernel`."""
    for layer in list(module.modules()):
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            parametrize.register_parametrization(layer, "weight", RdftKernel(layer.kernel_size[0]))

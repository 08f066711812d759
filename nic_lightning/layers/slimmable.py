"""Layers of which a narrower network uses the first channels (thesis section 3.3): sliced, never masked."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nic_lightning.errors import UserError
from nic_lightning.layers.convolution import subpixel, subpixel_pays
from nic_lightning.layers.gdn import GDN, LowerBound, nonnegative, normalise, to_storage
from nic_lightning.layers.modulation import ConditionalAffine
from nic_lightning.layers.precision import without_autocast


class SlimmableConv(nn.Conv2d):
    """Convolution with the first `channels_out` x (channels of the input) block of its kernel."""

    def forward(self, x: Tensor, channels_out: int) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """(N, c, H, W) -> (N, channels_out, H / stride, W / stride)."""
        weight = self.weight[:channels_out, : x.shape[1]]
        bias = None if self.bias is None else self.bias[:channels_out]
        return self._conv_forward(x, weight, bias)


class SlimmableDeconv(nn.ConvTranspose2d):
    """Transposed convolution with the first block of its kernel, whose first axis is the input's: (in, out, k, k)."""

    def forward(self, x: Tensor, channels_out: int) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """(N, c, H, W) -> (N, channels_out, H * stride, W * stride)."""
        weight = self.weight[: x.shape[1], :channels_out]
        bias = None if self.bias is None else self.bias[:channels_out]
        if channels_out <= 4 and self.stride[0] > 1 and subpixel_pays(x):
            return subpixel(x, weight, bias, self.stride[0])
        return F.conv_transpose2d(
            x, weight, bias, self.stride, self.padding, self.output_padding, self.groups, self.dilation  # pyright: ignore[reportArgumentType]
        )  # fmt: skip


class ConditionalConv(nn.Module):
    """A slimmable convolution without bias, then a scale and a bias a channel that belong to the width alone.

    Conditional convolutions (Choi et al. 2019) whose condition is the width: what is shared is sliced, what is
    switched is one row of numbers a level.
    """

    def __init__(self, convolution: nn.Module, levels: int):
        super().__init__()
        self.convolution = convolution
        self.affine = ConditionalAffine(convolution.out_channels, levels)  # pyright: ignore[reportArgumentType]

    def forward(self, x: Tensor, level: int, channels_out: int) -> Tensor:
        """(N, c, H, W) -> (N, channels_out, H', W')."""
        return self.affine(self.convolution(x, channels_out), level)


class SwitchGDN(nn.ModuleList):
    """A GDN of its own for every width (thesis figure 3.3a)."""

    def __init__(self, widths: Sequence[int], inverse: bool = False):
        super().__init__(GDN(width, inverse) for width in widths)

    def forward(self, x: Tensor, level: int) -> Tensor:
        """Normalise (N, widths[level], H, W)."""
        return self[level](x)

    def block(self, width: int, level: int) -> tuple[Tensor, Tensor]:
        """Gamma (w, w) and beta (w) of one width."""
        gdn: GDN = self[level]  # pyright: ignore[reportAssignmentType]
        return nonnegative(gdn.gamma), nonnegative(gdn.beta, gdn.beta_min)


class SlimGDN(GDN):
    """One GDN, of which width w uses beta[:w] and gamma[:w, :w] (thesis figure 3.3b)."""

    def __init__(self, widths: Sequence[int], inverse: bool = False):
        super().__init__(max(widths), inverse)

    def forward(self, x: Tensor, level: int) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Normalise (N, widths[level], H, W)."""
        with without_autocast(x.device.type):
            return normalise(x, *self.block(x.shape[1], level), self.inverse)

    def block(self, width: int, level: int) -> tuple[Tensor, Tensor]:
        """Gamma (w, w) and beta (w) of one width."""
        return nonnegative(self.gamma[:width, :width]), nonnegative(self.beta[:width], self.beta_min)


class SlimGDNPlus(SlimGDN):
    """SlimGDN with four switchable numbers a width that modulate the shared parameters (thesis figure 3.3c).

        gamma_k = s_gamma[k] gamma[:w, :w] + b_gamma[k]         beta_k = s_beta[k] beta[:w] + b_beta[k]

    From the released code, not in the text: the four are kept non-negative like gamma and beta, begin at s = 1, b = 0,
    and b_gamma is added to all w^2 entries. The code gives beta_k no floor; s_beta may reach 0, so ours has GDN's.
    """

    def __init__(self, widths: Sequence[int], inverse: bool = False):
        super().__init__(widths, inverse)
        one, zero = to_storage(torch.ones(len(widths))), to_storage(torch.zeros(len(widths)))
        self.gamma_scale, self.beta_scale = nn.Parameter(one.clone()), nn.Parameter(one.clone())
        self.gamma_shift, self.beta_shift = nn.Parameter(zero.clone()), nn.Parameter(zero.clone())

    def block(self, width: int, level: int) -> tuple[Tensor, Tensor]:
        """Modulated gamma (w, w) and beta (w) of one width."""
        gamma, beta = super().block(width, level)
        gamma = nonnegative(self.gamma_scale[level]) * gamma + nonnegative(self.gamma_shift[level])
        beta = nonnegative(self.beta_scale[level]) * beta + nonnegative(self.beta_shift[level])
        return gamma, LowerBound.apply(beta, self.beta_min)  # pyright: ignore[reportReturnType]


SLIMMABLE_GDN: dict[str, type[SwitchGDN] | type[SlimGDN]] = {
    "switch": SwitchGDN,
    "slim": SlimGDN,
    "slim+": SlimGDNPlus,
}
"""GDN variants by the name they have in configs."""


def slimmable_gdn(name: str) -> type[SwitchGDN] | type[SlimGDN]:
    """The variant that `codec.gdn` names; raises UserError for another name."""
    if name not in SLIMMABLE_GDN:
        raise UserError(f"codec.gdn is {name!r}; it can be {', '.join(SLIMMABLE_GDN)}.")
    return SLIMMABLE_GDN[name]


def rising_widths(widths: Sequence[int], option: str = "codec.widths") -> tuple[int, ...]:
    """`widths` as a tuple; raises UserError unless they are 1 to 16 positive whole numbers that rise."""
    whole = all(isinstance(w, int) and not isinstance(w, bool) and w > 0 for w in widths)
    if not whole or sorted(set(widths)) != list(widths) or not 1 <= len(widths) <= 16:
        raise UserError(f"{option} is {list(widths)}; give 1 to 16 positive whole numbers, rising.")
    return tuple(widths)

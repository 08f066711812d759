"""What a codec costs: parameters, multiply-accumulates and memory, counted without running it on data."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.utils.flop_counter import FlopCounterMode

from nic_lightning.codecs.base import OperatingPoint
from nic_lightning.codecs.learned import LearnedCodec
from nic_lightning.errors import UserError
from nic_lightning.layers.gdn import GDN

MIB = 2**20
FEATURE_LAYERS = (nn.Conv2d, nn.ConvTranspose2d, GDN)
"""Layers whose outputs count as features: the accounting of SlimCAE's tables; the input is left out."""


@dataclass(frozen=True)
class TransformCost:
    """One transform on one image: multiply-accumulates, also per pixel of the image, and float32 features."""

    macs: int
    macs_per_pixel: float
    features_mib: float


@dataclass(frozen=True)
class PointCost:
    """Both transforms at one operating point."""

    label: str
    analysis: TransformCost
    synthesis: TransformCost


@dataclass(frozen=True)
class Efficiency:
    """Costs of a codec at one image size. Parameters of `entropy_*` submodules are counted apart."""

    codec: str
    height: int
    width: int
    parameters: int
    entropy_parameters: int
    parameters_mib: float
    """Memory of `parameters` as float32, entropy models left out."""
    points: tuple[PointCost, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def measure(codec: LearnedCodec, size: tuple[int, int] = (512, 768)) -> Efficiency:
    """Count what `codec` costs on one image of `size` (H, W), at each of its operating points.

    Counted are `codec.analysis` and `codec.synthesis`, not hyper transforms. They run on a copy on the meta device, so
    a large size takes neither time nor memory. A multiply-accumulate is half of what FlopCounterMode counts. Images are
    padded as the codec pads them; costs per pixel are per pixel of the image itself.
    """
    if min(size) < 1:
        raise UserError(f"The image size {size[0]}x{size[1]} is not positive.")
    entropy = sum(p.numel() for name, p in codec.named_parameters() if _is_entropy(name))
    rest = sum(p.numel() for name, p in codec.named_parameters() if not _is_entropy(name))
    shapes = copy.deepcopy(codec).to("meta")
    points = tuple(_point_cost(shapes, point, size) for point in codec.operating_points)
    return Efficiency(codec.name, *size, rest, entropy, rest * 4 / MIB, points)


def _is_entropy(name: str) -> bool:
    return name.startswith("entropy_")


@torch.no_grad()
def _point_cost(codec: LearnedCodec, point: OperatingPoint, size: tuple[int, int]) -> PointCost:
    with parametrize.cached():
        for layer in codec.modules():  # kernels that are computed are so once, not for each image
            if parametrize.is_parametrized(layer, "weight"):
                _ = layer.weight
        x = codec.pad(torch.empty(1, 3, *size, device="meta"))
        y, analysis = _count(codec, lambda: codec.analysis(x, point), size)
        _, synthesis = _count(codec, lambda: codec.synthesis(y, point), size)
    return PointCost(point.label, analysis, synthesis)


def _count(codec: nn.Module, transform: Callable[[], Tensor], size: tuple[int, int]) -> tuple[Tensor, TransformCost]:
    values = 0

    def count_output(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
        nonlocal values
        values += output.numel()

    hooks = [m.register_forward_hook(count_output) for m in codec.modules() if isinstance(m, FEATURE_LAYERS)]
    try:
        with FlopCounterMode(display=False) as counter:
            out = transform()
    finally:
        for hook in hooks:
            hook.remove()
    macs = counter.get_total_flops() // 2
    return out, TransformCost(macs, macs / (size[0] * size[1]), values * 4 / MIB)


def table(cost: Efficiency) -> str:
    """The costs as text for a terminal."""
    lines = [
        f"{cost.codec}, one image of {cost.height}x{cost.width}; transforms g_a and g_s, hyper transforms left out",
        f"  parameters        {cost.parameters:>14,}  ({cost.parameters_mib:.2f} MiB as float32)",
        f"  of entropy models {cost.entropy_parameters:>14,}  (not in the line above)",
        "",
        f"  {'':>12}  {'analysis':^33}  {'synthesis':^33}",
        f"  {'point':>12}" + f"  {'GMAC':>9} {'kMAC/pixel':>11} {'features':>11}" * 2,
    ]
    for point in cost.points:
        cells = (
            f"  {t.macs / 1e9:>9.3f} {t.macs_per_pixel / 1e3:>11.3f} {t.features_mib:>7.2f} MiB"
            for t in (point.analysis, point.synthesis)
        )
        lines.append(f"  {point.label:>12}" + "".join(cells))
    return "\n".join(lines)

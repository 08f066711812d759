"""What a codec costs: parameters, multiply-accumulates and memory, counted without running it on data."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from nic_lightning.codecs.base import OperatingPoint
from nic_lightning.codecs.bottleneck_scaling import BottleneckScaling
from nic_lightning.codecs.cae import CompressiveAutoencoder
from nic_lightning.codecs.learned import LearnedCodec, in_entropy_model
from nic_lightning.codecs.slimmable import SlimmableAutoencoder
from nic_lightning.errors import UserError
from nic_lightning.layers.gdn import GDN
from nic_lightning.media.base import DEFAULT, find_medium, medium_of

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
    """Both transforms at one operating point; memory of float32 parameters, entropy models left out."""

    label: str
    analysis: TransformCost
    synthesis: TransformCost
    parameters: int
    """Those of `codec.standalone(point)`: the slices of a width, all parameters where nothing is sliced.

    Where it stays slimmable, as with hyperpriors, what narrower widths switch is counted, too: 0.2 % at default
    widths, 3 % with `gdn` "switch".
    """
    parameters_mib: float
    total_mib: float
    """Parameters of the whole codec and features of the analysis transform, as in thesis figure 3.10."""
    independent_mib: float | None
    """The same with an independent autoencoder for each width; None but for slimmable autoencoders of several."""
    thesis_mflop: float | None
    """What thesis table 3.2 calls FLOPs; None for codecs without the table's layers."""


@dataclass(frozen=True)
class Efficiency:
    """Costs of a codec at one image size. Parameters of `entropy_*` submodules are counted apart.

    Of codecs of clouds the height is 1 and the width the number of points, and what is said by pixel is by point.
    """

    codec: str
    height: int
    width: int
    parameters: int
    entropy_parameters: int
    parameters_mib: float
    """Memory of `parameters` as float32, entropy models left out."""
    points: tuple[PointCost, ...]
    medium: str = DEFAULT

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
    entropy = sum(p.numel() for name, p in codec.named_parameters() if in_entropy_model(name))
    whole, shapes = _parameters(codec), copy.deepcopy(codec).to("meta")
    size = shapes.counted_input(size)[1]
    used = {point.label: _parameters_of(shapes, point) for point in codec.operating_points}
    several = isinstance(codec, SlimmableAutoencoder) and len(used) > 1
    points = []
    for point in codec.operating_points:
        analysis, synthesis = _transform_costs(shapes, point, size)
        own, features = used[point.label], analysis.features_mib
        independent = _mib(sum(used.values())) + features if several else None
        points.append(
            PointCost(
                point.label, analysis, synthesis, own, _mib(own), _mib(whole) + features, independent,
                thesis_mflop(codec, point),
            )
        )  # fmt: skip
    return Efficiency(codec.name, *size, whole, entropy, _mib(whole), tuple(points), medium_of(codec).name)


def thesis_mflop(codec: LearnedCodec, point: OperatingPoint) -> float | None:
    """F(w) = 5018 w^2 + 78750 w, in millions: the "FLOPs" of thesis table 3.2, for autoencoders of its plain layers.

    It is what TensorFlow's profiler counts in the released code: 2 k^4 C_in C_out to make each kernel from its Fourier
    coefficients, and GDN's re-parameterisation. Convolutions are not in it, because their sizes were not fixed.
    """
    width: Any = None
    if isinstance(codec, SlimmableAutoencoder):
        width = point.width
    elif isinstance(codec, CompressiveAutoencoder | BottleneckScaling):
        width = codec.g_a.convs[0].out_channels
    return None if width is None else (5018 * width**2 + 78750 * width) / 1e6


def _parameters(codec: nn.Module) -> int:
    return sum(p.numel() for name, p in codec.named_parameters() if not in_entropy_model(name))


def _parameters_of(shapes: LearnedCodec, point: OperatingPoint) -> int:
    with torch.device("meta"):
        return _parameters(shapes.standalone(point)[0])


def _mib(values: int) -> float:
    return values * 4 / MIB


@torch.no_grad()
def _transform_costs(
    codec: LearnedCodec, point: OperatingPoint, size: tuple[int, int]
) -> tuple[TransformCost, TransformCost]:
    with parametrize.cached():
        for layer in codec.modules():  # kernels that are computed are so once, not for each image
            if parametrize.is_parametrized(layer, "weight"):
                _ = layer.weight
        x, _ = codec.counted_input(size)
        y, analysis = _count(codec, lambda: codec.analysis(x, point), size)
        given = codec.receiver_example(point)
        _, synthesis = _count(codec, lambda: codec.synthesis(y, point, **given), size)
    return analysis, synthesis


def _count(codec: nn.Module, transform: Callable[[], Tensor], size: tuple[int, int]) -> tuple[Tensor, TransformCost]:
    from torch.utils.flop_counter import FlopCounterMode  # imports Triton

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
    return out, TransformCost(macs, macs / (size[0] * size[1]), _mib(values))


def table(cost: Efficiency) -> str:
    """The costs as text for a terminal."""
    medium = find_medium(cost.medium)
    what = f"one {medium.name} of {cost.height}x{cost.width}"
    lines = [
        f"{cost.codec}, {what}; transforms g_a and g_s, hyper transforms left out",
        f"  parameters        {cost.parameters:>14,}  ({cost.parameters_mib:.2f} MiB as float32)",
        f"  of entropy models {cost.entropy_parameters:>14,}  (not in the line above)",
        "",
        f"  {'':>12}  {'analysis':^33}  {'synthesis':^33}",
        f"  {'point':>12}" + f"  {'GMAC':>9} {f'kMAC/{medium.unit}':>11} {'features':>11}" * 2,
    ]
    for point in cost.points:
        cells = (
            f"  {t.macs / 1e9:>9.3f} {t.macs_per_pixel / 1e3:>11.3f} {t.features_mib:>7.2f} MiB"
            for t in (point.analysis, point.synthesis)
        )
        lines.append(f"  {point.label:>12}" + "".join(cells))
    return "\n".join([*lines, "", *_memory(cost)])


def _memory(cost: Efficiency) -> list[str]:
    apart = any(p.independent_mib is not None for p in cost.points)
    thesis = any(p.thesis_mflop is not None for p in cost.points)
    head = f"  {'point':>12}  {'parameters used':>26}  {'total':>11}" + f"  {'independent':>11}" * apart
    lines = [head + f"  {'thesis FLOP':>11}" * thesis]
    for p in cost.points:
        line = f"  {p.label:>12}  {p.parameters:>14,} {p.parameters_mib:>7.2f} MiB  {p.total_mib:>7.2f} MiB"
        line += "" if p.independent_mib is None else f"  {p.independent_mib:>7.2f} MiB"
        lines.append(line + ("" if p.thesis_mflop is None else f"  {p.thesis_mflop:>9.2f} M"))
    lines.append("  total: parameters of the whole codec and features of the analysis; entropy models left out")
    if apart:
        lines.append("  independent: the same with a model of its own for each width")
    if thesis:
        lines.append("  thesis FLOP: the count of table 3.2, which has no convolution in it: not what an image costs")
    return lines

"""`nic bench slimmable`: what several widths in one model cost in training, and what a narrow one saves in use.

Both comparisons alternate in one process, so that a slow phase of the machine hits all sides, and are given as ratios
of the same round.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import torch
from torch import nn

from nic_lightning.analysis.efficiency import measure
from nic_lightning.analysis.latency import STAGES, photograph, spread, stage_times
from nic_lightning.analysis.sizes import parse_size
from nic_lightning.benchmarks.codec import LMBDA, training_step
from nic_lightning.benchmarks.timing import alternate, set_threads_and_seed
from nic_lightning.codecs.cae import CompressiveAutoencoder
from nic_lightning.codecs.slimmable import SlimmableAutoencoder
from nic_lightning.errors import counted


def main(widths: list[int], gdn: str, *, batch: int, crop: int, size: str, rounds: int, threads: int | None) -> None:
    """Print both comparisons, and what bounds them."""
    image, used = parse_size(size), counted(set_threads_and_seed(threads), "thread")
    print(f"{gdn}, {used}, torch {torch.__version__}, medians of {rounds} rounds, quartiles")
    print(training(widths, gdn, torch.rand(batch, 3, crop, crop), rounds))
    print(coding(widths, gdn, image, rounds))


def training(widths: list[int], gdn: str, crops: torch.Tensor, rounds: int) -> str:
    """A step over all widths against a step of each width's own autoencoder, all on the same crops."""
    joint = training_step(SlimmableAutoencoder(widths, LMBDA, gdn))
    apart = [training_step(CompressiveAutoencoder(width, LMBDA)) for width in widths]
    together, *times = alternate(rounds, crops, joint, *apart)
    summed = [sum(one) for one in zip(*times, strict=True)]
    shares = ", ".join(f"{1e3 * statistics.median(t):.0f}" for t in times)
    return (
        f"training step, {len(crops)} crops of {crops.shape[-1]}, widths {', '.join(map(str, widths))}: "
        f"one slimmable model {1e3 * statistics.median(together):.0f} ms, as many autoencoders "
        f"{1e3 * statistics.median(summed):.0f} ms ({shares}), ratio {_ratio(together, summed)}\n"
        "  bound: the same products on both sides; one model saves optimiser steps, and pays for gradients of slices"
    )


def coding(widths: list[int], gdn: str, size: tuple[int, int], rounds: int) -> str:
    """The narrowest width against the widest: transforms, and entropy coding apart."""
    codec = SlimmableAutoencoder(widths, LMBDA, gdn)
    with torch.no_grad():
        last: nn.Conv2d = codec.g_a[2]  # pyright: ignore[reportAssignmentType]
        last.weight.mul_(30)  # latents spread over several symbols, about as in a trained model
    codec.eval().requires_grad_(False).update_tables()
    x, points = photograph(size), (codec.operating_points[0], codec.operating_points[-1])
    pairs = [[stage_times(codec, x, point) for point in points] for _ in range(rounds + 1)][1:]
    costs = measure(codec, size).points
    lines = [f"one image of {size[0]}x{size[1]}, width {widths[0]} against {widths[-1]}:"]
    for stage in STAGES:
        fast, slow = ([pair[i][stage] for pair in pairs] for i in (0, 1))
        middles = statistics.median(fast), statistics.median(slow)
        line = f"  {stage}: {middles[0]:.1f} ms against {middles[1]:.1f} ms, {_ratio(slow, fast)} times faster"
        if stage in ("analysis", "synthesis"):
            few, many = getattr(costs[0], stage), getattr(costs[-1], stage)
            fewer, smaller = many.macs / few.macs, many.features_mib / few.features_mib
            pace = few.macs / 1e6 / middles[0], many.macs / 1e6 / middles[1]
            line += (
                f"\n    bound: {fewer:.1f} times fewer multiply-accumulates, {pace[0]:.1f} and {pace[1]:.1f} billion "
                f"of them a second; features {smaller:.1f} times smaller"
            )
        lines.append(line)
    lines.append("  encoding, decoding: entropy coding alone")
    return "\n".join(lines)


def _ratio(above: Sequence[float], below: Sequence[float]) -> str:
    found = spread([a / b for a, b in zip(above, below, strict=True)])
    return f"{found.median:.2f} ({found.low:.2f} to {found.high:.2f})"

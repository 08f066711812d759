"""What tables that are adapted to each image cost: coding with them and with static ones, in turns."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from nic_lightning.analysis.latency import photograph
from nic_lightning.benchmarks.timing import alternate, set_threads_and_seed
from nic_lightning.codecs.encoding_distribution import EncodingDistribution
from nic_lightning.entropy.adapted import AdaptedBottleneck
from nic_lightning.entropy.factorised import EntropyBottleneck
from nic_lightning.errors import counted

IMAGE, LATENTS = (512, 768), (32, 48)
"""Pixels of the image, and latents of a channel."""
WIDTH = 192
"""Of the autoencoder."""
NETWORKS = {256: (192, {"hidden": 32, "side": 16}), 1024: (320, {"hidden": 64, "side": 32})}
"""Latent channels and networks of the paper, by bins."""


def main(rounds: int, threads: int | None) -> None:
    """Print milliseconds of both, as medians, and ratios of the same round."""
    used = set_threads_and_seed(threads)
    print(f"one image of 512x768, {counted(used, 'thread')}, medians of {counted(rounds, 'round')}")
    _print(f"autoencoder of width {WIDTH}, 256 bins, transforms included", whole_codec(WIDTH), rounds)
    for bins, (channels, options) in NETWORKS.items():
        _print(f"latents alone, {channels} channels, {bins} bins", latents_alone(bins, channels, options), rounds)


@torch.no_grad()
def whole_codec(width: int) -> dict[str, Callable[[Tensor], object]]:
    """An image compressed and decompressed, with static and with adapted tables."""
    config = {"_target_": "nic_lightning.codecs.cae.CompressiveAutoencoder", "width": width}
    codec = EncodingDistribution(config)
    (adapted,) = codec.bottlenecks.values()
    codec.update_tables()
    _always(adapted)
    static, x = EncodingDistribution(config), photograph(IMAGE)
    static.adopt_codec(codec)
    static.base.entropy_y = static_twin(adapted)  # pyright: ignore[reportAttributeAccessIssue]
    calls: dict[str, Callable[[Tensor], object]] = {}
    for kind, one in (("static", static.base.eval()), ("adapted", codec.eval())):
        point = one.operating_points[0]
        calls[f"compress, {kind}"] = lambda _, one=one, point=point: one.compress(x, point)
        calls[f"decompress, {kind}"] = partial(_decompress, one, one.compress(x, point), point)
    return calls


def _decompress(codec: Any, encoded: Any, point: Any, _: Tensor) -> None:
    codec.decompress(encoded, point)


def static_twin(adapted: AdaptedBottleneck) -> EntropyBottleneck:
    """A bottleneck with the static tables and medians of an adapted one."""
    static = EntropyBottleneck(adapted.channels, steps=adapted.steps)
    with torch.no_grad():
        static.quantiles[:, 0, 1] = adapted.centres
    for name in ("_offset", "_quantized_cdf", "_cdf_length"):
        setattr(static, name, getattr(adapted, name).clone())
    return static


@torch.no_grad()
def latents_alone(bins: int, channels: int, options: dict[str, int]) -> dict[str, Callable[[Tensor], object]]:
    """Latents of many widths encoded and decoded, and the tables made."""
    static, adapted, y = models(bins, channels, options)
    calls: dict[str, Callable[[Tensor], object]] = {}
    for kind, model in (("static", static), ("adapted", adapted)):
        string = model.encode(y)[0]
        calls[f"encode, {kind}"] = lambda _, model=model: model.encode(y)
        calls[f"decode, {kind}"] = lambda _, model=model, string=string: model.decode(string, LATENTS)
    q = adapted.plan(y).q
    calls["tables of q"] = lambda _: adapted._adapted(q, LATENTS[0] * LATENTS[1], 1.0)
    return calls


def models(bins: int, channels: int, options: dict[str, int]) -> tuple[EntropyBottleneck, AdaptedBottleneck, Tensor]:
    """A bottleneck with static tables, one that sends its own with every image, and latents (1, channels, h, w)."""
    static = EntropyBottleneck(channels)
    static.update()
    adapted = AdaptedBottleneck(static, bins=bins, **options)
    adapted.update()
    widths = torch.logspace(-1, 1, channels)[:, None, None]
    return (
        static,
        _always(adapted.eval()),
        widths * torch.distributions.Laplace(0.0, 1.0).sample((1, channels, *LATENTS)),
    )


def _always(adapted: AdaptedBottleneck) -> AdaptedBottleneck:
    """Sends its tables also where they do not pay, as those of untrained networks."""
    adapted._pays = lambda rates: True
    return adapted


@torch.no_grad()
def _print(title: str, calls: dict[str, Callable[[Tensor], object]], rounds: int) -> None:
    times = dict(zip(calls, alternate(rounds, torch.empty(0), *calls.values()), strict=True))
    print(f"\n{title}")
    for name, series in sorted(times.items()):
        line = f"{name:22}{1e3 * statistics.median(series):9.2f} ms"
        static = times.get(name.replace("adapted", "static"))
        if static is not None and static is not series:
            ratios = [a / b for a, b in zip(series, static, strict=True)]
            line += f"   {statistics.median(ratios):.3f} of static"
        print(line)

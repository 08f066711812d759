"""`nic bench evaluation`: a data set measured by our evaluation and by CompressAI's `eval_model`, alternating.

Both sides write and read the bits of the same images with the same layers and weights, and take bits per pixel, PSNR
and MS-SSIM. Ours also packs and unpacks files, compares the latents of decoder and encoder, estimates the rate and
keeps a table; CompressAI's takes one thread, as its program does.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nic_lightning.benchmarks.codec import Peer, with_weights_of
from nic_lightning.benchmarks.timing import alternate, set_threads_and_seed
from nic_lightning.callbacks.crew import usual_size
from nic_lightning.callbacks.evaluation import evaluate_into_run
from nic_lightning.codecs.learned import LearnedCodec
from nic_lightning.data.datasets import ImageFolder
from nic_lightning.errors import DataError, counted

MAX_DIFFERENCE = {"psnr": 0.01, "ms_ssim": 1e-4, "bpp": 0.01}
"""By how much means of the two sides may differ; bpp as a share: our files have a header."""
THEIR_NAMES = {"psnr": "psnr-rgb", "ms_ssim": "ms-ssim-rgb", "bpp": "bpp"}


class FilePeer(Peer):
    """The peer with the two methods that CompressAI's evaluation calls, as its FactorizedPrior has them."""

    def compress(self, x: Tensor) -> dict[str, Any]:
        """Strings of images (N, 3, H, W), and the size of their latents."""
        y = self.g_a(x)
        return {"strings": [self.entropy_bottleneck.compress(y)], "shape": y.size()[-2:]}

    def decompress(self, strings: list[list[bytes]], shape: tuple[int, int]) -> dict[str, Tensor]:
        """Images of strings."""
        return {"x_hat": self.g_s(self.entropy_bottleneck.decompress(strings[0], shape)).clamp_(0, 1)}


def main(width: int, images: int, rounds: int, workers: int | None, threads: int | None) -> None:
    """Print seconds of both, as medians, and ratios of the same round."""
    used = set_threads_and_seed(threads)
    name, paths = kodak_or_embedded(images)
    peer = FilePeer(width)
    codec = with_weights_of(peer, width)
    found: dict[str, Mapping[str, float]] = {}

    def theirs(_: Tensor, estimated: bool) -> None:
        means = by_compressai(peer, paths, estimated)
        if not estimated:
            found["theirs"] = means

    def ours(_: Tensor, workers: int | None) -> None:
        torch.set_num_threads(used)
        found["ours"] = by_us(codec, name, len(paths), workers)

    calls = {
        "CompressAI, real bits": partial(theirs, estimated=False),
        "CompressAI, estimated bits": partial(theirs, estimated=True),
        "ours, one process": partial(ours, workers=1),
        "ours": partial(ours, workers=workers),
    }
    shown = workers or usual_size(len(paths))
    print(
        f"{counted(len(paths), 'image')} of {name}, width {width}, {counted(used, 'thread')}, torch {torch.__version__}"
    )
    times = dict(zip(calls, alternate(rounds, torch.empty(0), *calls.values(), warm_up=1), strict=True))
    first = times["CompressAI, real bits"]
    for title, series in times.items():
        ratios = [b / a for a, b in zip(first, series, strict=True)]
        print(
            f"{title}{f' (up to {shown} processes)' if title == 'ours' else ''}: {statistics.median(series):.2f} s, "
            f"ratio {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"
        )
    print(compared(found["ours"], found["theirs"]))


def kodak_or_embedded(count: int) -> tuple[str, list[Path]]:
    """Kodak where it is below the data root, else the embedded photographs; the first `count` files."""
    try:
        name, folder = "kodak", ImageFolder("kodak")
    except DataError:
        name, folder = "embedded", ImageFolder("embedded")
    return name, folder.paths[:count]


def by_compressai(peer: FilePeer, paths: list[Path], estimated: bool) -> Mapping[str, float]:
    """Means over images of what CompressAI's `eval_model` measures, under our names."""
    from compressai.utils.eval_model.__main__ import eval_model

    torch.set_num_threads(1)  # as its module does when it is imported
    options = {"half": False, "per_image": False, "architecture": "bmshj2018-factorized"}
    means = eval_model(peer, Path(), Path(), paths, entropy_estimation=estimated, **options)
    return {key: means[name] for key, name in THEIR_NAMES.items()}


def by_us(codec: LearnedCodec, dataset: str, count: int, workers: int | None) -> Mapping[str, float]:
    """Means over images of what an evaluation into a run folder finds."""
    given = {"run": "bench", "experiment": "bench", "save_images": 0}
    with tempfile.TemporaryDirectory() as folder:
        rows = evaluate_into_run(codec, Path(folder), datasets=[dataset], limit=count, workers=workers, **given)
    return {key: statistics.fmean(row[key] for row in rows if row[key] is not None) for key in THEIR_NAMES}


def compared(ours: Mapping[str, float], theirs: Mapping[str, float]) -> str:
    """A sentence on the measured values of both; they have to be the same."""
    far = [
        key
        for key, most in MAX_DIFFERENCE.items()
        if not abs(ours[key] - theirs[key]) <= most * (theirs[key] if key == "bpp" else 1)
    ]
    values = ", ".join(f"{key} {ours[key]:.4f} and {theirs[key]:.4f}" for key in MAX_DIFFERENCE)
    return f"Values of both: {values}{f'; they differ in {far}' if far else ''}."

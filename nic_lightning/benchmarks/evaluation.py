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
from nic_lightning.media.image.png import save_png

MAX_DIFFERENCE = {"psnr": 0.01, "ms_ssim": 1e-4, "bpp": 0.002}
"""By how much means of the two sides may differ; our files have a header, of 0.001 bits per pixel and less."""
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
    peer = FilePeer(width)
    codec = with_weights_of(peer, width)
    found: dict[str, Mapping[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        name, paths = kodak_or_embedded(images, Path(folder))

        def theirs(_: Tensor, estimated: bool) -> None:
            means = by_compressai(peer, paths, estimated)
            if not estimated:
                found["theirs"] = means

        def ours(_: Tensor, workers: int | None) -> None:
            torch.set_num_threads(used)
            found["ours"] = by_us(codec, Path(folder), workers)

        calls = {
            "CompressAI, real bits": partial(theirs, estimated=False),
            "CompressAI, estimated bits": partial(theirs, estimated=True),
            "ours, one process": partial(ours, workers=1),
            f"ours, processes: {workers or usual_size(images)}": partial(ours, workers=workers),
        }
        of = f"{counted(len(paths), 'image')} of {name}, width {width}"
        print(f"{of}, {counted(used, 'thread')}, torch {torch.__version__}, medians of {counted(rounds, 'round')}")
        times = dict(zip(calls, alternate(rounds, torch.empty(0), *calls.values(), warm_up=1), strict=True))
    first = next(iter(times.values()))
    for title, series in times.items():
        ratios = [b / a for a, b in zip(first, series, strict=True)]
        print(
            f"{title}: {statistics.median(series):.2f} s, ratio {statistics.median(ratios):.3f} "
            f"({min(ratios):.3f} to {max(ratios):.3f})"
        )
    print(compared(found["ours"], found["theirs"]))


def kodak_or_embedded(count: int, folder: Path) -> tuple[str, list[Path]]:
    """The first images of Kodak, where it is below the data root, else of the embedded photographs, put into a folder.

    Their sides are cut to multiples of 64: both sides pad others, and in different ways.
    """
    try:
        name, images = "kodak", ImageFolder("kodak", limit=count)
    except DataError:
        name, images = "embedded", ImageFolder("embedded", limit=count)
    for item, image in images:
        save_png(image[:, : image.shape[-2] // 64 * 64, : image.shape[-1] // 64 * 64], folder / f"{item}.png")
    return name, sorted(folder.glob("*.png"))


def by_compressai(peer: FilePeer, paths: list[Path], estimated: bool) -> Mapping[str, float]:
    """Means over images of what CompressAI's `eval_model` measures, under our names."""
    from compressai.utils.eval_model.__main__ import eval_model

    torch.set_num_threads(1)  # as its module does when it is imported
    options = {"half": False, "per_image": False, "architecture": "bmshj2018-factorized"}
    means = eval_model(peer, Path(), Path(), paths, entropy_estimation=estimated, **options)
    return {key: means[name] for key, name in THEIR_NAMES.items()}


def by_us(codec: LearnedCodec, images: Path, workers: int | None) -> Mapping[str, float]:
    """Means over images of what an evaluation into a run folder finds."""
    with tempfile.TemporaryDirectory() as folder:
        given = {"run": "bench", "experiment": "bench", "save_images": 0, "datasets": [str(images)]}
        rows = evaluate_into_run(codec, Path(folder), workers=workers, **given)
    return {key: statistics.fmean(row[key] for row in rows if row[key] is not None) for key in THEIR_NAMES}


def compared(ours: Mapping[str, float], theirs: Mapping[str, float]) -> str:
    """A sentence on the measured values of both; they have to be the same."""
    far = [key for key, most in MAX_DIFFERENCE.items() if not abs(ours[key] - theirs[key]) <= most]
    values = ", ".join(f"{key} {ours[key]:.4f} and {theirs[key]:.4f}" for key in MAX_DIFFERENCE)
    return f"Values of both: {values}{f'; they differ in {far}' if far else ''}."

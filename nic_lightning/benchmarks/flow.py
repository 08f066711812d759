"""Every step of the flow matcher, its pipelines, and other programs, on this machine.

Processor time counts all threads, so it hardly depends on what else runs; wall time does. Bounds are measured in the
same run: the product of large matrices, and the maximum of an array far larger than the caches.
"""

from __future__ import annotations

import gc
import json
import resource
import statistics
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from nic_lightning.analysis.sizes import parse_size
from nic_lightning.benchmarks.flow_on_device import device_steps
from nic_lightning.benchmarks.timing import Timing, once, timed
from nic_lightning.errors import counted
from nic_lightning.flow.settings import preset

OPENCV = ("dis_medium", "farneback", "deepflow")


def main(
    size: str, *, max_displacement: int, repeats: int, threads: int, device: str | None, raft: bool, as_json: bool
) -> None:
    """Time the steps, then the pipelines and the peers in turn; print a table, or JSON."""
    width, height = parse_size(size, "width x height")
    preset("simplified", max_displacement=max_displacement)  # refuses one that no pipeline takes
    _set_threads(threads)
    frames = moving_frames(height, width)
    say = (lambda text: None) if as_json else print
    say(f"{size}, +-{max_displacement} px, {counted(threads, 'thread')}, medians of {repeats}")
    say(f"{'':34}{'wall s':>8}{'core-s':>8}  rate, and the bound that limits it")
    rows = []
    for part in (_steps, partial(device_steps, name=device), partial(_pipelines_and_peers, raft=raft)):
        for row in part(frames, max_displacement, repeats):
            rows.append(row)
            say(f"{row['name']:34}{row['wall']:8.2f}{row['core']:8.2f}  {row.get('rate', '')}")
        gc.collect()  # volumes of one part
        rows[-1]["peak_gib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
        say(f"Peak memory so far: {rows[-1]['peak_gib']:.2f} GiB")
    if as_json:
        print(json.dumps({"size": size, "threads": threads, "rows": rows}))


def moving_frames(height: int, width: int, count: int = 5) -> list[np.ndarray]:
    """A texture of several scales that moves by (6, -3) pixels a frame, (H, W, 3) uint8."""
    import cv2

    random, border = np.random.default_rng(0), 6 * count
    texture = np.zeros((height + 2 * border, width + 2 * border, 3), np.float32)
    for scale in (1, 4, 16, 64):
        small = random.normal(size=(texture.shape[0] // scale + 2, texture.shape[1] // scale + 2, 3))
        texture += cv2.resize(small.astype(np.float32), texture.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    texture = np.clip(128 + 32 * texture, 0, 255).astype(np.uint8)
    starts = [(border + 3 * t, border - 6 * t) for t in range(count)]
    return [np.ascontiguousarray(texture[y : y + height, x : x + width]) for y, x in starts]


def _set_threads(threads: int) -> None:
    import cv2
    import numba
    import torch

    torch.set_num_threads(threads)
    numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))  # pyright: ignore
    cv2.setNumThreads(threads)


def _bounds(repeats: int) -> tuple[float, float]:
    """GFLOP and GB of reading, for each second of one core."""
    import torch

    matrix, array = torch.ones(1536, 1536), torch.ones(1 << 28, dtype=torch.uint8).view(torch.int64)
    product = timed(lambda: matrix @ matrix, repeats)["core"]
    read = timed(lambda: array.max(), repeats)["core"]
    return 2 * 1536**3 / product / 1e9, (1 << 28) / read / 1e9


def _steps(frames: list[np.ndarray], max_displacement: int, repeats: int) -> Iterator[Timing]:
    from nic_lightning.flow.cost_volume import match
    from nic_lightning.flow.features import FeatureNetwork, extract
    from nic_lightning.flow.filtering import BilateralFilter, filter_costs
    from nic_lightning.flow.refinement import refine
    from nic_lightning.flow.semi_global_matching import Potts, semi_global_matching, sums_shape, winner_takes_all
    from nic_lightning.flow.triple import MINIMUM, add_forward

    flops, bandwidth = _bounds(repeats)
    network = FeatureNetwork().eval()
    views = [extract(network, frame, 3) for frame in frames[:2]]
    first, second = (view.features for view in views)
    height, width, radius = *first.shape[:2], max_displacement // 3
    n = 2 * radius + 1
    volume, reverse = np.empty((2, height, width, n, n), np.uint8)
    sums = np.empty(sums_shape(volume.shape), np.uint16)
    reached = [sum(max(0, size - abs(d)) for d in range(-radius, radius + 1)) for size in (height, width)]
    work = 2 * 64 * reached[0] * reached[1] / 1e9
    convolutions = 2 * 112_320 * height * width / 1e9
    cells, labels = volume.size / 1e9, 4 * volume.size / 1e9
    flow = np.zeros((*frames[0].shape[:2], 2), np.float32)

    triple = lambda: add_forward(volume, first, second, MINIMUM)  # noqa: E731
    steps = [
        ("features, one frame", lambda: extract(network, frames[0], 3), convolutions, "GFLOP/core-s", flops),
        ("cost volume", lambda: match(first, second, radius, volume), work, "GFLOP/core-s", flops),
        ("cost volumes of both frames", lambda: match(first, second, radius, volume, reverse), work,
            "GFLOP/core-s", flops),
        ("cost volume, least of two", triple, work, "GFLOP/core-s", flops),
        ("winner takes all", lambda: winner_takes_all(volume), cells, "GB/core-s", bandwidth),
        ("bilateral filter, 7x7", lambda: filter_costs(volume, views[0].image, BilateralFilter()), 49 * cells,
            "G taps/core-s"),
        ("semi-global matching", lambda: semi_global_matching(volume, views[0].luma, Potts(), sums), 4 * labels,
            f"GB/core-s ({labels:.1f} G updates)", bandwidth),
        ("variational refinement", lambda: refine(frames[0], frames[1], flow)),
    ]  # fmt: skip
    yield from (_row(repeats, *step) for step in steps)


def _row(
    repeats: int, name: str, call: Callable[[], object], amount: float = 0, unit: str = "", bound: float = 0
) -> Timing:
    """Times of a step that does `amount` of work, in `unit` times core-seconds, of which `bound` are possible."""
    timing = timed(call, repeats)
    rate = amount / timing["core"]
    share = f" of {bound:.1f}" if bound else ""
    return {"name": name, **timing, "rate": f"{rate:.2f}{share} {unit}" if unit else ""}


def _pipelines_and_peers(frames: list[np.ndarray], max_displacement: int, repeats: int, raft: bool) -> list[Timing]:
    """Pipelines and others in turn, round by round, so that all meet the same machine."""
    from nic_lightning.baselines.flow_peers import OpenCvFlow
    from nic_lightning.flow.features import FeatureNetwork
    from nic_lightning.flow.pipeline import Pipeline

    network = FeatureNetwork().eval()
    full, narrow = (preset("simplified", ratio=3, max_displacement=reach) for reach in (max_displacement, "auto"))
    runs = {
        "simplified, a lone triple": Pipeline(full, network).run,
        "simplified, range auto": Pipeline(narrow, network).run,
        **{name: OpenCvFlow(name).run for name in OPENCV},
    }
    calls: dict[str, Callable[[], object]] = {name: partial(run, *frames[:3]) for name, run in runs.items()}
    if raft:
        calls["raft_large, random weights"] = _raft(frames)
    times: dict[str, list[Timing]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            times[name].append(timed(call, 1) if not times[name] else once(call))
    runs.clear()
    calls.clear()
    gc.collect()  # their volumes: those of a sequence need the place
    times["simplified, a frame of a sequence"] = _sequence(Pipeline(full, network), frames, repeats)
    return [
        {"name": name} | {key: statistics.median(found[key] for found in all_found) for key in ("wall", "core")}
        for name, all_found in times.items()
    ]


def _sequence(pipeline: Any, frames: list[np.ndarray], repeats: int) -> list[Timing]:
    """Each frame of a sequence but the first two, which touch the memory."""
    results = pipeline.sequence(frames[t % len(frames)] for t in range(repeats + 3))
    next(results)
    next(results)
    return [once(lambda: next(results)) for _ in range(repeats)]


def _raft(frames: list[np.ndarray]) -> Callable[[], object]:
    import torch
    from torchvision.models.optical_flow import raft_large

    from nic_lightning.baselines.flow_peers import RaftFlow

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "random.pth"
        torch.save(raft_large(weights=None).state_dict(), path)
        peer = RaftFlow("raft_large", str(path))
    return partial(peer.run, *frames[:3])

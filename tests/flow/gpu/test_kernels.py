"""Matching with torch against numba: the same integers, on the processor and, where there is one, on a GPU."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from nic_lightning.errors import UserError
from nic_lightning.flow import cost_volume, filtering, memory, semi_global_matching, triple
from nic_lightning.flow import matching as matching_module
from nic_lightning.flow.features import FeatureNetwork, Frame, extract
from nic_lightning.flow.filtering import BilateralFilter
from nic_lightning.flow.gpu import cost_volume as gpu_cost_volume
from nic_lightning.flow.gpu import filtering as gpu_filtering
from nic_lightning.flow.gpu.kernels import TorchKernels
from nic_lightning.flow.gpu.precision import whole_float32
from nic_lightning.flow.kernels import NumbaKernels, kernels_for
from nic_lightning.flow.matching import Matching
from nic_lightning.flow.memory import Plan, plan
from nic_lightning.flow.pipeline import Pipeline
from nic_lightning.flow.range import find_radius
from nic_lightning.flow.results import Result, Window
from nic_lightning.flow.semi_global_matching import LARGEST_PENALTY, Potts, TruncatedL1
from nic_lightning.flow.settings import FlowConfig, preset

GPU = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")]


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=GPU)])
def kernels(request) -> TorchKernels:
    return TorchKernels(torch.device(request.param))


def exact_features(seed: int, height: int, width: int) -> np.ndarray:
    """Features whose products are multiples of 1/64 from -1 to 1, so that no order of summing rounds."""
    return np.random.default_rng(seed).choice(np.float32([-1, 0, 1]) / 8, (height, width, 64)).astype(np.float32)


@pytest.mark.parametrize(("height", "width", "radius"), [(12, 75, 4), (20, 9, 11), (9, 10, 1)])
def test_costs_are_those_of_numba(kernels, monkeypatch, height, width, radius):
    monkeypatch.setattr(gpu_cost_volume, "COLUMNS", 48)
    monkeypatch.setattr(gpu_cost_volume, "SCORES", 15000)
    monkeypatch.setattr(gpu_cost_volume, "PIECE", 4000)
    frames = [exact_features(seed, height, width) for seed in range(3)]
    there = [kernels.load(frame) for frame in frames]
    assert kernels.load(frames[0]) is there[0]
    n = 2 * radius + 1
    both = np.empty((2, height, width, n, n), np.uint8)
    cost_volume.match(*frames[:2], radius, *both, outside=100)
    found = kernels.empty(both[0].shape, 8), kernels.empty(both[0].shape, 8)
    kernels.match(*there[:2], radius, *found, outside=100)
    for volume, wanted in zip(found, both, strict=True):
        np.testing.assert_array_equal(kernels.copy(volume), wanted)
    strip = kernels.match(there[0][2:8], there[1], radius, top=2)
    np.testing.assert_array_equal(kernels.copy(strip), cost_volume.match(frames[0][2:8], frames[1], radius, top=2))
    for lambdas in ((0, 0, 1), (1, 0, 0), (0.3, 0.5, 0.4)):
        wanted = triple.triple_cost_volume(*frames, radius, lambdas)
        found = kernels.empty(wanted.shape, 8)
        triple.triple_cost_volume(*there, radius, lambdas, found, match=kernels.match)
        np.testing.assert_array_equal(kernels.copy(found), wanted)
        forward, backward = (kernels.match(there[1], other, radius) for other in (there[2], there[0]))
        np.testing.assert_array_equal(kernels.copy(kernels.combine(forward, backward, lambdas)), wanted)
        np.testing.assert_array_equal(kernels.copy(cost_volume.mirror_border(found)), cost_volume.mirror_border(wanted))


def test_rounding_may_move_a_cost_by_one_level(kernels):
    random = np.random.default_rng(3)
    first, second = random.normal(size=(2, 30, 60, 64)).astype(np.float32)
    first, second = (one / np.linalg.norm(one, axis=-1, keepdims=True) for one in (first, second))
    second[:, 30:] = first[:, 30:]  # costs of 0, where products exceed 1
    found = kernels.copy(kernels.match(kernels.load(first), kernels.load(second), 6)).astype(int)
    difference = np.abs(found - cost_volume.match(first, second, 6))
    assert difference.max() <= 1
    assert np.count_nonzero(difference) < 1e-4 * difference.size


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(
    "smoothness",
    [Potts(3, 11), Potts(7, LARGEST_PENALTY), Potts(0, 0), TruncatedL1(7, 3), TruncatedL1(500, 32), TruncatedL1(1, 1)],
)
def test_labels_are_those_of_numba(kernels, smoothness, last):
    random = np.random.default_rng(5)
    for (height, width, n), levels in (((6, 7, 5), 255), ((9, 30, 5), 6), ((1, 12, 3), 255), ((13, 4, 9), 40)):
        volume = random.integers(0, levels, (height, width, n, n), dtype=np.uint8)
        luma = random.choice([0.3, 0.31, 0.5], (height, width)).astype(np.float32)
        wanted = semi_global_matching.semi_global_matching(volume, luma, smoothness, reversed_labels=last)
        there = torch.from_numpy(volume).to(kernels.device)
        sums = kernels.empty(volume.shape, 16).fill_(-1)
        np.testing.assert_array_equal(kernels.semi_global_matching(there, luma, smoothness, sums, last), wanted)
        cheapest = semi_global_matching.winner_takes_all(volume, last)
        np.testing.assert_array_equal(kernels.winner_takes_all(there, last), cheapest)


def test_products_are_of_whole_float32_on_a_gpu():
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    try:
        torch.set_float32_matmul_precision("medium")
        with whole_float32(torch.device("cuda")):
            assert torch.get_float32_matmul_precision() == "highest"
            assert not torch.backends.cudnn.allow_tf32
        assert torch.get_float32_matmul_precision() == "medium"
        assert torch.backends.cudnn.allow_tf32 == before[1]
    finally:
        torch.set_float32_matmul_precision(before[0])


def test_filtered_costs_are_those_of_numba(kernels, monkeypatch):
    monkeypatch.setattr(gpu_filtering, "CELLS", 1500)
    random = np.random.default_rng(8)
    volume = random.integers(0, 256, (14, 18, 7, 7), dtype=np.uint8)
    image = random.random((14, 18, 3)).astype(np.float32)
    image[:, 9:] = 0.5
    for settings in (BilateralFilter(), BilateralFilter(1, 9, 0.3), BilateralFilter(5, 3, 2)):
        there = torch.from_numpy(volume.copy()).to(kernels.device)
        found = kernels.copy(kernels.filter_costs(there, image, settings))
        np.testing.assert_array_equal(found, filtering.filter_costs(volume.copy(), image, settings))


def frames_of_features(count: int, height: int = 40, width: int = 12) -> list[Frame]:
    random = np.random.default_rng(9)
    pictures = [random.random((height, width, 3)).astype(np.float32) for _ in range(count)]
    features = [exact_features(20 + t, height, width) for t in range(count)]
    return [Frame(picture, one, picture, picture[..., 0]) for picture, one in zip(pictures, features, strict=True)]


@pytest.mark.parametrize("strategy", ["check", "three_frames", "two_weightings"])
def test_matching_gives_the_same_labels_whole_and_in_strips(kernels, monkeypatch, strategy):
    for module in (memory, matching_module):
        monkeypatch.setattr(module, "OVERLAP", 3)
    frames = frames_of_features(4)
    windows = [Window(None, *frames[:3]), Window(*frames)]
    for rows, smoothness in ((40, Potts(7, 60)), (11, TruncatedL1(7, 3))):
        config = FlowConfig(strategy=strategy, smoothness=smoothness, cost_filter=BilateralFilter())
        monkeypatch.setattr(matching_module, "plan", lambda *size, rows=rows: Plan(*size[:3], rows))
        found = []
        for one in (NumbaKernels(), kernels):
            matching, labels = Matching(config, one, keep_volumes=False), []
            for window, carried in zip(windows, (False, True), strict=True):
                labels.append(matching.labels(window, 2, strategy == "check", carried, Result()))
                further = matching.other_labels if strategy == "two_weightings" else matching.backward_labels
                if strategy != "check":  # backward labels change the costs that are carried on
                    labels.append(further(window, Result()))
            assert matching._whole == (rows == 40)
            found.append(labels)
        for ours, wanted in zip(*found, strict=True):
            np.testing.assert_array_equal(ours, wanted)


def test_a_pipeline_runs_on_the_device(kernels):
    network = FeatureNetwork().eval().requires_grad_(False)
    random = np.random.default_rng(2)
    texture = random.integers(0, 256, (90, 140, 3), dtype=np.uint8)
    frames = [texture[10 + 3 * t : 70 + 3 * t, 20 - 6 * t + 20 : 110 - 6 * t + 20] for t in range(4)]
    config = preset("simplified", ratio=3, max_displacement=12, refinement=None)
    wanted = list(Pipeline(config, network).sequence(frames))
    features = extract(network, frames[0], 3).features
    found = list(Pipeline(config, network, kernels=kernels, keep_volumes=True).sequence(frames))
    assert next(network.parameters()).device.type == kernels.device.type
    assert np.abs(extract(network, frames[0], 3).features - features).max() < 1e-4
    for ours, theirs in zip(found, wanted, strict=True):
        assert (ours.stages["labels"] == theirs.stages["labels"]).all(-1).mean() > 0.995
        assert ours.stages["volume"].dtype == np.uint8
        assert {"features", "cost volume", "filter", "semi-global matching"} <= ours.seconds.keys()
    window = Window(*(extract(network, frame, 3) for frame in frames[:3]))
    wide = replace(config, max_displacement="auto")
    assert find_radius(window, wide, network, kernels) == find_radius(window, wide, network, NumbaKernels())


def test_a_gpu_that_is_not_there_is_told(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert isinstance(kernels_for("cpu"), NumbaKernels)
    assert isinstance(kernels_for("auto"), NumbaKernels)
    with pytest.raises(UserError, match="There is no GPU for device=cuda: PyTorch finds none"):
        Pipeline(preset("simplified", device="cuda"), FeatureNetwork())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert kernels_for("auto").device == torch.device("cuda")
    assert kernels_for("cuda:1").device == torch.device("cuda", 1)
    with pytest.raises(UserError, match="finds only 2"):
        kernels_for("cuda:2")
    for wrong in ("gpu", "cuda:", "cuda:-1", "mps"):
        with pytest.raises(UserError, match="A device is cpu, cuda"):
            FlowConfig(device=wrong)


def test_the_memory_of_a_gpu_is_planned(monkeypatch, caplog):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (9_000_000_000, 10_000_000_000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 3_000_000_000)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 2_000_000_000)
    kernels = TorchKernels(torch.device("cuda"))
    room = kernels.room(720, 1280, 80)
    assert room is not None
    assert 8_000_000_000 < room < 9_000_000_000  # 0.9 of 10 GB, less what the kernels need themselves
    assert plan(145, 341, 80, 4, 4, kernels.room(145, 341, 80), kernels.free).whole
    with pytest.raises(UserError, match=r"97\.4 GB, where 8\.\d GB are free on cuda, and strips"):
        plan(720, 1280, 80, 4, 4, room, kernels.free)
    assert not plan(720, 900, 80, 4, 4, room, kernels.free).whole
    assert "GB are free on cuda: it is matched in" in caplog.text

    def refuse(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(torch, "empty", refuse)
    with pytest.raises(UserError, match=r"cuda has no room for a volume of 2\.6 GB"):
        kernels.empty((145, 341, 161, 161), 16)


@pytest.mark.parametrize("device", [pytest.param("cuda", marks=GPU)])
def test_labels_of_large_volumes_are_those_of_numba(device):
    """Sizes at which Triton's kernel, if it is there, needs many blocks of labels and many programs."""
    kernels, random = TorchKernels(torch.device(device)), np.random.default_rng(4)
    frames = [kernels.load(exact_features(seed, 60, 130)) for seed in range(2)]
    volume = kernels.match(*frames, 40)
    luma = random.random((60, 130)).astype(np.float32)
    for smoothness in (Potts(), Potts(3, 60, 0.5), TruncatedL1()):
        flows = [
            one.semi_global_matching(costs, luma, smoothness, reversed_labels=last)
            for last in (False, True)
            for one, costs in ((NumbaKernels(), kernels.copy(volume)), (kernels, volume))
        ]
        for wanted, found in list(pairwise(flows))[::2]:
            np.testing.assert_array_equal(found, wanted)

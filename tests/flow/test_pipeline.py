"""The pipelines on synthetic motion and real frames, with DCFlow's weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nic_lightning.errors import DataError, UserError
from nic_lightning.flow.features import FeatureNetwork
from nic_lightning.flow.pipeline import Pipeline
from nic_lightning.flow.scaling import scale_up
from nic_lightning.flow.semi_global_matching import winner_takes_all
from nic_lightning.flow.settings import PRESETS, preset
from nic_lightning.flow.triple import MINIMUM, TWO_FRAMES

LABELS = preset("dcflow", strategy="none", interpolation="none", refinement=None)


def read(path) -> np.ndarray:
    import cv2

    image = cv2.imread(str(path))
    if image is None:
        pytest.skip(f"no frame {path}")
    return np.ascontiguousarray(image[..., ::-1])


@pytest.fixture(scope="module")
def network(nic_data):
    path = nic_data / "weights" / "dcflow_sintel_weights.npz"
    if not path.is_file():
        pytest.skip(f"no DCFlow weights at {path}")
    return FeatureNetwork.from_file(path)


@pytest.fixture(scope="module")
def textures(nic_data):
    names = ("middlebury/other-data/RubberWhale/frame10.png", "kitti/pair_000000/000000_10.png")
    return [read(nic_data / name) for name in (*names, "sintel/training/final/alley_1/frame_0001.png")]


def errors(flow: np.ndarray, truth: np.ndarray, where: np.ndarray | None = None) -> float:
    distance = np.linalg.norm(flow - truth, axis=-1)
    known = np.isfinite(distance) if where is None else where
    return float(distance[known].mean())


@pytest.mark.parametrize("max_displacement", [24, pytest.param(120, marks=pytest.mark.slow)])
def test_a_translation_is_found(network, textures, max_displacement):
    picture, (dx, dy) = textures[1], (6, -3)
    frames = [picture[150 - t * dy : 330 - t * dy, 200 - t * dx : 500 - t * dx] for t in (-1, 0, 1)]
    for lambdas, least in ((TWO_FRAMES, 0.99), (MINIMUM, 1.0), ((0.5, 0.5, 0.0), 0.999)):
        pipeline = Pipeline(replace(LABELS, lambdas=lambdas, max_displacement=max_displacement), network)
        right = (pipeline.run(*frames).stages["labels"] == (dx // 3, dy // 3)).all(-1)
        assert right[8:-8, 8:-8].all()
        assert right.mean() >= least
        cheapest = Pipeline(replace(pipeline.config, smoothness=None), network).run(*frames).stages["labels"]
        assert (cheapest == (dx // 3, dy // 3)).all(-1)[8:-8, 8:-8].mean() >= 0.992


def occluding_square(textures, seed: int):
    """A patch that moves over a background that moves, at constant velocity: frames, true flow, occluded pixels."""
    random = np.random.default_rng(seed)
    height, width = 240, 360
    back, front = (textures[(seed + k) % 3].astype(np.float32) / 255 for k in (0, 1))
    slow = random.integers(-2, 3, 2) * 3
    fast = slow + random.choice([-1, 1], 2) * random.integers(6, 13, 2) * 3
    oy, ox = ((size - need) // 2 for size, need in zip(back.shape, (height, width), strict=False))
    tall, wide = random.integers(70, 110), random.integers(80, 130)
    y0, x0 = (height - tall) // 2, (width - wide) // 2
    fy, fx = random.integers(0, front.shape[0] - tall), random.integers(0, front.shape[1] - wide)
    frames = []
    for t in (-1, 0, 1):
        rows = np.clip(np.arange(height) + oy - slow[1] * t, 0, back.shape[0] - 1)
        columns = np.clip(np.arange(width) + ox - slow[0] * t, 0, back.shape[1] - 1)
        frame = back[rows][:, columns].copy()
        y, x = y0 + fast[1] * t, x0 + fast[0] * t
        top, bottom, left, right = max(0, y), min(height, y + tall), max(0, x), min(width, x + wide)
        frame[top:bottom, left:right] = front[fy + top - y : fy + bottom - y, fx + left - x : fx + right - x]
        frames.append(np.clip(frame + random.normal(0, 0.02, frame.shape), 0, 1).astype(np.float32))
    truth = np.full((height, width, 2), slow, np.float32)
    truth[y0 : y0 + tall, x0 : x0 + wide] = fast
    y, x = np.mgrid[:height, :width]
    x, y = x + truth[..., 0], y + truth[..., 1]
    outside = (x < 0) | (x >= width) | (y < 0) | (y >= height)
    hit = (x >= x0 + fast[0]) & (x < x0 + fast[0] + wide) & (y >= y0 + fast[1]) & (y < y0 + fast[1] + tall)
    hit[y0 : y0 + tall, x0 : x0 + wide] = False
    return frames, truth, outside | hit


@pytest.mark.slow
def test_the_triple_cost_sees_what_a_moving_square_hides(network, textures):
    sums = {name: np.zeros(2) for name in ("two", "three")}
    for seed in range(6):
        frames, truth, occluded = occluding_square(textures, seed)
        for name, lambdas in (("two", TWO_FRAMES), ("three", MINIMUM)):
            pipeline = Pipeline(replace(LABELS, lambdas=lambdas, max_displacement=120), network)
            flow = pipeline.run(*frames).flow
            sums[name] += errors(flow, truth, ~occluded), errors(flow, truth, occluded)
            if name == "three":
                assert np.median(np.linalg.norm(flow - truth, axis=-1)) == 0
    assert sums["three"][1] <= 0.1 * sums["two"][1]
    assert sums["three"][0] <= sums["two"][0]


def test_a_sequence_gives_what_its_triples_give_and_its_first_frame_uses_two(network, textures):
    frames = occluding_square(textures, 2)[0]
    frames = [frame[60:180, 100:280] for frame in (*frames, frames[2][:, ::-1])]
    small = {"max_displacement": 36, "refinement": None}
    for config in (
        preset("dcflow", **small),
        preset("timcflow", **small),
        preset("simplified", ratio=3, **small),
        preset("timcflow", strategy="three_frames", interpolation="none", **small),
        preset("timcflow", strategy="two_weightings", interpolation="none", **small),
    ):
        results = list(Pipeline(config, network).sequence(iter(frames)))
        padded = [None, *frames, None]
        assert len(results) == 3
        for t, result in enumerate(results):
            alone = Pipeline(config, network).run(*padded[t : t + 4])
            assert result.stages.keys() == alone.stages.keys()
            for name, stage in alone.stages.items():
                np.testing.assert_array_equal(result.stages[name], stage, err_msg=f"{config.strategy} {t} {name}")
        two = Pipeline(replace(config, lambdas=TWO_FRAMES), network).run(None, *frames[:3])
        np.testing.assert_array_equal(two.stages["labels"], results[0].stages["labels"])
    assert not list(Pipeline(LABELS, network).sequence(frames[:1]))


def test_stages_and_the_strategies_that_need_no_backward_flow(network, textures):
    frames = [frame[60:180, 100:280] for frame in occluding_square(textures, 1)[0]]
    config = preset("simplified", ratio=3, max_displacement=24, strategy="large_regions", refinement={"outer": 1})
    result = Pipeline(config, network, keep_volumes=True).run(*frames)
    assert set(result.stages) == {"volume", "filtered", "labels", "kept", "matches", "dense"}
    assert result.stages["volume"].shape == (40, 60, 17, 17)
    assert (result.stages["volume"] != result.stages["filtered"]).any()
    kept = np.kron(result.stages["kept"], np.ones((3, 3), bool))
    np.testing.assert_array_equal(np.isfinite(result.flow[..., 0]), kept)
    cheapest = Pipeline(replace(LABELS, max_displacement=24, smoothness=None), network, keep_volumes=True).run(*frames)
    np.testing.assert_array_equal(cheapest.stages["labels"], winner_takes_all(cheapest.stages["volume"]))
    assert {"features", "cost volume", "semi-global matching"} <= result.seconds.keys()


def test_labels_belong_to_the_centres_of_their_blocks():
    labels = np.zeros((4, 5, 2), np.int16)
    labels[1, 2] = (3, -2)
    for bilinear in (False, True):
        flow = scale_up(labels, 3, (13, 16), bilinear)
        assert flow.shape == (13, 16, 2)
        np.testing.assert_array_equal(flow[4, 7], (9, -6))  # 3 j + 1
    assert np.count_nonzero(scale_up(labels, 3, (13, 16), False)[..., 0]) == 9


def test_frames_that_do_not_fit_are_matched_in_strips(network, textures, caplog):
    picture, (dx, dy) = textures[1], (6, -3)
    frames = [picture[-t * dy + 9 : 363 - t * dy, 200 - t * dx : 380 - t * dx] for t in (-1, 0, 1, 2)]
    for strategy in ("check", "three_frames", "two_weightings"):
        config = replace(LABELS, lambdas=MINIMUM, max_displacement=36, strategy=strategy)
        whole = Pipeline(config, network).run(*frames)
        strips = Pipeline(replace(config, max_memory=26_500_000), network).run(*frames)
        assert "is matched in" in caplog.text
        for name in ("labels", "backward", "other"):
            if name in whole.stages:
                same = (strips.stages[name] == whole.stages[name]).all(-1)
                assert same[:40].all(), (strategy, name)  # nothing but seams may differ
                assert same.mean() > 0.999, (strategy, name)
    with pytest.raises(UserError, match=r"0\.0 GB are free.*raise ratio"):
        Pipeline(replace(config, max_memory=20_000_000), network).run(*frames)


def test_the_range_is_found_on_smaller_frames(network, textures):
    frames = [textures[1][150:330, 200 - 12 * t : 500 - 12 * t] for t in (-1, 0, 1)]
    found = Pipeline(replace(LABELS, max_displacement="auto"), network, keep_volumes=True).run(*frames)
    assert found.stages["volume"].shape[2] in (13, 19)  # 12 pixels are 4 labels, told in steps of 3
    right = (found.stages["labels"] == (4, 0)).all(-1)
    assert right[8:-8, 8:-8].all()


def test_small_motion_is_matched_at_full_size(network, textures):
    auto = preset("simplified", ratio="auto", refinement=None)
    results = {}
    for step in (2, 30):
        frames = [textures[1][150:330, 200 - step * t : 500 - step * t] for t in (-1, 0, 1)]
        results[step] = Pipeline(auto, network).run(*frames)
        np.testing.assert_array_equal(np.median(results[step].flow, (0, 1)), (step, 0))
    assert results[2].stages["labels"].shape == (180, 300, 2)  # 2 pixels are no whole label at a third
    assert results[30].stages["labels"].shape == (60, 100, 2)
    third = Pipeline(replace(auto, ratio=3), network).run(*frames)
    np.testing.assert_array_equal(results[30].flow, third.flow)


def test_the_scale_of_a_sequence_follows_its_motion(network, textures):
    places = np.cumsum([0, 2, 2, 15, 15])
    frames = [textures[1][150:250, 200 - place : 380 - place] for place in places]
    config = preset("simplified", ratio="auto", refinement=None, max_displacement=45)
    results = list(Pipeline(config, network).sequence(iter(frames)))
    assert [len(result.stages["labels"]) for result in results] == [100, 100, 33, 33]
    for t, result in enumerate(results):
        alone = Pipeline(config, network).run(frames[t - 1] if t else None, *frames[t : t + 2])
        np.testing.assert_array_equal(result.flow, alone.flow)
    tiny = [frame[:20, :40] for frame in frames[:2]]
    assert Pipeline(config, network).run(None, *tiny).stages["labels"].shape == (20, 40, 2)


def test_wrong_settings_and_frames_are_told(network):
    with pytest.raises(UserError, match="no flow pipeline 'dcflo'"):
        preset("dcflo")
    with pytest.raises(UserError, match="no setting 'radius'"):
        preset("dcflow", radius=3)
    for wrong in (
        {"strategy": "best"},
        {"interpolation": "linear"},
        {"ratio": 0},
        {"ratio": "half"},
        {"max_displacement": 2},
    ):
        with pytest.raises(UserError):
            preset("dcflow", **wrong)
    black = np.zeros((60, 60, 3), np.uint8)
    with pytest.raises(DataError, match="60x60 and 62x60"):
        Pipeline(LABELS, network).run(None, black, np.zeros((60, 62, 3), np.uint8))
    assert set(PRESETS) == {"dcflow", "timcflow", "simplified"}


@pytest.mark.slow
def test_rubber_whale_at_full_size(network, nic_data):
    from nic_lightning.flow.io import read_flow

    folder = nic_data / "middlebury"
    frames = [read(folder / f"other-data/RubberWhale/frame{i:02}.png") for i in (9, 10, 11)]
    truth = read_flow(folder / "other-gt-flow/RubberWhale/flow10.flo")
    small = replace(LABELS, ratio=1, max_displacement=12)
    two = Pipeline(small, network).run(*frames).flow
    three = Pipeline(replace(small, lambdas=MINIMUM), network).run(*frames).flow
    assert errors(two, truth) <= 0.31
    assert abs(errors(three, truth) - errors(two, truth)) <= 0.01
    assert errors(Pipeline(replace(small, refinement={}), network).run(*frames).flow, truth) <= 0.16
    coarse = Pipeline(replace(LABELS, max_displacement=36), network).run(*frames).flow
    assert errors(coarse, truth) >= 1.10  # whole labels at a third of the size cannot do better

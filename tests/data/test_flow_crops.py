"""Crops for the training of features, and the data module they come from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nic_lightning.data.flow_crops import FlowCrops, FlowSource, Prepared, cut, prepare
from nic_lightning.data.flow_training import FlowDataModule
from nic_lightning.data.motion import Scene
from nic_lightning.errors import DataError
from nic_lightning.flow.io import encode

MOVE = np.array([5, -3])


def shifted(height: int = 60, width: int = 70, ratio: int = 1) -> Scene:
    """Noise that moves by MOVE pixels of the working scale."""
    wide = np.random.default_rng(0).integers(0, 256, (height + 20, width + 20, 3), dtype=np.uint8)
    wide = wide.repeat(ratio, 0).repeat(ratio, 1)

    def frame(step: int) -> np.ndarray:
        x, y = ratio * (10 - step * MOVE)
        return wide[y : y + ratio * height, x : x + ratio * width]

    flow = np.full((ratio * height, ratio * width, 2), ratio * MOVE, np.float32)
    return Scene("noise", frame(-1), frame(0), frame(1), flow, np.zeros(flow.shape[:2], bool))


def plain(scene: Scene) -> Prepared:
    """Without the normalisation of each frame, so that equal pixels stay equal."""
    pad = ((4, 4), (4, 4), (0, 0))
    frames = [None if f is None else np.pad(f, pad).astype(np.float32) for f in scene[1:4]]
    return Prepared(frames[0], frames[1], frames[2], scene.flow, scene.hidden)


def test_crops_follow_the_motion_and_tell_what_is_left_of_it():
    scene = shifted()
    scene.flow[20:30, 20:40] += [2, 1]
    scene.hidden[40:45] = True
    scene.flow[:, 50:55] = np.nan
    shifts = set()
    for seed in range(60):
        crop = cut(plain(scene), 16, torch.Generator().manual_seed(seed))
        assert crop.current.shape == (3, 24, 24)
        common = torch.mode(crop.motion[:, crop.known].T, dim=0).values
        shifts.add(tuple(common.tolist()))
        for y, x in crop.visible.nonzero().tolist():
            dx, dy = crop.motion[:, y, x].tolist()
            assert 0 <= x + dx < 16
            assert 0 <= y + dy < 16
        assert not (crop.visible & ~crop.known).any()
        assert (crop.motion[:, ~crop.known] == 0).all()
        assert crop.has_previous
    assert (0, 0) in shifts
    first = cut(plain(scene._replace(previous=None)), 16, torch.Generator().manual_seed(0))
    assert not first.has_previous
    assert not first.previous.any()


def test_what_moves_like_the_middle_of_a_crop_stands_still_in_all_three():
    scene, still = plain(shifted()), 0
    for seed in range(20):
        crop = cut(scene, 12, torch.Generator().manual_seed(seed))
        dx, dy = crop.motion[:, 6, 6].tolist()
        own, ahead = crop.current[:, 10, 10], crop.following[:, 10 + dy, 10 + dx]
        assert torch.equal(own, ahead)
        if crop.has_previous:
            assert torch.equal(crop.previous[:, 10 - dy, 10 - dx], own)
            still += (dx, dy) == (0, 0)
    assert still > 5


def test_frames_come_to_the_working_scale():
    made = prepare(shifted(20, 24, ratio=3), 3)
    assert made.flow.shape == (20, 24, 2)
    np.testing.assert_array_equal(made.flow[3, 4], MOVE)
    assert made.current.shape == (28, 32, 3)
    assert made.nbytes == 3 * 28 * 32 * 3 * 4 + 20 * 24 * 2 * 4 + 20 * 24
    with pytest.raises(DataError, match=r"24x20 pixels at the working scale, and crops 32x32: lower data\.crop"):
        cut(made, 32, torch.Generator())


@pytest.fixture
def sintel(tmp_path: Path) -> Path:
    """Three scenes of two pairs each."""
    training = tmp_path / "sintel" / "training"
    noise = np.random.default_rng(0).integers(0, 256, (60, 66, 3), dtype=np.uint8)
    for scene in ("alley_1", "cave_2", "market_5"):
        for number in range(1, 4):
            path = training / "final" / scene / f"frame_{number:04d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.roll(noise, number * 3, 1)).save(path)
            if number < 3:
                flow = training / "flow" / scene / f"frame_{number:04d}.flo"
                flow.parent.mkdir(parents=True, exist_ok=True)
                flow.write_bytes(encode(np.full((60, 66, 2), [3, 0], np.float32), "flo"))
    return tmp_path


def module(root: Path | None = None, **more) -> FlowDataModule:
    made = FlowDataModule(root=None if root is None else str(root), workers=0, crop=8, batch_size=4, **more)
    made.setup("fit")
    return made


def test_samples_follow_from_seed_epoch_and_index(sintel):
    mixed = {"photographs": ["embedded_train"], "sets": ["sintel_final"], "held_out": ["cave_2"], "set_repeats": 2}
    data = module(sintel, **mixed, validation="sintel_final")
    photographs = data.train_images.photographs
    assert len(data.train_images) == len(photographs) + 2 * 4
    crops, again = (module(sintel, **mixed)._training_set(made.train_images) for made in (data, data))
    for index in (0, len(photographs), len(data.train_images) - 1):
        for a, b in zip(crops[2, index], again[2, index], strict=True):
            assert torch.equal(a, b)
        assert not torch.equal(crops[2, index].current, crops[3, index].current)
    batch = next(iter(data.train_dataloader()))
    assert batch.current.shape == (4, 3, 16, 16)
    assert batch.motion.shape == (4, 2, 8, 8)
    scenes = list(data.val_dataloader())
    assert [scene.name for scene in scenes] == ["cave_2_0001", "cave_2_0002"]
    assert scenes[0].previous is None


def test_frames_of_sets_are_kept_within_the_bound(sintel, caplog):
    data = module(sintel, sets=["sintel_final"], ratio=1)
    assert "of memory" not in caplog.text  # there is room for all of them, once they are used
    items = data.train_images.frames
    need = 4 * 68 * 74 * 3 * 4 + 60 * 66 * 8 + 60 * 66
    for megabytes, kept in ((0, 0), (1, 1 + int(need * 2 < 2**20))):
        source = FlowSource(None, items, ratio=1, cache_mb=megabytes)
        for index in (1, 3, 1, 3):
            FlowCrops(source, 8, 0)[0, index]
        assert len(source._kept) == min(kept, 2)


def test_what_a_user_gets_wrong(sintel):
    for wrong, sentence in (
        ({}, "nothing to train on"),
        ({"sets": ["sintle_final"]}, "did you mean 'sintel_final'"),
        ({"sets": ["sintel_final"], "held_out": ["alley_9"]}, "no scene 'alley_9' to hold out"),
        ({"sets": ["sintel_final"], "validation": "sintel_final"}, "All scenes of sintel_final are trained on"),
        ({"sets": ["sintel_final"], "ratio": 0}, "at least 1"),
        ({"sets": ["kitti2015"]}, "kitti2015 is not there"),
    ):
        with pytest.raises(DataError, match=sentence):
            module(sintel, **wrong)

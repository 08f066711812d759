from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nic_lightning.data.flow_sets import flow_rows, flow_set
from nic_lightning.errors import DataError
from nic_lightning.flow.io import encode, known

SIZE = (20, 30)


def picture(path: Path, value: int = 0, size: tuple[int, int] = SIZE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), value, np.uint8)).save(path)


def mask(path: Path, rows: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros(SIZE, np.uint8)
    pixels[:rows] = 255
    Image.fromarray(pixels).save(path)


def write_flow(path: Path, kind: str = "flo", unknown_rows: int = 0, size: tuple[int, int] = SIZE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    flow = np.full((*size, 2), [3, -2], np.float32)
    flow[:unknown_rows] = np.nan
    path.write_bytes(encode(flow, kind))


@pytest.fixture
def sintel(tmp_path: Path) -> Path:
    """Two sequences of four frames."""
    training = tmp_path / "sintel" / "training"
    for scene in ("alley_1", "cave_2"):
        for number in range(1, 5):
            picture(training / "final" / scene / f"frame_{number:04d}.png", number)
            if number < 4:
                write_flow(training / "flow" / scene / f"frame_{number:04d}.flo")
                mask(training / "occlusions" / scene / f"frame_{number:04d}.png", 4)
                mask(training / "invalid" / scene / f"frame_{number:04d}.png", 1)
    return tmp_path


def test_sintel_has_triples_but_for_the_first_of_each_sequence(sintel):
    found = flow_set("sintel", sintel)
    assert found.name == "sintel_final"
    assert [item.name for item in found] == [f"{s}_{n:04d}" for s in ("alley_1", "cave_2") for n in (1, 2, 3)]
    assert [item.has_previous for item in found] == [False, True, True] * 2
    assert found.without_previous == 2
    assert [item.after is None for item in found] == [False, False, True] * 2
    previous, current, following, after = found.items[1].frames()
    assert [int(image[0, 0, 0]) for image in (previous, current, following, after)] == [1, 2, 3, 4]
    truth = found.items[1].truth()
    assert truth.flow.shape == (20, 30, 2)
    assert truth.occluded.sum() == 4 * 30
    assert truth.invalid.sum() == 30
    assert found.items[0].frames()[0] is None


def test_damaged_and_missing_parts_are_named(sintel):
    training = sintel / "sintel" / "training"
    with pytest.raises(DataError, match=r"sintel_clean is not there: .*training/clean is missing"):
        flow_set("sintel_clean", sintel)
    with pytest.raises(DataError, match="did you mean 'sintel_final'"):
        flow_set("sintel_finl", sintel)
    picture(training / "final" / "cave_2" / "frame_0002.png", size=(20, 31))
    with pytest.raises(DataError, match=r"frame_0002.png and .*frame_0001.png .* differ in size"):
        flow_set("sintel", sintel).items[3].frames()
    write_flow(training / "flow" / "alley_1" / "frame_0001.flo", size=(21, 30))
    with pytest.raises(DataError, match=r"occlusions.*differ in size"):
        flow_set("sintel", sintel).items[0].truth()
    (training / "final" / "alley_1" / "frame_0004.png").unlink()
    with pytest.raises(DataError, match=r"frame_0004\.png is missing"):
        flow_set("sintel", sintel)


@pytest.mark.parametrize(("name", "images"), [("kitti2012", "colored_0"), ("kitti2015", "image_2")])
def test_kitti_without_the_multi_view_extension_warns(tmp_path, caplog, name, images):
    training = tmp_path / name / "training"
    for scene in ("000000", "000001"):
        for number in (10, 11):
            picture(training / images / f"{scene}_{number}.png", number)
        write_flow(training / "flow_occ" / f"{scene}_10.png", "kitti", unknown_rows=3)
        write_flow(training / "flow_noc" / f"{scene}_10.png", "kitti", unknown_rows=5)
    picture(training / images / "000001_09.png", 9)
    with caplog.at_level(logging.WARNING):
        found = flow_set(name, tmp_path)
    assert "1 of 2 items have no frame before" in caplog.text
    assert [item.has_previous for item in found] == [False, True]
    truth = found.items[1].truth()
    assert known(truth.flow).sum() == 17 * 30
    assert np.flatnonzero(truth.occluded.any(1)).tolist() == [3, 4]
    assert truth.invalid is None
    caplog.clear()
    picture(training / images / "000000_09.png", 9)
    with caplog.at_level(logging.WARNING):
        assert flow_set(name, tmp_path).without_previous == 0
    assert not caplog.text


def test_middlebury_and_an_empty_set(tmp_path):
    base = tmp_path / "middlebury"
    for number in (9, 10, 11):
        picture(base / "other-data" / "Grove2" / f"frame{number:02d}.png", number)
    with pytest.raises(DataError, match="no frame of middlebury with true flow"):
        flow_set("middlebury", tmp_path)
    write_flow(base / "other-gt-flow" / "Grove2" / "flow10.flo")
    found = flow_set("middlebury", tmp_path)
    assert [item.scene for item in found] == ["Grove2"]
    assert found.without_previous == 0
    assert found.items[0].truth().occluded is None


@pytest.mark.parametrize(
    ("name", "count", "alone"),
    [("sintel_final", 8, 1), ("kitti2012", 1, 1), ("middlebury", 5, 4), ("middlebury_gray", 5, 1)],
)
def test_the_parts_at_hand(nic_data, name, count, alone):
    try:
        found = flow_set(name, nic_data)
    except DataError as error:
        pytest.skip(str(error))
    assert len(found) >= count
    assert found.without_previous >= alone
    item = found.items[-1]
    truth, current = item.truth(), item.frames()[1]
    assert truth.flow.shape[:2] == current.shape[:2]
    assert known(truth.flow).any()
    assert (truth.occluded is None) == name.startswith("middlebury")


def test_the_catalogue_counts_pairs_and_survives_a_cut_set(sintel):
    rows = {row[0]: row[1] for row in flow_rows(sintel)}
    assert rows["sintel_final"] == "6 of 1041"
    assert rows["kitti2015"] == "0 of 200"
    (sintel / "sintel/training/final/alley_1/frame_0004.png").unlink()
    assert {row[0]: row[1] for row in flow_rows(sintel)}["sintel_final"] == "cut, of 1041"

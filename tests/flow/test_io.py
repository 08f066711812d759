from __future__ import annotations

import contextlib
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from nic_lightning.errors import DataError
from nic_lightning.flow import io


@pytest.fixture
def flow() -> np.ndarray:
    random = np.random.default_rng(0)
    values = random.normal(0, 40, (7, 11, 2)).astype(np.float32)
    values[2, 3] = np.nan
    values[4, 5, 1] = np.nan
    values[6] = 0
    return values


def _same(first: np.ndarray, second: np.ndarray) -> bool:
    return np.array_equal(first, second, equal_nan=True)


def _whole(flow: np.ndarray) -> np.ndarray:
    """With both components unknown where one is."""
    return np.where(io.known(flow)[..., None], flow, np.nan)


@pytest.mark.parametrize("kind", ["flo", "pfm"])
def test_round_trips_are_exact(flow, kind, tmp_path):
    path = tmp_path / f"a{io.FORMATS[kind]}"
    path.write_bytes(io.encode(flow, kind))
    back = io.read_flow(path)
    assert back.dtype == np.float32
    assert _same(back, _whole(flow))
    assert io.encode(back, kind) == path.read_bytes()


def test_flo_is_what_opencv_reads_and_writes(flow, tmp_path):
    flow = np.nan_to_num(flow)
    ours, theirs = tmp_path / "ours.flo", tmp_path / "theirs.flo"
    ours.write_bytes(io.encode(flow))
    cv2.writeOpticalFlow(str(theirs), flow)
    assert ours.read_bytes() == theirs.read_bytes()
    assert _same(cv2.readOpticalFlow(str(ours)), flow)
    assert _same(io.read_flow(theirs), flow)


def test_kitti_keeps_validity_and_a_sixty_fourth(flow):
    back = io.decode(io.encode(flow, "kitti"))
    assert (io.known(back) == io.known(flow)).all()
    assert np.nanmax(np.abs(back - _whole(flow))) <= 1 / 128
    with pytest.raises(DataError, match="512"):
        io.encode(flow + 600, "kitti")
    edge = np.array([[[-512, 511.98]]], np.float32)
    assert np.abs(io.decode(io.encode(edge, "kitti")) - edge).max() <= 1 / 128


def test_unknown_values_of_others_are_masked():
    values = np.array([[[1, 2], [1.666666752e9, 0], [0, -2e9], [np.inf, 0], [np.nan, 1], [1e9, 3]]], "<f4")
    data = b"PIEH" + struct.pack("<ii", 6, 1) + values.tobytes()
    assert io.known(io.decode(data)).tolist() == [[True, False, False, False, False, True]]


def test_pfm_of_big_endian_machines(flow):
    flow = np.nan_to_num(flow)
    values = np.dstack([flow, np.zeros((7, 11), np.float32)])[::-1].astype(">f4")
    assert _same(io.decode(b"PF\n11 7\n1.0\n" + values.tobytes()), flow)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda d: b"PIEX" + d[4:], "begins neither"),
        (lambda d: d[:9], "is cut: a .flo file has a head"),
        (lambda d: d[:-1], r"is cut: 11x7 pixels take 616 bytes, and 615"),
        (lambda d: d + b"\0", "too long"),
        (lambda d: d[:4] + struct.pack("<ii", 2**31 - 1, 2**31 - 1) + d[12:], "claims 2147483647x2147483647"),
        (lambda d: d[:4] + struct.pack("<ii", -11, -7) + d[12:], "claims -11x-7"),
        (lambda d: d[:4] + struct.pack("<ii", 0, 7) + d[12:], "claims 0x7"),
        (lambda d: b"", "begins neither"),
        (lambda d: b"PF\nlarge\n", "head is not that"),
        (lambda d: b"PF\n999999999 999999999\n-1\n", "claims 999999999x"),
        (lambda d: b"PF\n3 3\n1e\n" + bytes(108), "scale is not a number"),
        (lambda d: b"PF\n3 3\n-1\n" + bytes(107), "is cut"),
        (lambda d: b"Pf\n3 3\n-1\n" + bytes(36), "one channel"),
    ],
)
def test_hostile_files_end_in_a_sentence(flow, damage, sentence, tmp_path):
    path = tmp_path / "bad.flo"
    path.write_bytes(damage(io.encode(flow)))
    with pytest.raises(DataError, match=sentence) as error:
        io.read_flow(path)
    assert str(path) in str(error.value)


def test_hostile_pngs_end_in_a_sentence(flow):
    data = io.encode(flow, "kitti")
    for end in (8, 20, 40, len(data) // 2, len(data) - 1):
        with pytest.raises(DataError, match=r"cut|damaged"):
            io.decode(data[:end])
    huge = data[:16] + struct.pack(">II", 2**30, 2**30) + data[24:]
    with pytest.raises(DataError, match="claims 1073741824x"):
        io.decode(huge)
    larger = data[:16] + struct.pack(">II", 12, 7) + data[24:]
    with pytest.raises(DataError, match="damaged"):
        io.decode(larger)
    eight_bits = cv2.imencode(".png", np.zeros((4, 4, 3), np.uint8))[1].tobytes()
    with pytest.raises(DataError, match="16-bit RGB"):
        io.decode(eight_bits)
    random = np.random.default_rng(0)
    for _ in range(200):
        damaged = bytearray(data)
        damaged[int(random.integers(8, len(data)))] ^= int(random.integers(1, 256))
        with contextlib.suppress(DataError):
            assert io.decode(bytes(damaged)).shape == flow.shape


def test_what_is_no_flow_is_not_written(flow, tmp_path):
    with pytest.raises(DataError, match="flo, kitti, pfm"):
        io.encode(flow, "npy")
    with pytest.raises(DataError, match="shape"):
        io.encode(flow[..., :1])
    with pytest.raises(DataError, match="no flow file"):
        io.read_flow(tmp_path / "missing.flo")


def test_the_truth_of_the_data_sets(nic_data: Path):
    sintel = next((nic_data / "sintel" / "training" / "flow").rglob("*.flo"), None)
    kitti = nic_data / "kitti" / "flow_occ" / "000157_10.png"
    whale = nic_data / "middlebury" / "other-gt-flow" / "RubberWhale" / "flow10.flo"
    if sintel is None or not kitti.is_file() or not whale.is_file():
        pytest.skip("no Sintel, KITTI or Middlebury flow in the data root")
    assert io.read_flow(sintel).shape == (436, 1024, 2)
    assert io.known(io.read_flow(sintel)).all()
    assert 0.2 < io.known(io.read_flow(kitti)).mean() < 0.3
    moved = io.read_flow(whale)
    assert moved.shape == (388, 584, 2)
    assert 0.9 < io.known(moved).mean() < 1
    assert np.nanmax(np.abs(moved)) < 10

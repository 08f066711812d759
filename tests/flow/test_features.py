"""DCFlow's weights, preprocessing and features, and files that are none."""

from __future__ import annotations

import hashlib
import struct

import numpy as np
import pytest

from nic_lightning.errors import DataError
from nic_lightning.flow.features import FeatureNetwork, extract, network_input, shrink
from nic_lightning.flow.weights import SHAPES, load_weights


@pytest.fixture(scope="module")
def weights_folder(nic_data):
    folder = nic_data / "weights"
    if not (folder / "dcflow_sintel.caffemodel").is_file():
        pytest.skip(f"no DCFlow weights in {folder}")
    return folder


@pytest.mark.parametrize("name", ["sintel", "kitti"])
def test_both_official_files_hold_the_same_112576_numbers(weights_folder, name):
    digest = hashlib.sha256((weights_folder / f"dcflow_{name}.caffemodel").read_bytes()).hexdigest()
    assert digest.startswith({"sintel": "d6ee11203376f6ee", "kitti": "5bdc7735a138896e"}[name])
    npz = load_weights(weights_folder / f"dcflow_{name}_weights.npz")
    caffe = load_weights(weights_folder / f"dcflow_{name}.caffemodel")
    assert sum(value.size for value in npz.values()) == 112_576
    assert all(np.array_equal(npz[key], caffe[key]) for key in SHAPES)


def test_features_of_a_sintel_frame_are_the_recorded_ones(weights_folder, nic_data):
    import cv2
    import torch

    frame = cv2.imread(str(nic_data / "sintel/training/final/alley_1/frame_0001.png"))[..., ::-1]
    network = FeatureNetwork.from_file(weights_folder / "dcflow_sintel_weights.npz")
    found = extract(network, frame, ratio=3)
    assert found.features.shape == (145, 341, 64)
    np.testing.assert_allclose(np.linalg.norm(found.features, axis=-1), 1, atol=1e-5)
    golden = np.load(weights_folder / "golden_features_sintel_frame_0001_r3.npz", allow_pickle=False)
    np.testing.assert_allclose(found.features.transpose(2, 0, 1)[:, 40:56, 100:124], golden["crop"], atol=1e-4)
    np.testing.assert_allclose(found.features.sum((0, 1), dtype=np.float64), golden["sum"], atol=0.5)

    threads = torch.get_num_threads()
    torch.set_num_threads(3 - threads if threads in (1, 2) else 1)
    try:
        again = extract(network, frame, ratio=3)
    finally:
        torch.set_num_threads(threads)
    np.testing.assert_array_equal(found.features, again.features)


def test_the_network_sees_mirrored_borders_and_channels_of_mean_0_and_deviation_1():
    image = np.random.default_rng(0).random((11, 14, 3)).astype(np.float32)
    padded = network_input(image)
    assert padded.shape == (19, 22, 3)
    inside = padded[4:-4, 4:-4]
    np.testing.assert_allclose(inside.mean((0, 1)), 0, atol=1e-6)
    np.testing.assert_allclose(inside.std((0, 1), ddof=1), 1, atol=1e-6)
    rows, columns = [3, 2, 1, 0, *range(11), 10, 9, 8, 7], [3, 2, 1, 0, *range(14), 13, 12, 11, 10]
    np.testing.assert_array_equal(padded, inside[rows][:, columns])  # the edge itself twice, as DCFlow's padarray


def test_frames_shrink_to_whole_pixels_and_bad_ones_are_refused():
    image = np.full((32, 41, 3), 51, np.uint8)
    small = shrink(image, 3)
    assert small.shape == (10, 13, 3)
    np.testing.assert_allclose(small, 0.2, atol=1e-6)
    assert shrink(image.astype(np.float32) / 255, 1).shape == (32, 41, 3)
    with pytest.raises(DataError, match="smaller ratio"):
        shrink(image, 4)
    with pytest.raises(DataError, match="uint8 or float32"):
        shrink(image[..., 0], 1)
    with pytest.raises(DataError, match="not finite"):
        shrink(np.full((32, 32, 3), np.nan, np.float32), 1)
    flat = extract(FeatureNetwork().eval(), image, 3)
    assert np.isfinite(flat.features).all()


def _field(number: int, data: bytes) -> bytes:
    def varint(value):
        out = b""
        while value > 127:
            out, value = out + bytes([value & 127 | 128]), value >> 7
        return out + bytes([value])

    return varint(number << 3 | 2) + varint(len(data)) + data


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80" * 40,
        b"\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
        _field(100, _field(1, b"conv4") + _field(7, b"") * 2),
        _field(100, _field(1, b"Convolution1") + _field(7, _field(5, struct.pack("<3f", 1, 2, 3))) * 2),
        _field(100, b"x" * 50)[:-9],
    ],
)
def test_a_caffemodel_that_is_none_is_refused(tmp_path, data):
    path = tmp_path / "net.caffemodel"
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"net\.caffemodel"):
        load_weights(path)


def test_npz_files_that_are_none_are_refused(tmp_path):
    path = tmp_path / "net.npz"
    with pytest.raises(DataError, match="no feature weights at"):
        load_weights(path)
    path.write_bytes(b"PK not a zip")
    with pytest.raises(DataError, match="cannot be read"):
        load_weights(path)
    tensors = {name: np.zeros(shape, np.float32) for name, shape in SHAPES.items()}
    np.savez(path, **(tensors | {"conv2.bias": np.array([{}], dtype=object)}))
    with pytest.raises(DataError, match="cannot be read"):
        load_weights(path)
    np.savez(path, **(tensors | {"conv2.bias": np.zeros(63)}))
    with pytest.raises(DataError, match=r"conv2\.bias should be \(64,\)"):
        load_weights(path)
    np.savez(path, **(tensors | {"conv2.bias": np.full(64, np.nan)}))
    with pytest.raises(DataError, match="not finite"):
        load_weights(path)
    path.write_bytes(bytes(1 << 24))
    with pytest.raises(DataError, match="larger than"):
        load_weights(path)

"""DCFlow's feature weights from `.npz` or `.caffemodel` files, which may come from anybody."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from nic_lightning.errors import DataError

SHAPES = {
    f"conv{i}.{kind}": shape
    for i, channels in enumerate((3, 64, 64, 64), start=1)
    for kind, shape in (("weight", (64, channels, 3, 3)), ("bias", (64,)))
}
MAX_BYTES = 1 << 23  # the official files hold 451 kB
_CAFFE_NAMES = {b"Convolution1": "conv1", b"Convolution2": "conv2", b"Convolution3": "conv3", b"conv4": "conv4"}
_NET_LAYER, _LAYER_NAME, _LAYER_BLOB, _BLOB_DATA = 100, 1, 7, 5  # field numbers of caffe.proto


def load_weights(path: str | Path) -> dict[str, np.ndarray]:
    """The eight float32 tensors of `SHAPES`, weights in the order (out, in, y, x), input channels R, G, B.

    Args:
        path: a `.npz` with arrays of those names, or a `.caffemodel` of DCFlow (Xu et al., CVPR 2017).

    Raises:
        DataError: the file is missing, damaged, or of another network.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(
            f"There are no feature weights at {path}; give the path of DCFlow's .npz or .caffemodel file: "
            "net/sintel.caffemodel and net/kitti.caffemodel of github.com/isl-org/dcflow."
        )
    if path.stat().st_size > MAX_BYTES:
        raise DataError(f"{path} is larger than {MAX_BYTES} bytes, so it does not hold DCFlow's feature weights.")
    try:
        tensors = _read_npz(path) if path.suffix == ".npz" else _read_caffemodel(path.read_bytes())
    except (ValueError, KeyError, IndexError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} cannot be read as feature weights: {error}.") from error
    for name, shape in SHAPES.items():
        if name not in tensors or tensors[name].shape != shape:
            found = f"the shape {tensors[name].shape}" if name in tensors else "no such tensor"
            raise DataError(f"{path} does not hold DCFlow's network: {name} should be {shape}, but there is {found}.")
        if not np.isfinite(tensors[name]).all():
            raise DataError(f"{path} is damaged: {name} holds values that are not finite.")
    return {name: np.ascontiguousarray(tensors[name], dtype=np.float32) for name in SHAPES}


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(path) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > MAX_BYTES:
            raise ValueError("it unpacks to more than feature weights need")
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files if name in SHAPES}


def _read_caffemodel(data: bytes) -> dict[str, np.ndarray]:
    tensors: dict[str, np.ndarray] = {}
    for number, layer in _fields(data):
        if number != _NET_LAYER or not isinstance(layer, bytes):
            continue
        parts = list(_fields(layer))
        name = _CAFFE_NAMES.get(next((v for n, v in parts if n == _LAYER_NAME and isinstance(v, bytes)), b""))
        blobs = [v for n, v in parts if n == _LAYER_BLOB and isinstance(v, bytes)]
        if name and len(blobs) == 2:
            for kind, blob in zip(("weight", "bias"), blobs, strict=True):
                tensors[f"{name}.{kind}"] = _blob(blob, SHAPES[f"{name}.{kind}"])
    return tensors


def _blob(data: bytes, shape: tuple[int, ...]) -> np.ndarray:
    packed = b"".join(value for number, value in _fields(data) if number == _BLOB_DATA and isinstance(value, bytes))
    values = np.frombuffer(packed, "<f4")
    if values.size != np.prod(shape):
        raise ValueError(f"a layer holds {values.size} numbers where {np.prod(shape)} belong")
    return values.reshape(shape)


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Field numbers and values of one protobuf message; each byte is read once."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        wire = key & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        if wire not in (1, 2, 5):
            raise ValueError(f"byte {at} is no protobuf field")
        length, at = _varint(data, at) if wire == 2 else ({1: 8, 5: 4}[wire], at)
        if at + length > len(data):
            raise ValueError("the file is cut")
        yield key >> 3, data[at : at + length]
        at += length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise ValueError("the file is cut")
        byte = data[at]
        value |= (byte & 127) << shift
        at += 1
        if not byte & 128:
            return value, at
    raise ValueError(f"byte {at} is no protobuf number")

"""Feature weights from files that may come from anybody: DCFlow's `.caffemodel`, `.npz`, `.safetensors`, or a run's."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nic_lightning.errors import DataError

SHAPES = {
    f"conv{i}.{kind}": shape
    for i, channels in enumerate((3, 64, 64, 64), start=1)
    for kind, shape in (("weight", (64, channels, 3, 3)), ("bias", (64,)))
}
MAX_BYTES = 1 << 23  # the official files hold 451 kB, a checkpoint three times that
LAMBDAS = "lambdas"
"""Beside the tensors of a file: learned weights of the triple cost."""
_CAFFE_NAMES = {b"Convolution1": "conv1", b"Convolution2": "conv2", b"Convolution3": "conv3", b"conv4": "conv4"}
_NET_LAYER, _LAYER_NAME, _LAYER_BLOB, _BLOB_DATA = 100, 1, 7, 5  # field numbers of caffe.proto


def load_weights(path: str | Path) -> dict[str, np.ndarray]:
    """The eight float32 tensors of `SHAPES`, weights in the order (out, in, y, x), input channels R, G, B.

    Args:
        path: a `.npz` or `.safetensors` with arrays of those names, a `.caffemodel` of DCFlow (Xu et al., CVPR 2017),
            or the run folder or checkpoint of a training of features.

    Raises:
        DataError: the file is missing, damaged, or of another network.
    """
    path, tensors = _read(path)
    for name, shape in SHAPES.items():
        if name not in tensors or np.shape(tensors[name]) != shape:
            found = f"the shape {np.shape(tensors[name])}" if name in tensors else "no such tensor"
            raise DataError(f"{path} does not hold DCFlow's network: {name} should be {shape}, but there is {found}.")
        if not np.isfinite(tensors[name]).all():
            raise DataError(f"{path} is damaged: {name} holds values that are not finite.")
    return {name: np.ascontiguousarray(tensors[name], dtype=np.float32) for name in SHAPES}


def load_lambdas(path: str | Path) -> tuple[float, float, float]:
    """Weights of the triple cost (thesis Eq. 5.8) that were learned with the features in that file.

    Raises:
        DataError: as `load_weights`, or there are none.
    """
    path, tensors = _read(path)
    if tensors.get(LAMBDAS) is None:
        raise DataError(f"{path} holds no learned lambdas; give three numbers, as in lambdas=[0,0,1].")
    values = np.ravel(tensors[LAMBDAS])
    if values.shape != (3,) or values.dtype.kind != "f" or not (values >= 0).all() or not 0 < values.sum() < math.inf:
        raise DataError(f"{path} is damaged: its lambdas are not three numbers >= 0.")
    return float(values[0]), float(values[1]), float(values[2])


def to_npz(tensors: Mapping[str, np.ndarray], lambdas: tuple[float, float, float] | None = None) -> bytes:
    """A `.npz` file of the tensors of `SHAPES`, and of learned weights of the triple cost; bytes follow from them."""
    file = io.BytesIO()
    more = {} if lambdas is None else {LAMBDAS: np.asarray(lambdas, np.float64)}
    np.savez(file, **({name: tensors[name] for name in SHAPES} | more))
    return file.getvalue()


def _read(path: str | Path) -> tuple[Path, dict[str, Any]]:
    """The file, and what it holds, not yet checked."""
    path = Path(path)
    if path.is_dir():
        path = path / "checkpoints" / "last.ckpt"
    if not path.is_file():
        raise DataError(
            f"There are no feature weights at {path}; give a run of nic-train experiment=flow_features, or the path of "
            "DCFlow's .npz or .caffemodel file: net/sintel.caffemodel and net/kitti.caffemodel of "
            "github.com/isl-org/dcflow."
        )
    if path.stat().st_size > MAX_BYTES:
        raise DataError(f"{path} is larger than {MAX_BYTES} bytes, so it does not hold DCFlow's feature weights.")
    readers = {".npz": _read_npz, ".safetensors": _read_safetensors, ".ckpt": _read_checkpoint}
    try:
        return path, readers.get(path.suffix, _read_caffemodel)(path)
    except (ValueError, KeyError, IndexError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} cannot be read as feature weights: {error}.") from error


def _read_checkpoint(path: Path) -> dict[str, Any]:
    import torch

    _require_small(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        state, prefix = content["state_dict"], "network."
        tensors = {name.removeprefix(prefix): v.numpy() for name, v in state.items() if name.startswith(prefix)}
        lambdas = content.get(LAMBDAS)
        return tensors | {LAMBDAS: None if lambdas is None else np.array(lambdas, np.float64)}
    except Exception as error:  # on damaged bytes, the unpickler and the archive's reader raise nearly anything
        raise ValueError("it is no intact checkpoint of nic-train") from error


def _read_safetensors(path: Path) -> dict[str, Any]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except (SafetensorError, TypeError) as error:
        raise ValueError(str(error)) from error


def _require_small(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > MAX_BYTES:
            raise ValueError("it unpacks to more than feature weights need")


def _read_npz(path: Path) -> dict[str, Any]:
    _require_small(path)
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files if name in SHAPES or name == LAMBDAS}


def _read_caffemodel(path: Path) -> dict[str, Any]:
    tensors: dict[str, Any] = {}
    for number, layer in _fields(path.read_bytes()):
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

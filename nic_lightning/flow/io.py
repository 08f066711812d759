"""Flow files: Middlebury's .flo, KITTI's 16-bit PNG, and .pfm. They may come from anybody.

| format | what it holds | unknown pixels |
|---|---|---|
| `flo` | "PIEH", width and height as int32, float32 u, v by rows; little-endian | above 1e9 (Baker et al. 2011), NaN |
| `kitti` | PNG, 16 bits, R = 64 u + 2^15, G = 64 v + 2^15, B = 1 where known | B = 0 |
| `pfm` | "PF", width height, scale, then float32 u, v, 0 from the lowest row up | as in .flo |

A flow is float32 (H, W, 2), x to the right and y down in pixels, NaN where it is unknown.
"""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nic_lightning.errors import DataError

Flow = NDArray[np.float32]

FORMATS = {"flo": ".flo", "kitti": ".png", "pfm": ".pfm"}
"""Name of each format and the suffix of its files."""
MAX_PIXELS = 2**26
"""Largest flow that is read or written: 512 MiB."""
UNKNOWN = 1e9
_MAGIC, _PNG = b"PIEH", b"\x89PNG\r\n\x1a\n"
_STEP, _ZERO = 64.0, 2**15
_FILLER = 1.666666752e9
"""What Middlebury writes for unknown flow."""


def read_flow(path: str | Path) -> Flow:
    """The flow of a file; its format follows from its first bytes.

    Raises:
        DataError: no such file, another format, cut, or of a size that it does not hold or that nobody can.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"There is no flow file {path}.")
    if path.stat().st_size > 16 * MAX_PIXELS:
        raise DataError(f"{path} is longer than a flow of {MAX_PIXELS:,} pixels and was not read.")
    return decode(path.read_bytes(), str(path))


def decode(data: bytes, name: str = "the file") -> Flow:
    """The flow of a file's bytes; `name` is how DataError calls it."""
    if data.startswith(_MAGIC):
        return _decode_flo(data, name)
    if data.startswith(_PNG):
        return _decode_kitti(data, name)
    if data.startswith((b"PF", b"Pf")):
        return _decode_pfm(data, name)
    raise DataError(f"{name} is no flow: it begins neither like .flo (PIEH) nor like a KITTI PNG nor like .pfm (PF).")


def encode(flow: NDArray[Any], kind: str = "flo") -> bytes:
    """A file's bytes; `kind` is a key of FORMATS.

    .flo and .pfm keep every finite value to the bit; KITTI's PNG keeps it to 1/128 pixel, between -512 and 512.

    Raises:
        DataError: no such format, a flow of another shape or too large, or motion that the PNG cannot hold.
    """
    if kind not in FORMATS:
        raise DataError(f"There is no flow format {kind!r}; there are {', '.join(FORMATS)}.")
    if flow.ndim != 3 or flow.shape[2] != 2 or not 0 < flow.shape[0] * flow.shape[1] <= MAX_PIXELS:
        raise DataError(f"A flow has the shape (H, W, 2) and at most {MAX_PIXELS:,} pixels, not {flow.shape}.")
    return {"flo": _encode_flo, "kitti": _encode_kitti, "pfm": _encode_pfm}[kind](flow)


def known(flow: NDArray[Any]) -> NDArray[np.bool_]:
    """Mask (H, W) of the pixels whose flow is known."""
    return np.isfinite(flow).all(-1)


def _decode_flo(data: bytes, name: str) -> Flow:
    if len(data) < 12:
        raise DataError(f"{name} is cut: a .flo file has a head of 12 bytes, and {len(data)} are there.")
    width, height = struct.unpack("<ii", data[4:12])
    _check_size(width, height, name)
    return _masked(_floats(data[12:], (height, width, 2), "<f4", name))


def _decode_pfm(data: bytes, name: str) -> Flow:
    head = re.match(rb"(P[Ff])\s+(\d{1,9})\s+(\d{1,9})\s+([-+.\deE]{1,32})\s", data[:128])
    if head is None:
        raise DataError(f"{name} is damaged: its head is not that of a .pfm file.")
    if head[1] == b"Pf":
        raise DataError(f"{name} is a .pfm file of one channel, such as a disparity; a flow has three.")
    width, height = int(head[2]), int(head[3])
    _check_size(width, height, name)
    try:
        order = "<f4" if float(head[4]) < 0 else ">f4"
    except ValueError as error:
        raise DataError(f"{name} is damaged: its scale is not a number.") from error
    return _masked(_floats(data[head.end() :], (height, width, 3), order, name)[::-1, :, :2])


def _decode_kitti(data: bytes, name: str) -> Flow:
    import cv2

    if len(data) < 33 or data[12:16] != b"IHDR":
        raise DataError(f"{name} is a damaged PNG.")
    width, height, depth, colour = struct.unpack(">IIBB", data[16:26])
    _check_size(width, height, name)
    if (depth, colour) != (16, 2):
        raise DataError(f"{name} is no KITTI flow: that is a PNG of three 16-bit channels, 16-bit RGB.")
    if not _ends(data):
        raise DataError(f"{name} is cut: the end of the PNG is missing.")
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)  # blue, green, red
    if pixels is None or pixels.shape != (height, width, 3) or pixels.dtype != np.uint16:
        raise DataError(f"{name} is a damaged PNG.")
    flow = (pixels[..., :0:-1].astype(np.float32) - _ZERO) / _STEP
    flow[pixels[..., 0] == 0] = np.nan
    return flow


def _encode_flo(flow: NDArray[Any]) -> bytes:
    values = np.where(known(flow)[..., None], flow, _FILLER).astype("<f4")
    return _MAGIC + struct.pack("<ii", flow.shape[1], flow.shape[0]) + values.tobytes()


def _encode_pfm(flow: NDArray[Any]) -> bytes:
    values = np.zeros((*flow.shape[:2], 3), "<f4")
    values[..., :2] = np.where(known(flow)[..., None], flow, _FILLER)
    return f"PF\n{flow.shape[1]} {flow.shape[0]}\n-1.0\n".encode() + values[::-1].tobytes()


def _encode_kitti(flow: NDArray[Any]) -> bytes:
    import cv2

    valid = known(flow)
    steps = np.rint(np.where(valid[..., None], flow, 0).astype(np.float64) * _STEP) + _ZERO
    if steps.min() < 0 or steps.max() >= 2**16:
        raise DataError("KITTI's PNG holds motion between -512 and 512 pixels, and this flow has more; write .flo.")
    steps[~valid] = 0
    pixels = np.dstack([valid, steps[..., 1], steps[..., 0]]).astype(np.uint16)
    return cv2.imencode(".png", pixels)[1].tobytes()


def _check_size(width: int, height: int, name: str) -> None:
    if width <= 0 or height <= 0 or width * height > MAX_PIXELS:
        raise DataError(f"{name} claims {width}x{height} pixels; a flow has between 1 and {MAX_PIXELS:,}.")


def _floats(data: bytes, shape: tuple[int, int, int], order: str, name: str) -> NDArray[Any]:
    needed = 4 * int(np.prod(shape))
    if len(data) != needed:
        wrong = "cut" if len(data) < needed else "too long"
        size = f"{shape[1]}x{shape[0]} pixels take {needed:,} bytes, and {len(data):,} are there"
        raise DataError(f"{name} is {wrong}: {size}.")
    return np.frombuffer(data, order).reshape(shape)


def _masked(values: NDArray[Any]) -> Flow:
    """A copy in the machine's own order; a pixel is unknown when one of its components is."""
    flow = values.astype(np.float32)
    with np.errstate(invalid="ignore"):
        flow[~(np.abs(flow) <= UNKNOWN).all(-1)] = np.nan
    return flow


def _ends(data: bytes) -> bool:
    """Whether the PNG's chunks lead up to its end; OpenCV fills a cut picture with zeros."""
    place = 8
    while place + 12 <= len(data):
        length, kind = struct.unpack(">I4s", data[place : place + 8])
        place += 12 + length
        if kind == b"IEND":
            return place <= len(data)
    return False

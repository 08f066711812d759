"""Draco by the package DracoPy. The packed file is the Draco file itself."""

from __future__ import annotations

import numpy as np

from nic_lightning.baselines.geometry import MAX_POINTS, GeometryCodec
from nic_lightning.baselines.still import need
from nic_lightning.errors import BitstreamError

_HEAD = 15
"""Bytes up to the number of points: magic, version, kind of geometry, method, flags (Draco bitstream 2.3)."""


_LEVELS = (0, 2, 6)
"""One of these gives the smallest file: 10 takes 100 bytes more than 2 where points are few (findings)."""


class Draco(GeometryCodec):
    """Draco (https://google.github.io/draco) at the compression level that suits the cloud best, then a classifier.

    Decoded points are in another order. A file has some 60 bytes beside the points.

    Args: see `GeometryCodec`.
    """

    name = "draco"

    def _encode(self, points: np.ndarray, bits: int) -> bytes:
        package = need("DracoPy", "DracoPy", self.name, "clouds")
        files = [
            package.encode(
                points.astype(np.float32),
                quantization_bits=bits,
                compression_level=level,
                quantization_range=2.0,
                quantization_origin=np.full(3, -1.0),
            )
            for level in _LEVELS
        ]
        return min(files, key=len)

    def _decode(self, data: bytes) -> np.ndarray:
        package = need("DracoPy", "DracoPy", self.name, "clouds")
        try:
            return np.asarray(package.decode(data).points)
        # The package raises errors of its own kinds for damaged data.
        except Exception as error:
            raise BitstreamError("The draco file is cut or damaged.") from error

    def _require_shape(self, data: bytes) -> None:
        """A point cloud (kind 0) without metadata; the decoder reserves memory for as many points as it claims."""
        if len(data) <= _HEAD or data[:5] != b"DRACO" or data[7] != 0 or data[10] & 0x80:
            raise self._not_whole()
        claimed = int.from_bytes(data[11:_HEAD], "little", signed=True)
        if not 0 < claimed <= MAX_POINTS:
            raise BitstreamError(f"The draco file claims {claimed:,} points, not 1 to {MAX_POINTS:,}.")

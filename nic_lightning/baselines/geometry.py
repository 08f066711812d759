"""Codecs of a cloud's geometry, then a classifier at the receiver: what codecs for classification compete with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from nic_lightning.codecs.base import Encoded, OperatingPoint
from nic_lightning.codecs.clouds import CloudCodec
from nic_lightning.codecs.loading import load_codec
from nic_lightning.errors import BitstreamError, DataError, UserError
from nic_lightning.media.cloud.result import CloudResult
from nic_lightning.media.cloud.sampling import fixed_subset, normalised
from nic_lightning.media.cloud.shape import Refused

MAX_POINTS = 1 << 16
"""More are neither written nor decoded: a few hostile bytes may claim any number."""
MAX_BYTES = 1 << 22
_NO_SIZE = (0, 0)


class GeometryCodec(ABC):
    """Encodes a subset of a cloud's points on a grid; the receiver classifies the points that it decodes.

    The classifier is a trained codec of clouds whose latents are neither rounded nor coded: what it decides is what the
    decoded points are still good for. One operating point for each grid. The packed file is the format's own file.

    Args:
        classifier: run folder, checkpoint or export of a codec of clouds. None: in an evaluation beside such a codec
            that codec itself, else nothing can be decoded.
        points: of a cloud that are encoded, chosen like a codec's (`media.cloud.sampling.fixed_subset`); None: as many
            as the classifier takes.
        bits: of a coordinate: grids of `2^bits` points along each side of the cube around the unit sphere.
    """

    medium = "cloud"
    name: str
    max_bits: ClassVar[int] = 16

    def __init__(
        self, classifier: str | Path | None = None, points: int | None = None, bits: Sequence[int] = (1, 2, 3, 4, 5, 6)
    ) -> None:
        self.bits, self.points = sorted(bits), points
        if not self.bits or len(set(self.bits)) < len(self.bits) or any(b != round(b) for b in self.bits):
            raise UserError(f"{self.name} needs distinct whole numbers of bits, not {list(bits)}.")
        if not 1 <= self.bits[0] <= self.bits[-1] <= self.max_bits:
            raise UserError(f"{self.name} takes 1 to {self.max_bits} bits of a coordinate, not {list(bits)}.")
        if points is not None and not 1 <= points <= MAX_POINTS:
            raise UserError(f"{self.name} takes 1 to {MAX_POINTS} points of a cloud, not {points}.")
        self.classifier: CloudCodec | None = None
        if classifier is not None:
            self.classify_by(load_codec(classifier))

    def classify_by(self, codec: object) -> None:
        """Take a codec of clouds as the classifier; raises UserError for another one."""
        if not isinstance(codec, CloudCodec):
            raise UserError(f"{self.name} needs a classifier of clouds, and {getattr(codec, 'name', codec)} is none.")
        self.classifier = codec

    def accompany(self, codec: object) -> None:
        """Called before an evaluation beside `codec`: a classifier that nobody named is that codec."""
        if self.classifier is None:
            self.classify_by(codec)

    @property
    def operating_points(self) -> list[OperatingPoint]:
        """From the coarsest grid to the finest, labelled "b1", "b2", ..."""
        return [OperatingPoint(i, f"b{b}", quality=float(b)) for i, b in enumerate(self.bits)]

    def compress(self, x: Tensor, point: OperatingPoint) -> Encoded:
        """Encode clouds (N, P, 3) in the unit sphere; one string, the file, for each."""
        if x.dim() != 3 or x.shape[-1] != 3 or not x.numel():
            raise DataError(f"A codec of clouds takes clouds (N, P, 3), not {tuple(x.shape)}.")
        if point.quality is None:
            raise UserError(f"{self.name} needs an operating point with a quality, not {point.label!r}.")
        taken = self.points or (self.classifier.points if self.classifier is not None else MAX_POINTS)
        subsets = [fixed_subset(cloud, taken) for cloud in x.detach().cpu().numpy()]
        bits = round(point.quality)
        return Encoded((tuple(self._encode(on_grid(subset, bits), bits) for subset in subsets),), _NO_SIZE)

    def decompress(self, encoded: Encoded, point: OperatingPoint) -> CloudResult:
        """Points as they are decoded, and what the classifier makes of them.

        Raises:
            BitstreamError: a file is cut or damaged.
            UserError: there is no classifier.
        """
        if self.classifier is None:
            raise UserError(f"{self.name} has no classifier: give codec.classifier=RUN, a trained codec of clouds.")
        decided = [self._classified(self.decoded(data), self.classifier) for data in encoded.strings[0]]
        whole = [points for _, points in decided] if len(decided) == 1 else None  # of several the numbers differ
        scores = torch.cat([scores for scores, _ in decided])
        return CloudResult(scores, None if whole is None else whole[0], self.classifier.classes)

    @torch.no_grad()
    def _classified(self, points: np.ndarray, classifier: CloudCodec) -> tuple[Tensor, Tensor]:
        try:
            centred = torch.from_numpy(normalised(points))[None]
        except Refused:  # all points in one place: a cloud without a shape
            centred = torch.zeros(1, 1, 3)
        place = classifier.operating_points[0]
        x = centred.to(next(classifier.parameters()).device)
        scores = classifier.synthesis(classifier.analysis(classifier.pad(x), place), place)
        return scores.cpu(), centred

    def decoded(self, data: bytes) -> np.ndarray:
        """Points (P, 3), float64, of a file, in units of its own; raises BitstreamError for one that is none."""
        self._require_bounded(data)
        points = self._decode(data)
        if not (points.ndim == 2 and points.shape[1:] == (3,) and 0 < len(points) <= MAX_POINTS):
            raise BitstreamError(f"The {self.name} file holds no points of a cloud.")
        return points.astype(np.float64)

    def pack(self, encoded: Encoded, point: OperatingPoint) -> bytes:
        """The file of a single cloud."""
        (files,) = encoded.strings
        if len(files) != 1:
            raise UserError(f"A file holds one cloud, not {len(files)}.")
        return files[0]

    def unpack(self, data: bytes) -> tuple[Encoded, OperatingPoint]:
        """A file as its encoded form; only its shape is looked at, the rest by `decompress`."""
        self._require_bounded(data)
        return Encoded(((data,),), _NO_SIZE), OperatingPoint(index=-1, label="unknown")

    def _require_bounded(self, data: bytes) -> None:
        if len(data) > MAX_BYTES:
            raise BitstreamError(f"A {self.name} file of {len(data):,} bytes is more than this codec reads.")
        self._require_shape(data)

    def _not_whole(self) -> BitstreamError:
        return BitstreamError(f"This is not a whole {self.name} file of a point cloud.")

    @abstractmethod
    def _encode(self, points: np.ndarray, bits: int) -> bytes:
        """The file of points (P, 3) that `on_grid` gave."""

    @abstractmethod
    def _decode(self, data: bytes) -> np.ndarray:
        """Points (P, 3) of a file."""

    @abstractmethod
    def _require_shape(self, data: bytes) -> None:
        """Raise BitstreamError for what has not the shape of a file, and for more than MAX_POINTS points claimed."""


def on_grid(points: np.ndarray, bits: int) -> np.ndarray:
    """Points (P, 3) moved to the nearest of `2^bits` values in -1..1, float64; those that fall together, once.

    A classifier that takes maxima over points does not miss what was there twice, and it costs bits.
    """
    last = 2**bits - 1
    level = np.rint((points.astype(np.float64) + 1) / 2 * last).clip(0, last)
    return np.unique(level, axis=0) / last * 2 - 1

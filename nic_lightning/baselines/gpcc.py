"""G-PCC by MPEG's test model: the program tmc3, which the user builds. The packed file is its bitstream."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nic_lightning.baselines.geometry import MAX_POINTS, GeometryCodec
from nic_lightning.baselines.programs import MAX_MEMORY, find_program, run
from nic_lightning.errors import BitstreamError, UserError
from nic_lightning.media.cloud import ply
from nic_lightning.media.cloud.shape import Refused

_MOST_OUTPUT = 4096 + 32 * MAX_POINTS
"""Bytes of the longest PLY file that is read back: a header, and three doubles for each point."""


class Gpcc(GeometryCodec):
    """The octree of G-PCC (ISO/IEC 23090-9) on whole coordinates, at the test model's defaults, then a classifier.

    The bitstream does not say the unit of the coordinates, nor need it: a classifier sees centred and scaled points.

    Args: see `GeometryCodec`; and
        program: name or path of tmc3.
        timeout_s: seconds that one run may take.
    """

    name = "gpcc"

    def __init__(
        self,
        classifier: str | Path | None = None,
        points: int | None = None,
        bits: Sequence[int] = (1, 2, 3, 4, 5, 6),
        program: str = "tmc3",
        timeout_s: float = 60,
    ) -> None:
        super().__init__(classifier, points, bits)
        if not timeout_s > 0:
            raise UserError(f"{self.name} needs a timeout_s above 0, not {timeout_s}.")
        self.program = find_program(program, self.name, "build https://github.com/MPEGGroup/mpeg-pcc-tmc13")
        self.timeout_s = timeout_s

    def _encode(self, points: np.ndarray, bits: int) -> bytes:
        grid = np.rint((points + 1) / 2 * (2**bits - 1))
        with tempfile.TemporaryDirectory(prefix="nic_gpcc_") as name:
            folder = Path(name)
            (folder / "in.ply").write_bytes(ply.written(grid))
            paths = ["--uncompressedDataPath=in.ply", "--compressedStreamPath=out.bin"]
            settings = ["--disableAttributeCoding=1", "--positionQuantizationScale=1", "--mergeDuplicatedPoints=1"]
            problem = run([self.program, "--mode=0", *paths, *settings], folder, self.timeout_s)
            return self._product(folder / "out.bin", problem, UserError)

    def _decode(self, data: bytes) -> np.ndarray:
        with tempfile.TemporaryDirectory(prefix="nic_gpcc_") as name:
            folder = Path(name)
            (folder / "in.bin").write_bytes(data)
            paths = ["--compressedStreamPath=in.bin", "--reconstructedDataPath=out.ply", "--outputBinaryPly=1"]
            problem = run([self.program, "--mode=1", *paths], folder, self.timeout_s, MAX_MEMORY)
            decoded = self._product(folder / "out.ply", problem, BitstreamError)
        try:
            return ply.parse(decoded).points
        except Refused as error:
            raise BitstreamError(f"The gpcc file does not decode to points: {error}.") from error

    def _product(self, path: Path, problem: str | None, kind: type[UserError]) -> bytes:
        if problem is None and not path.is_file():
            problem = "wrote no file"
        if problem is None and path.stat().st_size > _MOST_OUTPUT:
            problem = f"wrote {path.stat().st_size:,} bytes, more than {MAX_POINTS} points take"
        if problem is not None:
            raise kind(f"{self.name}: {Path(self.program).name} {problem}.")
        return path.read_bytes()

    def _require_shape(self, data: bytes) -> None:
        """Units of a kind of one byte, a length of four and as many bytes (annex B); parameters of the sequence first.

        Its points are counted when they are decoded, by a process of bounded memory and output.
        """
        place = 0
        while place + 5 <= len(data):
            place += 5 + int.from_bytes(data[place + 1 : place + 5], "big")
        if not data or place != len(data) or data[0] != 0:
            raise self._not_whole()

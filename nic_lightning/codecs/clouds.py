"""What codecs of point clouds share: files of a few bytes, streams of many clouds, decisions in place of images.

A codec of clouds has latents without a place, (N, C, 1, 1), and one entropy bottleneck. Its strings come from the
bit-precise coder (`entropy/tight.py`), and depend neither on the order of the points nor on other clouds of a batch.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from nic_lightning import bitstream
from nic_lightning.codecs.base import CodecOutput, Encoded, OperatingPoint
from nic_lightning.codecs.files import State, settled_state
from nic_lightning.codecs.learned import LearnedCodec
from nic_lightning.codecs.receiver import Decoded, Decoding
from nic_lightning.entropy import tight
from nic_lightning.entropy.factorised import EntropyBottleneck
from nic_lightning.entropy.model import to_int32
from nic_lightning.errors import BitstreamError, DataError, UserError, counted
from nic_lightning.media.cloud.result import CloudResult
from nic_lightning.media.cloud.sampling import fixed_subset, normalised
from nic_lightning.media.cloud.shape import MAX_POINTS, Refused

_NO_SIZE = (0, 0)
"""`Encoded.shape` of clouds."""


class CloudCodec(LearnedCodec):
    """A codec of clouds (N, P, 3).

    A method defines `operating_points`, `analysis`, `synthesis` to log probabilities, and perhaps `reconstruction`.
    """

    medium = "cloud"
    entropy_y: EntropyBottleneck
    classes: tuple[str, ...]
    """Names of the classes; none: they have numbers."""
    points: int
    """Points that the codec is trained with; of larger clouds it encodes a subset of so many."""

    def reconstruction(self, y_hat: Tensor) -> Tensor | None:
        """Points (N, P, 3) of latents; None where the codec makes none."""
        return None

    def pad(self, x: Tensor) -> Tensor:
        """What the analysis sees of clouds (N, P, 3): at most `points` of each, the same whatever their order."""
        if x.shape[1] <= self.points:
            return x
        subsets = [fixed_subset(cloud, self.points) for cloud in x.detach().cpu().numpy()]
        # A cloud of fewer different points is filled up by its first one, which changes no maximum.
        filled = [np.concatenate([subset, subset[:1].repeat(self.points - len(subset), 0)]) for subset in subsets]
        return torch.from_numpy(np.stack(filled)).to(x)

    def counted_input(self, size: tuple[int, int]) -> tuple[Tensor, tuple[int, int]]:
        """A training cloud."""
        return torch.empty(1, self.points, 3, device="meta"), (1, self.points)

    def likelihoods(self, y: Tensor, point: OperatingPoint) -> tuple[Tensor, dict[str, Tensor]]:
        """Noisy or rounded latents and their likelihoods."""
        y_hat, likelihood = self.entropy_y(y)
        return y_hat, {"y": likelihood}

    def output(self, x: Tensor, y: Tensor, point: OperatingPoint) -> CodecOutput:
        """What follows the analysis in a forward pass; `x_hat` are log probabilities of the classes (N, K)."""
        y_hat, likelihoods = self.likelihoods(y, point)
        return CodecOutput(self.synthesis(y_hat, point), likelihoods, y, y_hat)

    @torch.no_grad()
    def compress(self, x: Tensor, point: OperatingPoint) -> Encoded:
        """Entropy-code clouds (N, P, 3), each on its own."""
        _require_clouds(x)
        symbols = list(self.symbols(x.split(1), point))
        tables, rows = self.entropy_y.tables, self._rows
        strings = tuple(tight.encode_string(tables, each, rows) for each in symbols)
        return Encoded((strings,), _NO_SIZE, {"y": self._latents(symbols)})

    def symbols(
        self, clouds: Iterable[Tensor], point: OperatingPoint, state: State | None = None
    ) -> Iterator[np.ndarray]:
        """Symbols (C,), int32, of each of the clouds (1, P, 3). A method may have a faster way to the same ones.

        `state` is what `settled_state` says of the codec, where the caller has just asked.
        """
        for cloud in clouds:
            yield to_int32(self.entropy_y.quantise(self.analysis(self.pad(cloud), point)))

    def encode_latents(self, y: Tensor, point: OperatingPoint) -> tuple[list[bytes], dict[str, Tensor]]:
        """One string, which the file tells the length of."""
        symbols = self.entropy_y.quantise(y)
        string = tight.encode_string(self.entropy_y.tables, to_int32(symbols), self._rows)
        return [string], {"y": self.entropy_y.dequantise(symbols)}

    @torch.no_grad()
    def decompress(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, encoded: Encoded, point: OperatingPoint
    ) -> CloudResult:
        """What the receiver decides of N clouds; raises BitstreamError for strings that `compress` did not write."""
        return self._decided(self.decode_latents(encoded, point)["y"], point)

    @torch.no_grad()
    def decode_latents(self, encoded: Encoded, point: OperatingPoint) -> dict[str, Tensor]:
        """Latents (N, C, 1, 1) as the receiver decodes them."""
        columns = list(zip(*encoded.strings, strict=True)) or [()]  # a file without strings is refused below
        return {"y": torch.cat([self.decode_image_latents(c, encoded.shape, point)["y"] for c in columns])}

    def decode_image_latents(
        self, strings: Sequence[bytes], size: tuple[int, int], point: OperatingPoint
    ) -> dict[str, Tensor]:
        """Latents (1, C, 1, 1) of the one string of a cloud; raises BitstreamError for one that is none."""
        self.expect_strings(strings, 1)
        return {"y": self._latents([tight.decode_string(self.entropy_y.tables, strings[0], self._rows)])}

    def _latents(self, symbols: Sequence[np.ndarray]) -> Tensor:
        values = torch.from_numpy(np.stack(symbols)).to(self.entropy_y.quantiles)[:, :, None, None]
        return self.entropy_y.dequantise(values)

    def _decided(self, latents: Tensor, point: OperatingPoint) -> CloudResult:
        """Each cloud on its own: what is decided of it depends on no other."""
        each = [(self.synthesis(y_hat, point), self.reconstruction(y_hat)) for y_hat in latents.split(1)]
        points = [points for _, points in each if points is not None]
        return CloudResult(
            torch.cat([scores for scores, _ in each]), torch.cat(points) if points else None, self.classes
        )

    @property
    def _rows(self) -> np.ndarray:
        return np.arange(self.entropy_y.channels, dtype=np.int32)

    def require_onnx(self) -> None:
        """Raise UserError: a method may have files of its own."""
        raise UserError(f"Codec {self.name} has no ONNX files: leave --onnx out.")

    # Files.

    def require_size(self, height: int, width: int) -> None:
        """Every cloud has as many latents."""

    def pack(self, encoded: Encoded, point: OperatingPoint) -> bytes:
        """File of one cloud (the only one of its batch)."""
        strings = tuple(column[0] for column in encoded.strings)
        head = self.file_fingerprint(point), self.point_to_bytes(point)
        return bitstream.pack(bitstream.Container(*head, *_NO_SIZE, strings, medium="cloud"))

    def file_of(self, x: Tensor, point: OperatingPoint) -> bytes:
        """`pack` of what `compress` makes of a cloud (1, P, 3), sooner: the codec's state is looked at once."""
        _require_clouds(x, 1)
        state = settled_state(self)
        (symbols,) = self.symbols([x.detach()], point, state)
        string = tight.encode_string(self.entropy_y.tables, symbols, self._rows)
        head = self._fingerprint_of(state), self.point_to_bytes(point)
        return bitstream.pack(bitstream.Container(*head, *_NO_SIZE, (string,), medium="cloud"))

    def head(self, point: OperatingPoint) -> bytes:
        """What a file of one cloud has before its string; behind that is the CRC-32 of both."""
        head = self.file_fingerprint(point), self.point_to_bytes(point)
        return bitstream.pack(bitstream.Container(*head, *_NO_SIZE, (b"",), medium="cloud"))[:-4]

    def unpack(self, data: bytes, max_pixels: int = 0) -> tuple[Encoded, OperatingPoint]:
        """Inverse of `pack`; raises BitstreamError for a cut, altered or foreign file."""
        content = bitstream.unpack(data, medium="cloud")
        self.require_own(content)
        return Encoded(tuple((s,) for s in content.strings), _NO_SIZE), self.point_from_bytes(content.point)

    # Streams.

    def stream_bits(self, encoded: Encoded) -> int:
        """Bits that the one cloud of a batch takes in a stream: its string there, and its share of a block's head.

        A whole block of 64 strings below 2,048 bits has 3 bytes of head, 4 of checksum, and at most 7 bits that fill up
        its last byte: 63 bits, one a cloud. Longer strings may have a byte of head more.
        """
        symbols = tight.decode_string(self.entropy_y.tables, encoded.strings[0][0], self._rows)
        length = len(tight.encode(self.entropy_y.tables, symbols, self._rows, prefix=True))
        return length + (1 if length < 2048 else 2)

    @torch.no_grad()
    def encode_stream(self, file: BinaryIO, clouds: Iterable[Tensor], point: OperatingPoint) -> int:
        """Write clouds (1, P, 3) into one stream; returns how many they were. Memory holds 64 of their strings."""
        head = self.file_fingerprint(point), self.point_to_bytes(point)
        header = bitstream.StreamHeader(self.medium, *head, strings=1, joined=True)
        tables, rows, count = self.entropy_y.tables, self._rows, 0
        with bitstream.JoinedWriter(file, header) as writer:
            for symbols in self.symbols(map(_one_cloud, clouds), point):
                writer.add(tight.encode(tables, symbols, rows, prefix=True))
                count += 1
        return count

    @torch.no_grad()
    def decode_stream(self, reader: bitstream.JoinedReader) -> Iterator[CloudResult]:
        """What the receiver decides of the clouds of a stream, block after block; afterwards `reader.cut` says more.

        Raises BitstreamError for a stream that this codec did not write.
        """
        for symbols in self.stream_symbols(reader):
            yield self._decided(self._latents(symbols), self.point_from_bytes(reader.header.point))

    def stream_symbols(self, reader: bitstream.JoinedReader) -> Iterator[list[np.ndarray]]:
        """Symbols of the clouds of each block; raises what `decode_stream` does."""
        header = reader.header
        if header.medium != self.medium or header.strings != 1:
            raise BitstreamError(f"The stream holds {header.medium}s, and codec {self.name} decodes {self.medium}s.")
        self.require_fingerprint(header, self.fingerprint())
        self.point_from_bytes(header.point)
        yield from filter(None, map(self._block, reader))

    def _block(self, block: bitstream.JoinedBlock) -> list[np.ndarray]:
        """Symbols of a block's whole clouds."""
        strings, found = tight.TightReader(self.entropy_y.tables, block.body), []
        for _ in range(block.count):
            symbols = strings.read(self._rows)
            if symbols is None:
                break
            found.append(symbols)
        if block.whole and strings.cut:
            raise BitstreamError("A block of the stream has fewer strings than it says: the stream is altered.")
        if block.whole:
            strings.close()
        return found

    def decoding(self, **wishes: Any) -> Decoding:
        """How a receiver decodes files and streams; there is nothing to choose."""
        self.require_options(wishes)

        def of(data: bytes) -> Decoded:
            if not bitstream.is_stream(data):
                return Decoded(((),), iter([self.decompress(*self.unpack(data))]))
            reader = bitstream.JoinedReader(io.BytesIO(data))
            results = list(self.decode_stream(reader))
            if not results:
                raise BitstreamError("The stream holds no whole cloud.")
            result = joined_results(results)
            note = f"; the stream is cut behind {counted(len(result.log_probabilities), 'cloud')}" if reader.cut else ""
            return Decoded(((),), iter([result]), note)

        return Decoding((), of)

    # For Python programs.

    def encode(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, cloud: np.ndarray | Tensor, *, point: OperatingPoint | str | float | None = None
    ) -> bytes:
        """The bytes of a cloud's file, as `nic compress` writes them.

        Args:
            cloud: array or tensor (P, 3), centred and scaled into the unit sphere here.
            point: label of an operating point, or a lambda.

        Raises:
            DataError: it is no such cloud.
            UserError: the codec has no such point.
        """
        points = np.asarray(cloud.detach().cpu() if isinstance(cloud, Tensor) else cloud)
        if points.ndim != 2 or points.shape[1] != 3 or points.dtype.kind not in "fiu" or len(points) > MAX_POINTS:
            raise DataError(f"encode takes an array (points, 3) of numbers, not {points.dtype} {points.shape}.")
        try:
            x = torch.from_numpy(normalised(points.astype(np.float64)))[None]
        except Refused as error:
            raise DataError(f"The cloud cannot be encoded: {error}.") from error
        return self._choice(x.to(self.entropy_y.medians), {} if point is None else {"point": point}).data

    def decode(self, data: bytes, **receiver: Any) -> CloudResult:  # pyright: ignore[reportIncompatibleMethodOverride]
        """What the receiver decides of a file's or stream's clouds; a cut stream is a UserWarning.

        Raises:
            BitstreamError: the file is cut, altered, foreign, or made by another model.
        """
        if not isinstance(data, bytes | bytearray | memoryview):
            raise UserError(f"decode takes the bytes of a file, not {type(data).__name__}: Path(...).read_bytes().")
        decoded = self.decoding(**receiver).of(bytes(data))
        if decoded.note:
            warnings.warn(f"Decoded{decoded.note}.", stacklevel=2)
        return next(decoded.images)


def joined_results(results: Sequence[CloudResult]) -> CloudResult:
    """One result of the clouds of several."""
    points = [result.points for result in results if result.points is not None]
    scores = torch.cat([result.log_probabilities for result in results])
    return CloudResult(scores, torch.cat(points) if points else None, results[0].classes)


def _one_cloud(x: Tensor) -> Tensor:
    _require_clouds(x, 1)
    return x


def _require_clouds(x: Tensor, count: int | None = None) -> None:
    if x.dim() != 3 or x.shape[-1] != 3 or not x.numel() or count not in (None, len(x)):
        raise DataError(f"A codec of clouds takes clouds ({count or 'N'}, P, 3), not {tuple(x.shape)}.")

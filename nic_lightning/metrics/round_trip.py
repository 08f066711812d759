"""One input through one file, and what has to hold of it: equal latents, bits as the entropy model says."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from nic_lightning.codecs.base import Encoded, ImageCodec, OperatingPoint
from nic_lightning.codecs.learned import LearnedCodec
from nic_lightning.errors import UserError
from nic_lightning.media.base import medium_of
from nic_lightning.metrics.rate import bits

MAX_GAP = 0.02
"""Real bits may exceed the estimate by this much (files above MIN_GAP_BYTES)."""
MIN_GAP_BYTES = 2048


class Refusal(UserError):
    """A codec does not take an input: too large for its format, say."""


class EvaluationError(UserError):
    """A codec whose real bits contradict its own estimate or its own decoder."""


@dataclass(frozen=True)
class Trip:
    """One input through one file."""

    encoded: Encoded
    data: bytes
    received: Encoded
    x_hat: Any
    """What the medium's codecs give back."""
    encode_ms: float
    decode_ms: float
    peak_memory_mib: float | None
    y: Tensor | None = None
    """Latents that a learned codec quantised to make the file, where they were seen."""
    decoded: Mapping[str, Tensor] | None = None
    """Latents that it decoded the file to, where they were seen."""


def round_trip(codec: ImageCodec, x: Tensor, point: OperatingPoint, device: torch.device, held: int = 0) -> Trip:
    """Compress, pack, unpack, decompress; milliseconds of the two halves, peak memory of both on a GPU.

    The latents on the way are noted, so that no check has to make them a second time. `held` are bytes on the GPU that
    are the caller's and no part of the peak.
    """
    _peak(device)
    start = _clock(device)
    try:
        with _noted(codec, "encode_latents") as quantised:
            encoded = codec.compress(x, point)
        data = codec.pack(encoded, point)
    except UserError as error:
        raise Refusal(str(error)) from error
    middle = _clock(device)
    peak = _peak(device)
    received, received_point = codec.unpack(data)
    # A classic file does not say its quality; nor does decoding it need to know.
    chosen = point if received_point.index < 0 else received_point
    with _noted(codec, "decode_latents") as decoded:
        x_hat = codec.decompress(received, chosen, **_receiver(codec, chosen)).to(device)
    end = _clock(device)
    y = quantised[0][0][0] if len(quantised) == 1 and quantised[0][0] else None
    mib = None if peak is None else (max(peak, _peak(device) or 0) - held) / 2**20
    seen = decoded[0][1] if len(decoded) == 1 else None
    return Trip(encoded, data, received, x_hat, 1e3 * (middle - start), 1e3 * (end - middle), mib, y, seen)


@contextmanager
def _noted(codec: object, name: str) -> Iterator[list[tuple[tuple[Any, ...], Any]]]:
    """Positional arguments and results of the calls of a codec's method, meanwhile; none where it has no such method.

    What `compress` and `decompress` do within stays the codec's own affair: a subclass may have others.
    """
    calls: list[tuple[tuple[Any, ...], Any]] = []
    method, own = getattr(codec, name, None), getattr(codec, "__dict__", None)
    if method is None or own is None:
        yield calls
        return

    def noting(*arguments: Any, **named: Any) -> Any:
        result = method(*arguments, **named)
        calls.append((arguments, result))
        return result

    before = own.get(name)
    setattr(codec, name, noting)
    try:
        yield calls
    finally:
        if before is None:
            delattr(codec, name)
        else:
            setattr(codec, name, before)


def _receiver(codec: ImageCodec, point: OperatingPoint) -> dict[str, Any]:
    return codec.receiver_example(point) if isinstance(codec, LearnedCodec) else {}


def checked(codec: ImageCodec, x: Tensor, point: OperatingPoint, trip: Trip, name: str) -> Mapping[str, Tensor] | None:
    """Likelihoods of a learned codec, None for a classic one; EvaluationError if something contradicts."""
    medium = medium_of(codec)
    where = f"{codec.name} at point {point.label!r} on {medium.name} {name!r}"
    if not medium.handler().fits(x, trip.x_hat):
        raise EvaluationError(f"{where}: decoded {tuple(trip.x_hat.shape)} instead of {tuple(x.shape)}.")
    _check_latents(codec, point, trip, where, medium.items)
    if not isinstance(codec, nn.Module):
        return None
    if isinstance(codec, LearnedCodec):  # what its forward pass gives, which would make an image, too
        y = codec.analysis(codec.pad(x), point) if trip.y is None else trip.y
        likelihoods = codec.likelihoods(y, point)[1]
    else:
        likelihoods = cast(Any, codec)(x, point).likelihoods
    _check_bits(trip, float(bits(likelihoods).sum()), where)
    return likelihoods


def _check_latents(codec: ImageCodec, point: OperatingPoint, trip: Trip, where: str, items: str) -> None:
    decode_latents = getattr(codec, "decode_latents", None)
    if decode_latents is None:
        return
    decoded = decode_latents(trip.received, point) if trip.decoded is None else trip.decoded
    for latent, sent in trip.encoded.latents.items():
        if not torch.equal(decoded[latent].to(sent.device), sent):
            raise EvaluationError(
                f"{where}: the decoder's latents {latent!r} differ from the encoder's, so its {items} are "
                f"wrong; encoder and decoder must use the same weights, tables and device."
            )


def _check_bits(trip: Trip, estimate: float, where: str) -> None:
    payload = 8 * sum(len(string) for strings in trip.encoded.strings for string in strings)
    if len(trip.data) > MIN_GAP_BYTES and payload > (1 + MAX_GAP) * estimate:
        raise EvaluationError(
            f"{where}: the file takes {payload / estimate - 1:.1%} more bits than the entropy model says: "
            f"its CDF tables or quantiles are stale; call update_tables() after training and before saving."
        )


def real_bits(codec: ImageCodec, trip: Trip) -> float:
    """Bits of an input's file; of a codec whose inputs come in streams, what this one takes in a stream.

    A file of its own would be a header and little else where an input is a few bits.
    """
    in_stream = getattr(codec, "stream_bits", None)
    return 8 * len(trip.data) if in_stream is None else in_stream(trip.received)


def reconstructs(codec: ImageCodec, point: OperatingPoint) -> bool:
    """Whether what is decoded is compared with its original."""
    return codec.reconstructs(point) if isinstance(codec, LearnedCodec) else True


def _peak(device: torch.device) -> int | None:
    """Bytes at most since the last call; None but on a GPU."""
    if device.type != "cuda":
        return None
    peak = torch.cuda.max_memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    return peak


def _clock(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()

"""Evaluation with real files: every image is written, read back and decoded at every operating point."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from nic_lightning.codecs.base import Encoded, ImageCodec, OperatingPoint
from nic_lightning.codecs.learned import LearnedCodec
from nic_lightning.errors import UserError
from nic_lightning.media.image.png import save_png
from nic_lightning.metrics.channels import ChannelRates, channel_rates
from nic_lightning.metrics.distances import Distances
from nic_lightning.metrics.fidelity import ms_ssim, psnr, round_to_8_bits, to_db
from nic_lightning.metrics.measured import Measured
from nic_lightning.metrics.names import reconstruction_path
from nic_lightning.metrics.rate import bits

MAX_GAP = 0.02
"""Real bits may exceed the estimate by this much (files above MIN_GAP_BYTES)."""
MIN_GAP_BYTES = 2048


class Refusal(UserError):
    """A codec does not take an image: too large for its format, say."""


class Memory(Protocol):
    """What was measured of images (1, 3, H, W) before, for an evaluation that goes on where it was stopped."""

    def find(self, item: str, x: Tensor) -> Measured | None:
        """What was measured of the image at the points of this evaluation; None: nothing."""
        ...

    def keep(self, item: str, x: Tensor, measured: Measured) -> None:
        """The image was measured."""
        ...


class EvaluationError(UserError):
    """A codec whose real bits contradict its own estimate or its own decoder."""


@dataclass(frozen=True)
class _Trip:
    """One image through one file."""

    encoded: Encoded
    data: bytes
    received: Encoded
    x_hat: Tensor
    encode_ms: float
    decode_ms: float
    peak_memory_mib: float | None


@torch.no_grad()
def evaluate_codec(
    codec: ImageCodec,
    images: Iterable[tuple[str, Tensor]],
    dataset: str,
    *,
    points: Sequence[OperatingPoint] | None = None,
    lpips: nn.Module | None = None,
    device: str | torch.device = "cpu",
    save_images: Path | None = None,
    save_count: int = 2,
    macs: Mapping[str, int] | None = None,
    on_item: Callable[[str, OperatingPoint], None] | None = None,
    channels: ChannelRates | None = None,
    distances: Distances | None = None,
    memory: Memory | None = None,
    on_refusal: Callable[[str, str], None] | None = None,
) -> list[dict[str, Any]]:
    """Rows of the results table, one for each image and point; "run" and "experiment" are the caller's.

    A learned codec is put into eval mode on `device`; its entropy tables are used as they are. Of an image that the
    codec refuses to encode at some point, the rows hold no measurements, and the reason in a column "refused".

    Args:
        codec: learned or classic codec.
        images: (name, image) pairs; images (3, H, W) or (1, 3, H, W), float RGB in [0, 1].
        dataset: name of the data set, for the rows.
        points: operating points to measure; None: all of the codec's.
        lpips: distance of two batches of images, as `metrics.lpips.load_lpips` gives it.
        device: where a learned codec and the metrics run.
        save_images: folder for PNGs, `<run>/figures/reconstructions`; None saves none.
        save_count: how many images, from the first, are saved.
        macs: multiply-accumulate operations of one image, by point label, to be copied into the rows.
        on_item: called with the image's name and the point after each row.
        channels: gets the bits of each latent channel of a learned codec.
        distances: gets every original and its reconstructions.
        memory: finds what was measured of an image before, and keeps what is measured now.
        on_refusal: called with the name of an image that the codec refuses, and why.

    Raises:
        Refusal: the codec refuses every image.
        EvaluationError: the decoder's latents differ from the encoder's, the decoded size is wrong, or the
            payload is more than 2 % above the estimate.
    """
    device = torch.device(device)
    module = codec if isinstance(codec, nn.Module) else None
    if module is not None:
        module.to(device).eval()
    if lpips is not None:
        lpips.to(device).eval()
    chosen = list(codec.operating_points if points is None else points)
    work = _ImageWork(codec, dataset, chosen, device, lpips, macs or {}, distances, on_item)
    rows: list[dict[str, Any]] = []
    refusals: list[str] = []
    number = -1
    for number, (name, image) in enumerate(images):
        x = (image if image.dim() == 4 else image.unsqueeze(0)).to(device)
        folder = save_images if number < save_count else None
        found = memory.find(name, x) if memory is not None else None
        if found is None or not work.has_pictures(folder, name, found):
            try:
                found = work.measure(name, x, folder)
            except Refusal as error:
                found = Measured(refused=str(error))
            if memory is not None:
                memory.keep(name, x, found)
        if found.refused is not None:
            refusals.append(found.refused)
            if on_refusal is not None:
                on_refusal(name, found.refused)
        rows += found.rows or [work.gap(name, x, point, found.refused) for point in chosen]
        for label, latent, rates in found.rates if channels is not None else ():
            channels.add(codec.name, dataset, label, latent, rates)  # pyright: ignore[reportOptionalMemberAccess]
    if refusals and len(refusals) == number + 1:
        raise Refusal(f"{codec.name} takes no image of {dataset}: {refusals[0]}")
    return rows


@dataclass
class _ImageWork:
    """What is done with each image of a data set at all points."""

    codec: ImageCodec
    dataset: str
    points: Sequence[OperatingPoint]
    device: torch.device
    lpips: nn.Module | None
    macs: Mapping[str, int]
    distances: Distances | None
    on_item: Callable[[str, OperatingPoint], None] | None
    warm: bool = False
    """Whether a file was made before: the first one takes longer."""

    def measure(self, name: str, x: Tensor, folder: Path | None) -> Measured:
        """One image (1, 3, H, W); its pictures into `folder`, where there is one. Raises Refusal."""
        codec, found, decoded = self.codec, Measured(), []
        if not self.warm and self.points:
            _round_trip(codec, x, self.points[0], self.device)
            self.warm = True
        if folder is not None:
            save_png(x[0], reconstruction_path(folder, self.dataset, name, None))
        for point in self.points:
            trip = _round_trip(codec, x, point, self.device)
            likelihoods = _check(codec, x, point, trip, name)
            if likelihoods:
                rates = channel_rates(likelihoods, x.shape[-2] * x.shape[-1])
                found.rates.extend((point.label, latent, values) for latent, values in rates.items())
            found.rows.append(self._row(name, x, point, trip, likelihoods))
            if self.distances is not None and _reconstructs(codec, point):
                decoded.append((point, trip.x_hat, found.rows[-1]["bpp"]))
            if folder is not None:
                save_png(trip.x_hat[0], reconstruction_path(folder, self.dataset, name, point.label))
            if self.on_item is not None:
                self.on_item(name, point)
        for point, x_hat, bpp in decoded:  # of an image that is not refused at a later point
            self.distances.add(point, x, x_hat, bpp)  # pyright: ignore[reportOptionalMemberAccess]
        return found

    def _row(
        self, name: str, x: Tensor, point: OperatingPoint, trip: _Trip, likelihoods: Mapping[str, Tensor] | None
    ) -> dict[str, Any]:
        module = self.codec if isinstance(self.codec, nn.Module) else None
        estimate = float(bits(likelihoods).sum()) if likelihoods else None  # pyright: ignore[reportArgumentType]
        return (
            {"codec": self.codec.name, "dataset": self.dataset, "item": name, **asdict(point)}
            | _rates(x, trip, estimate)
            | (_fidelity(x, trip.x_hat, self.lpips) if _reconstructs(self.codec, point) else {})
            | {"parameters": _parameters(module), "macs": self.macs.get(point.label)}
        )

    def gap(self, name: str, x: Tensor, point: OperatingPoint, reason: str | None) -> dict[str, Any]:
        """The row of an image that the codec refuses."""
        place = {"codec": self.codec.name, "dataset": self.dataset, "item": name, **asdict(point)}
        return place | {"pixels": x.shape[-2] * x.shape[-1], "refused": reason}

    def has_pictures(self, folder: Path | None, name: str, found: Measured) -> bool:
        """Whether all pictures of an image are there that this evaluation keeps."""
        if folder is None or found.refused is not None:
            return True
        labels = [None, *(point.label for point in self.points)]
        return all(reconstruction_path(folder, self.dataset, name, label).is_file() for label in labels)


def _round_trip(codec: ImageCodec, x: Tensor, point: OperatingPoint, device: torch.device) -> _Trip:
    """Compress, pack, unpack, decompress; milliseconds of the two halves, peak memory of both on a GPU."""
    cuda = device.type == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats(device)
    start = _clock(device)
    try:
        encoded = codec.compress(x, point)
        data = codec.pack(encoded, point)
    except UserError as error:
        raise Refusal(str(error)) from error
    middle = _clock(device)
    received, received_point = codec.unpack(data)
    # A classic file does not say its quality; nor does decoding it need to know.
    chosen = point if received_point.index < 0 else received_point
    x_hat = codec.decompress(received, chosen, **_receiver(codec, chosen)).to(device)
    end = _clock(device)
    peak = torch.cuda.max_memory_allocated(device) / 2**20 if cuda else None
    return _Trip(encoded, data, received, x_hat, 1e3 * (middle - start), 1e3 * (end - middle), peak)


def _receiver(codec: ImageCodec, point: OperatingPoint) -> dict[str, Any]:
    return codec.receiver_example(point) if isinstance(codec, LearnedCodec) else {}


def _check(codec: ImageCodec, x: Tensor, point: OperatingPoint, trip: _Trip, name: str) -> Mapping[str, Tensor] | None:
    """Likelihoods of a learned codec, None for a classic one; EvaluationError if something contradicts."""
    where = f"{codec.name} at point {point.label!r} on image {name!r}"
    if trip.x_hat.shape != x.shape:
        raise EvaluationError(f"{where}: decoded {tuple(trip.x_hat.shape)} instead of {tuple(x.shape)}.")
    decode_latents = getattr(codec, "decode_latents", None)
    if decode_latents is not None:
        decoded = decode_latents(trip.received, point)
        for latent, sent in trip.encoded.latents.items():
            if not torch.equal(decoded[latent].to(sent.device), sent):
                raise EvaluationError(
                    f"{where}: the decoder's latents {latent!r} differ from the encoder's, so its images are "
                    f"wrong; encoder and decoder must use the same weights, tables and device."
                )
    if not isinstance(codec, nn.Module):
        return None
    if isinstance(codec, LearnedCodec):  # what its forward pass gives, which would make an image, too
        likelihoods = codec.likelihoods(codec.analysis(codec.pad(x), point), point)[1]
    else:
        likelihoods = cast(Any, codec)(x, point).likelihoods
    estimate = float(bits(likelihoods).sum())
    payload = 8 * sum(len(string) for strings in trip.encoded.strings for string in strings)
    if len(trip.data) > MIN_GAP_BYTES and payload > (1 + MAX_GAP) * estimate:
        raise EvaluationError(
            f"{where}: the file takes {payload / estimate - 1:.1%} more bits than the entropy model says: "
            f"its CDF tables or quantiles are stale; call update_tables() after training and before saving."
        )
    return likelihoods


def _reconstructs(codec: ImageCodec, point: OperatingPoint) -> bool:
    return codec.reconstructs(point) if isinstance(codec, LearnedCodec) else True


def _rates(x: Tensor, trip: _Trip, estimate: float | None) -> dict[str, Any]:
    """What the results table says of one image's file: rates, times, memory."""
    pixels = x.shape[-2] * x.shape[-1]
    return {
        "pixels": pixels,
        "bytes": len(trip.data),
        "bpp": 8 * len(trip.data) / pixels,
        "bpp_estimated": None if estimate is None else estimate / pixels,
        "encode_ms": trip.encode_ms,
        "decode_ms": trip.decode_ms,
        "peak_memory_mib": trip.peak_memory_mib,
    }


def _fidelity(x: Tensor, x_hat: Tensor, lpips: nn.Module | None) -> dict[str, float | None]:
    """How far the decoded picture is from its original, both rounded to 8 bits."""
    reference, decoded = round_to_8_bits(x), round_to_8_bits(x_hat.float())
    similarity = ms_ssim(reference, decoded)
    return {
        "psnr": float(psnr(reference, decoded)),
        "ms_ssim": _number(similarity),
        "ms_ssim_db": _number(to_db(similarity)),
        "lpips": None if lpips is None else _number(lpips(reference, decoded)),
    }


def _number(value: Tensor) -> float | None:
    """NaN (an image too small for the metric) is a value that is not there."""
    number = float(value)
    return None if number != number else number


def _parameters(module: nn.Module | None) -> int | None:
    """Parameters without the entropy models, which by convention are submodules named `entropy_...`."""
    if module is None:
        return None
    named = module.named_parameters()
    return sum(p.numel() for name, p in named if not name.startswith("entropy_"))


def _clock(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()

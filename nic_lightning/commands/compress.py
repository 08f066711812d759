"""`nic compress`: images, or what else codecs take, to .nic files."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from nic_lightning.bitstream import JoinedReader
from nic_lightning.commands.file_by_file import each, none_is_usable
from nic_lightning.commands.models import default_for
from nic_lightning.commands.options import (
    Option,
    OutOrBeside,
    Overwrite,
    at_least_one,
    exclusive,
    one_to_hundred,
    takes,
)
from nic_lightning.errors import UserError
from nic_lightning.media.base import Medium, all_media, look_at, medium_of
from nic_lightning.media.handling import Inputs
from nic_lightning.runs.index.labels import require_labels, require_source
from nic_lightning.runs.record.files import write_atomically

if TYPE_CHECKING:
    from torch import Tensor

    from nic_lightning.codecs.base import OperatingPoint
    from nic_lightning.codecs.learned import LearnedCodec
    from nic_lightning.commands.choice import Choice

DEFAULT_QUALITY = 50
_TARGET = exclusive("Operating point or target (one at most)")


def _targets() -> list[Option]:
    """An option for each target of each medium."""
    known = {key: target.target_help for medium in all_media() for key, target in medium.targets.items()}
    return [
        Option(key, Annotated[float | None, Parameter(group=_TARGET, help=help_text)])
        for key, help_text in known.items()
    ]


@takes(_targets(), after="mode")
def compress(
    images: Annotated[list[Path], Parameter(name="IMAGE")],
    /,
    *,
    run: Annotated[Path | None, Parameter(metavar="RUN")] = None,
    out: OutOrBeside = None,
    quality: Annotated[int | None, Parameter(metavar="1..100", group=_TARGET, validator=one_to_hundred)] = None,
    max_bytes: Annotated[int | None, Parameter(metavar="N", group=_TARGET, validator=at_least_one)] = None,
    point: Annotated[str | None, Parameter(metavar="LABEL", group=_TARGET)] = None,
    mode: Annotated[str | None, Parameter(metavar="MODE", group=_TARGET)] = None,
    max_macs: Annotated[str | None, Parameter(metavar="X")] = None,
    max_latency_ms: Annotated[float | None, Parameter(metavar="X")] = None,
    overwrite: Overwrite = False,
    **targets: Any,
) -> int:
    """Write a .nic file for each image, and say its size, its rate and the PSNR of what it decodes to.

    The file of photo.png is called photo.nic, or photo.png.nic where another image is called photo, too. An image that
    cannot be read is named, and the others go on. A folder of point clouds, or an HDF5 file of many, makes one stream.

    Without --run it is the zoo's default model for images, or for what else the files are; nic zoo list shows which.

    Args:
        images: images of any size, such as PNG or JPEG; for codecs of point clouds OFF, PLY, XYZ, NPY or HDF5
        run: run folder, checkpoint file, export, or the name of a model of the zoo
        out: folder to write into (default: beside each image)
        quality: from 1, the lowest operating point, over 50, the default one in the middle, to 100, the highest
        max_bytes: the highest quality whose file has at most N bytes
        point: operating point, or any lambda of a continuous codec (default: the middle operating point)
        mode: of a translation codec: translate, or autoencode
        max_macs: multiply-accumulates for each pixel of the image, both transforms together, such as 10k or 1.5M: the
            widest point of a slimmable codec that takes no more, or with --bpp or --psnr the best of those that do not
        max_latency_ms: the same for the time of both transforms, measured on this machine for the image's size;
            entropy coding is not counted
        overwrite: replace files that exist
        **targets: what the codec's medium can be searched for

    Examples:
        nic compress photo.jpg
        nic compress photo.jpg --quality 80
        nic compress *.jpg --max-bytes 50000 -o files
        nic compress photo.png --run runs/first --point 512 -o files
        nic compress *.png --run runs/first --bpp 0.25 -o files
        nic compress chair.off scans --run runs/point_cloud -o files
    """
    if run is not None:
        require_source(run)
        require_labels(run, point and [point])
    if none_is_usable(images, look_at):
        return 2
    wishes = {"point": point, "mode": mode, "quality": quality, "max_bytes": max_bytes, **targets}
    wishes |= {"max_macs": max_macs, "max_latency_ms": max_latency_ms}
    model = default_for(images) if run is None else None
    run = run if model is None else model.folder
    assert run is not None
    require_labels(run, point and [point])
    from nic_lightning.codecs.loading import load_codec
    from nic_lightning.commands.choice import chooser

    codec = load_codec(run)
    codec.require_files()
    if model is not None and len(codec.operating_points) > 1 and all(wish is None for wish in wishes.values()):
        wishes["quality"] = DEFAULT_QUALITY
    about = "" if model is None else _about(model.name, wishes["quality"])
    making = _Making(codec, medium_of(codec), wishes, chooser(codec, **wishes), about)
    return each(images, out, ".nic", making.file, overwrite, whole_names=True)


def _about(model: str, quality: int | None) -> str:
    """Which model of the zoo was taken, and which quality."""
    return f"Model {model}." if quality is None else f"Model {model}, quality {quality} of 1 to 100."


@dataclass(frozen=True)
class _Making:
    """How files are made: by which codec, at which of its points, and what is said of each."""

    codec: LearnedCodec
    medium: Medium
    wishes: Mapping[str, Any]
    choose: Callable[[Tensor], Choice]
    about: str

    def file(self, source: Path, target: Path) -> str:
        """Write the file of an input, or of several, and describe it."""
        handler = self.medium.handler()
        several = handler.several(source)
        if several is not None:
            point = _one_point(self.codec, self.medium, self.wishes)
            made = _stream(self.codec, self.medium, several, point, target)
            return f"{made}  ({self.about})" if self.about else made
        x, changes = handler.read(source)
        choice, divisor = self.choose(x), handler.divisor(x)
        del x  # a large input beside its latents and its copy that is decoded would be one too many: it is read again
        quality = _quality(self.codec, self.medium, choice, source)
        write_atomically(target, choice.data)
        size = len(choice.data)
        lost = [f"{change[0].upper()}{change[1:]}." for change in changes]
        notes = " ".join(filter(None, [self.about, choice.message, *lost]))
        note = f"  ({notes})" if notes else ""
        rate = f"{8 * size / divisor:.4f} {self.medium.rate.unit}"
        return f"{target}: {size:,} bytes, {rate}, point {choice.point.label}{quality}{note}"


def _one_point(codec: LearnedCodec, medium: Medium, wishes: Mapping[str, Any]) -> OperatingPoint:
    """The operating point of a stream; UserError for a target or a budget."""
    from nic_lightning.codecs.quality import point_of_quality

    point, quality = wishes["point"], wishes["quality"]
    if any(wish is not None for key, wish in wishes.items() if key not in ("point", "quality", "mode")):
        raise UserError(f"the {medium.items} of a stream have one operating point: give --point, --quality or nothing")
    if quality is not None:
        return point_of_quality(codec, quality)
    return codec.point(point) if point else codec.default_point


def _stream(codec: LearnedCodec, medium: Medium, several: Inputs, point: OperatingPoint, target: Path) -> str:
    """One file of many inputs, which is decoded before it is written."""
    encode = getattr(codec, "encode_stream", None)
    if encode is None:
        raise UserError(f"codec {codec.name} makes no streams: name the {medium.items} one by one")
    file = io.BytesIO()
    count = encode(file, (x for _, x in several.each), point)
    data = file.getvalue()
    if codec.decodes_alone(point):
        (decoded,) = codec.decoding().of(data).images
        back = decoded.shape[0]
    else:
        back = sum(map(len, codec.stream_symbols(JoinedReader(io.BytesIO(data)))))  # pyright: ignore
    if back != count:
        raise UserError(f"of {count:,} {medium.items} {back:,} came back: the codec's tables are damaged")
    write_atomically(target, data)
    rate = f"{8 * len(data) / count:.4f} {medium.rate.unit}"
    return f"{target}: {len(data):,} bytes, {count:,} {medium.items}, {rate}, point {point.label}"


def _quality(codec: LearnedCodec, medium: Medium, choice: Choice, source: Path) -> str:
    """Quality of what the bytes decode to, so that no file is written that does not decode.

    A translation has none: its image is not the source, and its style is chosen later.
    """
    encoded, point = codec.unpack(choice.data)
    if not codec.decodes_alone(point):
        codec.decode_latents(encoded, point)
        return ""
    quality = medium.quality(medium.default)
    (decoded,) = codec.decoding().of(choice.data).images
    if (verdict := medium.handler().verdict(decoded)) is not None:
        return f", {verdict}"
    original, _ = medium.handler().read(source)
    value = medium.handler().quality(quality.key, original, decoded)
    return f", {value:.{quality.digits}f} {quality.unit or quality.title}"

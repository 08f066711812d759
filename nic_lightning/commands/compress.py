"""`nic compress`: images, or what else codecs take, to .nic files."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from nic_lightning.bitstream import JoinedReader
from nic_lightning.commands.file_by_file import each, none_is_usable
from nic_lightning.commands.options import Option, Out, Overwrite, exclusive, takes
from nic_lightning.errors import UserError
from nic_lightning.media.base import Medium, all_media, look_at, medium_of
from nic_lightning.media.handling import Inputs
from nic_lightning.runs.index.labels import require_labels, require_source
from nic_lightning.runs.record.files import write_atomically

if TYPE_CHECKING:
    from nic_lightning.codecs.base import OperatingPoint
    from nic_lightning.codecs.learned import LearnedCodec
    from nic_lightning.commands.choice import Choice

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
    run: Annotated[Path, Parameter(metavar="RUN")],
    out: Out,
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

    Args:
        images: images of any size, such as PNG or JPEG; for codecs of point clouds OFF, PLY, XYZ, NPY or HDF5
        run: run folder, checkpoint file or export
        out: folder to write into
        point: operating point, or any lambda of a continuous codec (default: the middle operating point)
        mode: of a translation codec: translate, or autoencode
        max_macs: multiply-accumulates for each pixel of the image, both transforms together, such as 10k or 1.5M: the
            widest point of a slimmable codec that takes no more, or with --bpp or --psnr the best of those that do not
        max_latency_ms: the same for the time of both transforms, measured on this machine for the image's size;
            entropy coding is not counted
        overwrite: replace files that exist
        **targets: what the codec's medium can be searched for

    Examples:
        nic compress photo.png --run runs/first --point 512 -o files
        nic compress *.png --run runs/first --bpp 0.25 -o files
        nic compress chair.off scans --run runs/point_cloud -o files
    """
    require_source(run)
    require_labels(run, point and [point])
    if none_is_usable(images, look_at):
        return 2
    from nic_lightning.codecs.loading import load_codec
    from nic_lightning.commands.choice import chooser

    codec = load_codec(run)
    codec.require_files()
    budget = {"max_macs": max_macs, "max_latency_ms": max_latency_ms}
    choose = chooser(codec, point=point, mode=mode, **budget, **targets)
    medium = medium_of(codec)
    handler = medium.handler()

    def one(source: Path, target: Path) -> str:
        several = handler.several(source)
        if several is not None:
            wishes = (max_macs, max_latency_ms, *targets.values())
            return _stream(codec, medium, several, _one_point(codec, medium, point, wishes), target)
        x, changes = handler.read(source)
        choice, divisor = choose(x), handler.divisor(x)
        del x  # a large input beside its latents and its copy that is decoded would be one too many: it is read again
        quality = _quality(codec, medium, choice, source)
        write_atomically(target, choice.data)
        size = len(choice.data)
        lost = [f"{change[0].upper()}{change[1:]}." for change in changes]
        notes = " ".join(filter(None, [choice.message, *lost]))
        note = f"  ({notes})" if notes else ""
        rate = f"{8 * size / divisor:.4f} {medium.rate.unit}"
        return f"{target}: {size:,} bytes, {rate}, point {choice.point.label}{quality}{note}"

    return each(images, out, ".nic", one, overwrite, whole_names=True)


def _one_point(codec: LearnedCodec, medium: Medium, label: str | None, wishes: Sequence[Any]) -> OperatingPoint:
    """The operating point of a stream; UserError for a target or a budget."""
    if any(wish is not None for wish in wishes):
        raise UserError(f"the {medium.items} of a stream have one operating point: give --point, or nothing")
    return codec.point(label) if label else codec.default_point


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

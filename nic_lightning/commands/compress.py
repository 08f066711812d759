"""`nic compress`: images to .nic files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from nic_lightning.commands.each import each, none_is_usable
from nic_lightning.commands.options import Out, Overwrite, exclusive
from nic_lightning.data.images import read_image, require_image
from nic_lightning.runs.index.labels import require_labels, require_source
from nic_lightning.runs.record.files import write_atomically

if TYPE_CHECKING:
    from torch import Tensor

    from nic_lightning.codecs.learned import LearnedCodec
    from nic_lightning.commands.choice import Choice

_TARGET = exclusive("Operating point or target (one at most)")


def compress(
    images: Annotated[list[Path], Parameter(name="IMAGE")],
    /,
    *,
    run: Annotated[Path, Parameter(metavar="RUN")],
    out: Out,
    point: Annotated[str | None, Parameter(metavar="LABEL", group=_TARGET)] = None,
    mode: Annotated[str | None, Parameter(metavar="MODE", group=_TARGET)] = None,
    bpp: Annotated[float | None, Parameter(group=_TARGET)] = None,
    psnr: Annotated[float | None, Parameter(group=_TARGET)] = None,
    max_macs: Annotated[str | None, Parameter(metavar="X")] = None,
    max_latency_ms: Annotated[float | None, Parameter(metavar="X")] = None,
    overwrite: Overwrite = False,
) -> int:
    """Write a .nic file for each image, and say its size, its rate and the PSNR of what it decodes to.

    The file of photo.png is called photo.nic, or photo.png.nic where another image is called photo, too. An image that
    cannot be read is named, and the others go on.

    Args:
        images: images of any size, such as PNG or JPEG
        run: run folder, checkpoint file or export
        out: folder to write into
        point: operating point, or any lambda of a continuous codec (default: the middle operating point)
        mode: of a translation codec: translate, or autoencode
        bpp: bits per pixel that each file shall have
        psnr: PSNR in dB that each image shall have
        max_macs: multiply-accumulates for each pixel of the image, both transforms together, such as 10k or 1.5M: the
            widest point of a slimmable codec that takes no more, or with --bpp or --psnr the best of those that do not
        max_latency_ms: the same for the time of both transforms, measured on this machine for the image's size;
            entropy coding is not counted
        overwrite: replace files that exist

    Examples:
        nic compress photo.png --run runs/first --point 512 -o files
        nic compress *.png --run runs/first --bpp 0.25 -o files
    """
    require_source(run)
    require_labels(run, point and [point])
    if none_is_usable(images, require_image):
        return 2
    from nic_lightning.codecs.loading import load_codec
    from nic_lightning.commands.choice import chooser
    from nic_lightning.media.image.memory import to_tensor

    codec = load_codec(run)
    codec.require_files()
    budget = {"max_macs": max_macs, "max_latency_ms": max_latency_ms}
    choose = chooser(codec, point=point, mode=mode, bpp=bpp, psnr=psnr, **budget)

    def one(source: Path, target: Path) -> str:
        pixels, changes = read_image(source)
        x = to_tensor(pixels)[None]
        choice = choose(x)
        quality = _quality(codec, choice, x)
        write_atomically(target, choice.data)
        size = len(choice.data)
        lost = [f"{change[0].upper()}{change[1:]}." for change in changes]
        notes = " ".join(filter(None, [choice.message, *lost]))
        note = f"  ({notes})" if notes else ""
        rate = 8 * size / (x.shape[-2] * x.shape[-1])
        return f"{target}: {size:,} bytes, {rate:.4f} bpp, point {choice.point.label}{quality}{note}"

    return each(images, out, ".nic", one, overwrite, whole_names=True)


def _quality(codec: LearnedCodec, choice: Choice, x: Tensor) -> str:
    """PSNR of what the bytes decode to, so that no file is written that does not decode.

    A translation has none: its image is not the source, and its style is chosen later.
    """
    from nic_lightning.metrics.fidelity import psnr

    encoded, point = codec.unpack(choice.data)
    if not codec.decodes_alone(point):
        codec.decode_latents(encoded, point)
        return ""
    return f", {psnr(x, codec.decompress(encoded, point)).item():.2f} dB"

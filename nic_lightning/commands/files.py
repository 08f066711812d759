"""`nic compress` and `nic decompress`: images to .nic files and back, with a trained codec."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from nic_lightning import bitstream
from nic_lightning.codecs.base import ImageCodec
from nic_lightning.codecs.learned import LearnedCodec
from nic_lightning.codecs.loading import load_codec
from nic_lightning.codecs.scalable import ScalableAutoencoder
from nic_lightning.codecs.translation import I2ICodec
from nic_lightning.commands.choice import Choice, chooser
from nic_lightning.commands.each import each, read_file, require_free
from nic_lightning.commands.styles import styles_of, translate
from nic_lightning.data.images import read_image
from nic_lightning.data.transforms import to_tensor
from nic_lightning.metrics.evaluation import save_png
from nic_lightning.metrics.fidelity import psnr as psnr_of
from nic_lightning.runs.record.files import write_atomically


def compress(images: list[Path], out: Path, run: Path, *, overwrite: bool = False, **wishes: Any) -> int:
    """Write one .nic file for each image into `out`; the exit code, 2 when one of them could not be.

    It is called photo.nic, or photo.png.nic where another image is called photo, too.

    `wishes` are those of `choice.chooser`: a point, a target, a budget.
    """
    codec = load_codec(run)
    codec.require_files()
    choose = chooser(codec, **wishes)

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
    if isinstance(codec, I2ICodec) and (choice.point.mode == "translate" or codec.side == "sender"):
        codec.decode_latents(*codec.unpack(choice.data))
        return ""
    return f", {psnr_of(x, decode(codec, choice.data)).item():.2f} dB"


def decompress(
    files: list[Path],
    out: Path,
    run: Path,
    *,
    layers: int | None = None,
    progressive: bool = False,
    overwrite: bool = False,
    **style: Any,
) -> int:
    """Write one PNG for each .nic file into `out`; the exit code, 2 when one of them could not be.

    Of layered files only the first `layers`, where given; with `progressive` NAME.layers1.png, NAME.layers2.png and so
    on, one PNG for each layer. `style` is what `styles.styles_of` takes: domain, reference, seed, samples.
    """
    codec = load_codec(run)
    styles = styles_of(codec, **style)
    if styles is not None:
        return translate(codec, files, out, styles, overwrite)

    def one(source: Path, target: Path) -> str:
        data = read_file(source)
        if layers is not None:
            data = bitstream.truncate(data, layers)
        if not progressive:
            return _write_image(decode(codec, data), target)
        encoded, point = codec.unpack(data)  # refuses it before an image is written
        counts = range(1, bitstream.count_layers(bitstream.unpack(data)) + 1)
        assert isinstance(codec, ScalableAutoencoder)
        targets = [target.with_name(f"{source.stem}.layers{count}.png") for count in counts]
        for path in targets:
            require_free(path, overwrite)
        pictures = codec.refinements(encoded, point)
        return "\n".join(_write_image(x_hat, path) for x_hat, path in zip(pictures, targets, strict=True))

    return each(files, out, ".layers1.png" if progressive else ".png", one, overwrite)


def _write_image(x_hat: Tensor, target: Path) -> str:
    save_png(x_hat[0], target)
    return f"{target}: {x_hat.shape[-2]}x{x_hat.shape[-1]}"


def decode(codec: ImageCodec, data: bytes) -> Tensor:
    """Image (1, 3, H, W) in [0, 1] of a file's bytes."""
    encoded, point = codec.unpack(data)
    return codec.decompress(encoded, point)

"""`nic compress` and `nic decompress`: images to .nic files and back, with a trained codec."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from nic_lightning.bitstream import MAX_PIXELS
from nic_lightning.codecs.base import ImageCodec, OperatingPoint
from nic_lightning.codecs.learned import LearnedCodec
from nic_lightning.codecs.loading import load_codec
from nic_lightning.codecs.search import search_point
from nic_lightning.data.images import read_rgb
from nic_lightning.data.transforms import to_tensor
from nic_lightning.errors import BitstreamError, UserError
from nic_lightning.metrics.evaluation import save_png
from nic_lightning.metrics.fidelity import psnr as psnr_of
from nic_lightning.runs.files import write_atomically

MAX_FILE_BYTES = 8 * MAX_PIXELS
"""Nothing longer than 64 bits for each pixel of the largest image is read as a .nic file."""


def compress(
    images: list[Path],
    out: Path,
    run: Path,
    *,
    point: str | None = None,
    bpp: float | None = None,
    psnr: float | None = None,
    overwrite: bool = False,
) -> int:
    """Write one .nic file for each image into `out`; the exit code, 2 when one of them could not be."""
    codec = load_codec(run)
    chosen = None if bpp is not None or psnr is not None else _chosen_point(codec, point)

    def one(source: Path, target: Path) -> str:
        x = to_tensor(read_rgb(source))[None]
        message = None
        if chosen is not None:
            used, data = chosen, codec.pack(codec.compress(x, chosen), chosen)
        else:
            found = search_point(codec, x, bpp=bpp, psnr=psnr)
            used, data, message = found.point, found.data, found.message
        quality = psnr_of(x, decode(codec, data)).item()  # from the bytes: a file that does not decode is not written
        write_atomically(target, data)
        rate = 8 * len(data) / (x.shape[-2] * x.shape[-1])
        note = f"  ({message})" if message else ""
        return f"{target}: {len(data):,} bytes, {rate:.4f} bpp, point {used.label}, {quality:.2f} dB{note}"

    return _each(images, out, ".nic", one, overwrite)


def decompress(files: list[Path], out: Path, run: Path, *, overwrite: bool = False) -> int:
    """Write one PNG for each .nic file into `out`; the exit code, 2 when one of them could not be."""
    codec = load_codec(run)

    def one(source: Path, target: Path) -> str:
        x_hat = decode(codec, _read(source))
        save_png(x_hat[0], target)
        return f"{target}: {x_hat.shape[-2]}x{x_hat.shape[-1]}"

    return _each(files, out, ".png", one, overwrite)


def decode(codec: ImageCodec, data: bytes) -> Tensor:
    """Image (1, 3, H, W) in [0, 1] of a file's bytes."""
    encoded, point = codec.unpack(data)
    return codec.decompress(encoded, point)


def _chosen_point(codec: LearnedCodec, label: str | None) -> OperatingPoint:
    points = codec.operating_points
    if label is not None:
        return codec.point(label)
    if len(points) > 1:
        labels = ", ".join(p.label for p in points)
        raise UserError(f"Choose an operating point with --point ({labels}), or a target with --bpp or --psnr.")
    return points[0]


def _each(sources: list[Path], out: Path, suffix: str, one: Callable[[Path, Path], str], overwrite: bool) -> int:
    """Run `one(source, target)` for each file: a bad one is named and the others go on."""
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is not a folder; give one with -o.")
    failed, written = 0, set()
    for source in sources:
        target = out / f"{source.stem}{suffix}"
        try:
            if target in written:
                raise UserError(f"another file of this command already made {target}")
            if target.exists() and not overwrite:
                raise UserError(f"{target} exists; use --overwrite to replace it")
            print(one(source, target), flush=True)
            written.add(target)
        except (UserError, OSError) as error:
            failed += 1
            print(f"{source}: {error}", file=sys.stderr)
    if failed:
        print(f"{failed} of {len(sources)} files failed.", file=sys.stderr)
    return 2 if failed else 0


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise BitstreamError("no such file")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise BitstreamError(f"the file is longer than {MAX_FILE_BYTES:,} bytes and was not read")
    return path.read_bytes()

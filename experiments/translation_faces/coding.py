"""Autoencoding beside JPEG on the same images, file by file: python coding.py IMAGES RUNS OUT.csv

Writes real files, reads them back, decodes, and measures PSNR and LPIPS of 8-bit images. `head_bytes` of a .nic file is
all but its two strings; of a JPEG file all but its entropy-coded scan: markers, quantisation and Huffman tables.
JPEG makes Huffman tables for each picture, which keeps its small files smallest.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nic_lightning import load_codec
from nic_lightning.baselines.pillow import Jpeg
from nic_lightning.codecs.base import ImageCodec, OperatingPoint
from nic_lightning.codecs.translation import AUTOENCODE
from nic_lightning.data.datasets import ImageFolder
from nic_lightning.metrics.fidelity import psnr, round_to_8_bits
from nic_lightning.metrics.lpips import LpipsAlex, load_lpips
from nic_lightning.report.experiments.gathering import write_csv

QUALITIES = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 60, 70, 80, 90, 95)
START_OF_SCAN, END_OF_IMAGE = b"\xff\xda", b"\xff\xd9"
COLUMNS = ("codec", "point", "item", "bytes", "head_bytes", "psnr", "lpips")
Row = dict[str, Any]


def jpeg_head(data: bytes) -> int:
    """Bytes of a baseline JPEG file that are not its single scan's entropy-coded data."""
    place = 2
    while data[place : place + 2] != START_OF_SCAN:
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    scan = place + 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    assert data.endswith(END_OF_IMAGE)
    return scan + len(END_OF_IMAGE)


@torch.no_grad()
def measured(
    name: str, codec: ImageCodec, point: OperatingPoint, images: ImageFolder, lpips: LpipsAlex, head: Callable[..., int]
) -> list[Row]:
    """A row for each image."""
    rows: list[Row] = []
    for item, image in images:
        x: Tensor = image[None]
        encoded = codec.compress(x, point)
        data = codec.pack(encoded, point)
        x_hat = round_to_8_bits(codec.decompress(codec.unpack(data)[0], point))
        rows.append(
            {
                "codec": name,
                "point": point.label,
                "item": item,
                "bytes": len(data),
                "head_bytes": head(data, encoded),
                "psnr": f"{float(psnr(x, x_hat)):.4f}",
                "lpips": f"{float(lpips(x, x_hat)):.5f}",
            }
        )
    return rows


def nic_head(data: bytes, encoded: Any) -> int:
    """Bytes of a .nic file that are not its strings."""
    return len(data) - sum(len(column[0]) for column in encoded.strings)


def main(images: str, runs: str, out: str) -> None:
    """All runs of a folder that autoencode, and JPEG."""
    folder, lpips = ImageFolder(images), load_lpips()
    if lpips is None:
        sys.exit("LPIPS needs its weights: see nic data weights.")
    rows: list[Row] = []
    for run in sorted(path for path in Path(runs).iterdir() if (path / "checkpoints" / "last.ckpt").is_file()):
        rows += measured(run.name, load_codec(run).eval(), AUTOENCODE, folder, lpips, nic_head)
    jpeg = Jpeg(QUALITIES, optimize=True)
    for point in jpeg.operating_points:
        rows += measured("jpeg", jpeg, point, folder, lpips, lambda data, _: jpeg_head(data))
    write_csv(Path(out), COLUMNS, rows)


if __name__ == "__main__":
    main(*sys.argv[1:])

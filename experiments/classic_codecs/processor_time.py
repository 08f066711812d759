"""Measure the processor time of each codec's encoder and decoder, which other work on the machine hardly changes.

python experiments/classic_codecs/processor_time.py [--out FOLDER]

Writes processor_time.csv: medians over four Kodak images of 768x512, one run each at the middle operating point of a
codec, after one to warm up. Programs of their own (BPG, VTM) are left out: their time is not this process's.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

from nic_lightning.callbacks.chosen import classic_codecs
from nic_lightning.data.datasets import evaluation_set
from nic_lightning.report.experiments.gathering import write_csv

NAMES = ["jpeg", "jpeg_444", "jpeg2000", "webp", "avif", "avif_444", "hevc", "hevc_444", "jpegxl"]
IMAGES = (0, 4, 12, 22)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent)
    out = parser.parse_args().out
    images = evaluation_set("kodak", None)
    pictures = [image[None] for image in (images[i][1] for i in IMAGES)]
    rows = []
    for codec in classic_codecs(NAMES):
        point = codec.operating_points[len(codec.operating_points) // 2]
        runs = []
        for picture in pictures[:1] + pictures:
            start = time.process_time()
            data = codec.pack(codec.compress(picture, point), point)
            middle = time.process_time()
            codec.decompress(codec.unpack(data)[0], point)
            runs.append((8 * len(data) / picture[0, 0].numel(), middle - start, time.process_time() - middle))
        rate, encode, decode = (statistics.median(column) for column in zip(*runs[1:], strict=True))
        times = {"encode_cpu_ms": round(1e3 * encode, 1), "decode_cpu_ms": round(1e3 * decode, 1)}
        rows.append({"codec": codec.name, "point": point.label, "bpp": round(rate, 3), **times})
    write_csv(out / "processor_time.csv", list(rows[0]), rows)


if __name__ == "__main__":
    main()

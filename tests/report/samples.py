"""Runs on disk for the report's tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image

from nic_lightning.metrics.names import RECONSTRUCTIONS, reconstruction_path
from nic_lightning.runs.record.record import RunRecord
from nic_lightning.runs.record.results import write_results

LEARNED = ((0.1, 28.0), (0.2, 30.0), (0.4, 32.5), (0.8, 35.0))
CLASSIC = ((0.2, 27.0), (0.4, 29.5), (0.8, 32.0), (1.6, 36.0), (3.2, 40.0))


def row(codec: str, label: str, bpp: float, psnr: float, **more: Any) -> dict[str, Any]:
    return {
        "run": "run",
        "codec": codec,
        "dataset": "kodak",
        "item": "a.png",
        "label": label,
        "bpp": bpp,
        "psnr": psnr,
        "ms_ssim_db": psnr / 2,
        "encode_ms": 2.0,
        "decode_ms": 3.0,
        **more,
    }


def learned_rows(codec: str = "modulated", scale: float = 1.0, **more: Any) -> list[dict[str, Any]]:
    rows = []
    for i, (rate, psnr) in enumerate(LEARNED):
        point = {"lmbda": 64.0 * 4**i, "bpp_estimated": rate * scale * 0.99}
        rows.append(row(codec, str(64 * 4**i), rate * scale, psnr, **point, **more))
    return rows


def classic_rows(codec: str = "jpeg", **more: Any) -> list[dict[str, Any]]:
    return [row(codec, f"q{20 * i}", rate, psnr, quality=20.0 * i, **more) for i, (rate, psnr) in enumerate(CLASSIC)]


def make_run(folder: Path, rows: list[dict[str, Any]], pictures: bool = False, config: Any = None) -> Path:
    record = RunRecord(folder)
    record.start(config or {"name": folder.name, "seed": 0}, ["codec=modulated"])
    for step in range(3):
        record.log(step, {"train/loss": 3.0 - step, "validation/kodak/psnr@64": 25.0 + step})
    write_results(folder / "results.parquet", rows)
    if pictures:
        for each in rows:
            for label in (None, each["label"]):
                path = reconstruction_path(folder / RECONSTRUCTIONS, each["dataset"], each["item"], label)
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (8, 6), (200, 10, 90)).save(path)
    record.finish("finished")
    return folder

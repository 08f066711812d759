"""How long the report of many runs takes to make, and to open in Chromium."""

from __future__ import annotations

import math
import random
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from nic_lightning.report.page.html import write_report
from nic_lightning.runs.record.record import RunRecord
from nic_lightning.runs.record.results import write_results

_OPENED = """() => ({
  shown: performance.getEntriesByName("first-contentful-paint")[0]?.startTime,
  script: performance.getEntriesByName("report-start")[0]?.startTime,
  sketch: performance.getEntriesByName("report-sketch")[0]?.startTime,
  curves: performance.getEntriesByName("report-curves")[0]?.startTime,
  loaded: performance.getEntriesByType("navigation")[0].loadEventEnd,
})"""


def main(runs: int, images: int, points: int, keep: Path | None) -> None:
    """Make the runs, write the report, open it; print the times of both."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = keep or Path(temporary)
        for number in range(runs):
            if not (folder / "runs" / f"run{number:03d}" / "results.parquet").exists():
                make_run(folder / "runs" / f"run{number:03d}", number, images, points)
        page = folder / "report.html"
        start, start_of_process = time.perf_counter(), time.process_time()
        problems = write_report([folder / "runs"], page)
        wall, cpu = time.perf_counter() - start, time.process_time() - start_of_process
        rows = runs * images * points
        print(f"{runs} runs, {rows:,} rows: page of {page.stat().st_size / 2**20:.1f} MiB, {len(problems)} problems")
        print(f"made in {wall:.1f} s ({cpu:.1f} s of processor time)")
        _print_opening(page)


def make_run(folder: Path, number: int, images: int, points: int) -> None:
    """A finished run as training and evaluation leave it, with made-up results: smooth curves and some noise."""
    draw = random.Random(number)
    record = RunRecord(folder)
    record.start(_config(folder.name, number), [f"seed={number}", "codec=modulated"])
    for step in range(100, 4001, 100):
        values = {
            "train/loss": 5 + 40 / step,
            "train/bpp": 0.4 + 1 / step,
            "validation/kodak/psnr@64": 25 + step / 1000,
        }
        record.log(step, values)
    gain = draw.uniform(-0.6, 0.6)
    rows = [_row(folder.name, number, image, point, gain, draw) for image in range(images) for point in range(points)]
    write_results(folder / "results.parquet", rows)
    record.finish("finished")


def _config(name: str, number: int) -> dict[str, Any]:
    task = {"learning_rate": 1e-4 * (1 + number % 5), "freeze": [], "gradient_clip": 1.0}
    codec = {
        "_target_": "nic_lightning.codecs.modulated.Modulated",
        "width": 48 * (1 + number % 4),
        "lambdas": [64, 4096],
    }
    return {"name": name, "seed": number, "codec": codec, "task": task, "trainer": {"max_steps": 4000, "devices": 1}}


def _row(run: str, number: int, image: int, point: int, gain: float, draw: random.Random) -> dict[str, Any]:
    rate = 0.08 * 2 ** (0.6 * point) * (1 + 0.03 * image) * draw.uniform(0.995, 1.005)
    psnr = 33 + 4.5 * math.log2(rate / 0.3) / 1.6 - 0.1 * image + gain
    similarity = 14 + 0.6 * (psnr - 33)
    names = {"run": run, "codec": "modulated", "experiment": run, "dataset": "kodak", "item": f"kodim{image + 1:02d}"}
    place = {"index": point, "label": str(64 * 2**point), "lmbda": 64.0 * 2**point, "pixels": 393216}
    measured = {"bytes": round(rate * 49152), "bpp": rate, "bpp_estimated": rate * 0.995, "psnr": psnr}
    measured |= {"ms_ssim": 1 - 10 ** (-similarity / 10), "ms_ssim_db": similarity, "lpips": 0.6 - 0.012 * psnr}
    cost = {"encode_ms": 90.0 + number % 7, "decode_ms": 110.0, "macs": 10**9 * (1 + number % 4), "parameters": 10**6}
    return names | place | measured | cost


def _print_opening(page: Path) -> None:
    """Time until the curves are sketched, and until Plotly has drawn them, where Chromium and Playwright are."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        chromium = None
    if chromium is None:
        print("not opened: that takes Chromium (apt-get install chromium) and Playwright (pip install playwright)")
        return
    with sync_playwright() as playwright:  # pyright: ignore[reportPossiblyUnboundVariable]
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1400, "height": 900})
        tab.set_default_timeout(300_000)
        tab.goto(page.resolve().as_uri())
        while (times := tab.evaluate(_OPENED))["curves"] is None:  # the page forbids what wait_for_function does
            tab.wait_for_timeout(50)
        browser.close()
    shown = ", ".join(
        f"{name} {times[name] / 1000:.2f} s" for name in ("shown", "script", "sketch", "loaded", "curves")
    )
    print(f"opened in Chromium, since the start of loading: {shown}")

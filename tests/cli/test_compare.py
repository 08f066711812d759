"""`nic compare`: the page says what real files are, and its pictures are what they decode to."""

from __future__ import annotations

import base64
import html
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

import nic_lightning
from nic_lightning.cli import main
from nic_lightning.codecs.quality import point_of_quality
from nic_lightning.report.page import photo
from tests.codecs.samples import save_checkpoint


def nic(*arguments: object) -> int:
    return main([str(a) for a in arguments])


@pytest.fixture
def cat(tmp_path: Path) -> Path:
    Image.fromarray(data.chelsea()[:180, 100:290]).save(tmp_path / "a<b>.png")
    return tmp_path / "a<b>.png"


def embedded(page: str) -> dict:
    (found,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    return json.loads(found)


def picture(text: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))).convert("RGB"))


def rows(page: str) -> list[list[str]]:
    lines = re.findall(r"<tr>(<td.*?)</tr>", page)
    return [[html.unescape(re.sub(r"<.*?>", "", cell)) for cell in re.findall(r"<td.*?>(.*?)</td>", r)] for r in lines]


def test_files_of_one_size_beside_each_other(make_codec, cat: Path, tmp_path: Path, capsys) -> None:
    out, run = tmp_path / "page.html", save_checkpoint(tmp_path, make_codec, "modulated", lambdas=[64, 512])
    assert nic("compare", cat, "--run", run, "--qualities", "100,1", "-o", out) == 0
    assert capsys.readouterr().out.startswith(f"{out}: ")
    page = out.read_text()
    shown, codec, x = embedded(page), nic_lightning.load(run), np.asarray(Image.open(cat))
    assert np.array_equal(picture(shown["pictures"][0]), x)
    by_ours: list[list[str]] = []
    nearest = 0
    for row in rows(page):
        if row[0] not in ("JPEG", "WebP", "AVIF"):
            by_ours.append(row)
        elif row[2] != "\N{EN DASH}":
            sizes = [int(one[2].replace(",", "")) for one in (row, by_ours[-1])]
            assert 0.8 * sizes[1] < sizes[0] <= sizes[1]
            nearest += 1
    assert nearest >= 2
    for quality, row, rate in zip((1, 100), by_ours, shown["rates"], strict=True):
        file = codec.encode(Image.open(cat), point=point_of_quality(codec, quality))
        assert row[1:3] == [f"quality {quality}", f"{len(file):,}"]
        pixels = codec.decode(file, "numpy")
        assert np.array_equal(picture(shown["pictures"][rate["entries"][1]["picture"]]), pixels)
        error = np.square(pixels.astype(float) - x).mean()
        assert float(row[4]) == pytest.approx(10 * np.log10(255**2 / error), abs=0.006)
    assert "<b>.png" not in page
    assert "http" not in page.replace("http-equiv", "")  # nothing from a network
    assert nic("compare", cat, "--run", run, "-o", out) == 2
    assert "use --overwrite" in capsys.readouterr().err


def test_a_photograph_too_large_for_a_page_shows_a_window(monkeypatch) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    monkeypatch.setattr(photo, "MAX_PICTURES", 40_000)
    own = photo.Shown("photo", "quality 50", 900, 0.67, 30.0, None, pixels)
    page = photo.photo_page("p", pixels, [(own, [photo.Refused("JPEG", "No file is so small.")])])
    shown = embedded(page)
    assert sum(len(base64.b64decode(text)) for text in shown["pictures"]) <= 40_000
    height, width = shown["height"], shown["width"]
    assert 30 < height < 90
    left, top = (120 - width) // 2, (90 - height) // 2
    for text in shown["pictures"]:
        assert np.array_equal(picture(text), pixels[top : top + height, left : left + width])
    assert f"The pictures show {width} x {height} pixels from ({left}, {top}) of 120 x 90, at full resolution." in page
    assert rows(page)[1] == ["JPEG", "No file is so small.", *4 * ["\N{EN DASH}"]]


def test_what_cannot_be_compared(run: Path, unified: Path, cat: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "page.html"
    for arguments, said in (
        ((cat, "--run", unified), "codec ui2icodec does not"),
        ((cat, "--run", run, "--qualities", "0,50"), "whole numbers from 1 to 100"),
        ((tmp_path / "none.png", "--run", run), "no such file"),
    ):
        assert nic("compare", *arguments, "-o", out) == 2
        assert said in capsys.readouterr().err
    assert not out.exists()

"""The page of `nic compare`: one photograph at several rates, ours beside classic codecs with files as large."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import string
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from PIL import Image

from nic_lightning.media.image.pixels import Pixels
from nic_lightning.metrics.side_by_side import Refused, Shown
from nic_lightning.report.page.markup import escaped, number, section, table

MAX_PICTURES = 10 * 2**20
"""Bytes of all pictures in a page; base64 makes a third more of them."""
_BITS = 14
"""Of a pixel in lossless WebP: what the first window is chosen by; noise takes 24, and then it shrinks."""
Rate = tuple[Shown, list[Shown | Refused]]
_NOTE = (
    "Each classic codec at the highest quality whose file is not larger than ours. Whole files count, with headers. "
    "PSNR and MS-SSIM are of the whole photograph, 8 bits a channel, against what was encoded."
)


@dataclass(frozen=True)
class Window:
    """A part of the photograph, in pixels."""

    left: int
    top: int
    width: int
    height: int

    def of(self, pixels: Pixels) -> Pixels:
        """That part of pixels (H, W, 3)."""
        return pixels[self.top : self.top + self.height, self.left : self.left + self.width]


def photo_page(title: str, original: Pixels, rates: Sequence[Rate], notes: Sequence[str] = ()) -> str:
    """HTML with everything in it.

    Pictures are lossless. Where they would take more than MAX_PICTURES, all show one window of the middle, at full
    resolution, and the page says which; numbers are of the whole photograph.

    Args:
        title: of the page.
        original: what was encoded, (H, W, 3).
        rates: what `side_by_side` gives, for each quality.
        notes: sentences, such as what was lost when the photograph was read.
    """
    shown = [[own, *(one for one in others if isinstance(one, Shown))] for own, others in rates]
    window, pictures = _pictures([original, *(one.pixels for rate in shown for one in rate)])
    height, width = original.shape[:2]
    data = {"width": window.width, "height": window.height, "pictures": pictures, "rates": _rates(shown)}
    if (window.width, window.height) != (width, height):
        place = f"{window.width} x {window.height} pixels from ({window.left}, {window.top})"
        notes = [*notes, f"The pictures show {place} of {width} x {height}, at full resolution."]
    about = "".join(f'<p class="note">{escaped(note)}</p>' for note in notes)
    body = section("compare", "Side by side", f'{about}<div id="pictures"></div>')
    body += section("sizes", "Sizes and qualities", _table(rates), _NOTE)
    return _page(title, body, data)


def _pictures(all_pixels: Sequence[Pixels]) -> tuple[Window, list[str]]:
    """The largest window in the middle whose pictures fit, and the pictures as lossless WebP in base64."""
    height, width = all_pixels[0].shape[:2]
    part = min(1.0, (8 * MAX_PICTURES / (_BITS * len(all_pixels) * height * width)) ** 0.5)
    while True:
        across, down = max(1, int(part * width)), max(1, int(part * height))
        window = Window((width - across) // 2, (height - down) // 2, across, down)
        made = [_webp(window.of(pixels)) for pixels in all_pixels]
        if sum(map(len, made)) <= MAX_PICTURES or across == down == 1:
            return window, [base64.b64encode(data).decode() for data in made]
        part *= 0.8


def _webp(pixels: Pixels) -> bytes:
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, format="WEBP", lossless=True, method=2, exact=True)
    return data.getvalue()


def _rates(shown: Sequence[Sequence[Shown]]) -> list[dict[str, Any]]:
    """What the script draws from: for each rate the original, ours and the others."""
    found, picture = [], 1
    for rate in shown:
        entries = [{"name": "original", "caption": "original", "picture": 0}]
        for one in rate:
            caption = f"{one.name}, {one.setting}: {one.size:,} bytes, {one.psnr:.2f} dB"
            entries.append({"name": one.name, "caption": caption, "picture": picture})
            picture += 1
        found.append({"title": f"{rate[0].size / 1000:,.1f} kB", "entries": entries})
    return found


def _table(rates: Sequence[Rate]) -> str:
    header = ["codec", "setting", "bytes", "bpp", "PSNR [dB]", "MS-SSIM [dB]"]
    rows = []
    for own, others in rates:
        for one in (own, *others):
            if isinstance(one, Refused):
                rows.append([escaped(one.name), escaped(one.reason), *4 * [number(None, 0)]])
                continue
            name = f"<b>{escaped(one.name)}</b>" if one is own else escaped(one.name)
            numbers = [f"{one.size:,}", number(one.bpp, 3), number(one.psnr, 2), number(one.ms_ssim_db, 2)]
            rows.append([name, escaped(one.setting), *numbers])
    return table(header, rows, text_columns=2)


def _page(title: str, body: str, data: dict[str, Any]) -> str:
    """The page around its sections; only its own script, named by its hash, may run."""
    assets = files("nic_lightning.report") / "assets"
    script = (assets / "photo.js").read_text(encoding="utf-8").replace("\r\n", "\n")
    mark = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{mark}'"
    return string.Template((assets / "photo.html").read_text(encoding="utf-8")).substitute(
        title=escaped(title),
        policy=escaped(policy),
        style=(assets / "page.css").read_text(encoding="utf-8"),
        made=time.strftime("%Y-%m-%d %H:%M"),
        body=body,
        data=json.dumps(data, allow_nan=False).replace("<", "\\u003c"),
        script=script,
    )

"""Pictures of many translations at once, as papers on the subject show them."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from nic_lightning.baselines.translation import TranslationSystem
from nic_lightning.metrics.translation import to_8_bits

GAP, EDGE, CELL = 2, 8, 96
"""Pixels between cells, beside what stands apart, and of a cell's side at least: smaller images are shown enlarged."""
_WHITE, _BLACK = (255, 255, 255), (0, 0, 0)
Picture = Image.Image


def reference_grid(system: TranslationSystem, sources: Tensor, references: Tensor, domain: str) -> Picture:
    """References of a domain above, sources at the left, each source in each reference's style between them.

    Sources (N, 3, size, size) and references (M, 3, size, size) in [0, 1].
    """
    styles = system.networks.reference_styles(domain, references)
    rows = [[None, *references], *(_row(system, x, styles) for x in sources)]
    return _table(rows, sources.shape[-1], separate=True)


def latent_grid(system: TranslationSystem, sources: Tensor, domain: str, count: int, seed: int = 0) -> Picture:
    """Sources at the left, each beside it in the same `count` random styles of a domain."""
    styles = system.networks.random_styles(domain, count, seed)
    return _table([_row(system, x, styles) for x in sources], sources.shape[-1])


def lever_grid(systems: Sequence[TranslationSystem], sources: Tensor, reference: Tensor, domain: str) -> Picture:
    """What the rate does: sources at the left, beside them what each system makes of them (thesis figure 4.6).

    All take the style of one reference (3, size, size), shown in the corner. Above each column stand the system's name
    and the mean rate of its files for these sources, header included.
    """
    columns: list[list[Tensor | None]] = [[reference, *sources]]
    titles = [""]
    for system in systems:
        styles = system.networks.reference_styles(domain, reference[None])
        sent = [system.send(x[None]) for x in sources]
        received = [system.receive(one, styles) for one in sent]
        bits = [one.bits or two.bits for one, two in zip(sent, received, strict=True)]
        rate = sum(filter(None, bits)) / len(bits) / sources.shape[-1] ** 2
        titles.append(f"{system.name}\n{rate:.3f} bpp" if all(bits) else system.name)
        columns.append([None, *(one.images[0] for one in received)])
    rows = [list(row) for row in zip(*columns, strict=True)]
    return _table(rows, sources.shape[-1], titles=titles, separate=True)


def _row(system: TranslationSystem, x: Tensor, styles: Tensor) -> list[Tensor | None]:
    images = system.receive(system.send(x[None]), styles).images
    return [x, *images]


def _table(
    rows: Sequence[Sequence[Tensor | None]], size: int, titles: Sequence[str] = (), separate: bool = False
) -> Picture:
    """Cells of images of `size` pixels; first column, and with `separate` the first row, stand apart."""
    size *= (scale := -(-CELL // size))
    head = _title_height(size) if titles else 0
    width = EDGE + len(rows[0]) * (size + GAP)
    height = head + (EDGE if separate else 0) + len(rows) * (size + GAP)
    picture = Image.new("RGB", (width, height), _WHITE)
    for r, row in enumerate(rows):
        top = head + r * (size + GAP) + (EDGE if separate and r else 0)
        for c, cell in enumerate(row):
            if cell is not None:
                picture.paste(_image(cell, scale), (c * (size + GAP) + (EDGE if c else 0), top))
    draw = ImageDraw.Draw(picture)
    for c, title in enumerate(titles):
        place = (c * (size + GAP) + EDGE, 2)
        draw.multiline_text(place, _fitting(draw, title, size), _BLACK, font=_font(size))
    return picture


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(max(9, size // 14))


def _title_height(size: int) -> int:
    return round(3.2 * max(9, size // 14))


def _fitting(draw: ImageDraw.ImageDraw, title: str, size: int) -> str:
    """Each line cut to the width of a cell."""
    lines = []
    for line in title.split("\n"):
        shown = line
        while shown and draw.textlength(shown, font=_font(size)) > size:
            shown = shown[:-1]
        lines.append(shown)
    return "\n".join(lines)


def _image(cell: Tensor, scale: int) -> Picture:
    pixels = to_8_bits(cell.float()).permute(1, 2, 0).repeat_interleave(scale, 0).repeat_interleave(scale, 1)
    return Image.fromarray(pixels.cpu().numpy())

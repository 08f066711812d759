"""The few pieces of HTML that the sections are made of. Every text that comes in is escaped here."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from typing import Any

DASH = "&ndash;"


def escaped(text: Any) -> str:
    """Any text as HTML, quotes included."""
    return html.escape(str(text), quote=True)


def number(value: float | None, digits: int, unit: str = "") -> str:
    """A number with so many decimals, a dash when there is none."""
    if value is None:
        return DASH
    if not math.isfinite(value):
        return "&infin;" if value > 0 else DASH
    return f"{value:.{digits}f}{unit}"


def table(header: Sequence[str], rows: Iterable[Sequence[str]], text_columns: int = 1) -> str:
    """A table of ready-made HTML cells; the first `text_columns` columns stand to the left."""

    def line(cells: Sequence[str], tag: str) -> str:
        kinds = ["" if i < text_columns else ' class="n"' for i in range(len(cells))]
        return "<tr>" + "".join(f"<{tag}{k}>{c}</{tag}>" for c, k in zip(cells, kinds, strict=True)) + "</tr>"

    body = "\n".join(line(row, "td") for row in rows)
    head = line(header, "th")
    return f'<div class="scroll"><table><thead>{head}</thead><tbody>{body}</tbody></table></div>'


def section(anchor: str, title: str, body: str, note: str = "", menu: str = "") -> str:
    """A section of the page; nothing at all when its body is empty. `menu` is its title in the page's menu."""
    if not body:
        return ""
    small = f'<p class="note">{note}</p>' if note else ""
    return f'<section id="{anchor}" data-menu="{menu or title}"><h2>{title}</h2>{small}{body}</section>'


def details(summary: str, body: str, is_open: bool = False) -> str:
    """A part of the page that folds away; `summary` and `body` are HTML."""
    return f"<details{' open' if is_open else ''}><summary>{summary}</summary>{body}</details>"


def tabs(group: str, parts: Sequence[tuple[str, str]]) -> str:
    """One panel of several, chosen by its (escaped) title; a single panel goes without the choice."""
    if len(parts) == 1:
        return parts[0][1]
    buttons, panels = [], []
    for i, (title, body) in enumerate(parts):
        chosen = "true" if i == 0 else "false"
        buttons.append(f'<button role="tab" data-tab="{group}-{i}" aria-selected="{chosen}">{escaped(title)}</button>')
        panels.append(f'<div role="tabpanel" id="{group}-{i}"{"" if i == 0 else " hidden"}>{body}</div>')
    return f'<div class="tabs"><div role="tablist">{"".join(buttons)}</div>{"".join(panels)}</div>'

"""Fréchet distances of reconstructions: a table for the terminal, a table and plots for the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nic_lightning.report.curves.text import aligned
from nic_lightning.report.page.markup import escaped, number, table
from nic_lightning.report.page.plots import axes_layout
from nic_lightning.report.page.reading import Sources
from nic_lightning.runs.record.text import printable

Row = Mapping[str, Any]
NOTE = (
    "Of all patches of 256 &times; 256 pixels of a data set&rsquo;s reconstructions from those of the originals; less "
    "is better. Rates are those of the images with a patch. Distances of different networks, or of different numbers "
    "of patches, do not compare."
)


def distance_table(rows: Sequence[Row]) -> str:
    """A line for each codec, data set and point; below, what makes values doubtful."""
    texts = ("codec", "dataset", "label", "name")
    cells = [
        [*(row[key] for key in texts), _rate(row), _value(row), str(row.get("patches") or "-"), _images(row)]
        for row in rows
    ]
    lines = aligned(["codec", "data set", "point", "distance", "bpp", "value", "patches", "images"], cells)
    lines += [f"Note: {note}" for note in dict.fromkeys(row["note"] for row in rows if row.get("note"))]
    return "\n".join(printable(line) for line in lines)


def distance_section(sources: Sources) -> str:
    """The table of all runs as HTML; empty where none measured any."""
    rates = _rates(sources)
    rows = [(source.run.name, row) for source in sources.all for row in source.distances]
    if not rows:
        return ""
    lines = []
    for run, row in rows:
        names = map(escaped, (run, row["codec"], row["dataset"], row["label"], row["name"]))
        rate = row.get("bpp", rates.get(_place(run, row)))
        numbers = [number(rate, 4), number(row.get("value"), 2), number(row.get("patches"), 0)]
        lines.append([*names, *numbers, escaped(_images(row))])
    header = ["run", "codec", "data set", "point", "distance", "bpp", "value", "patches", "images"]
    notes = dict.fromkeys(str(row["note"]) for _, row in rows if row.get("note"))
    return table(header, lines, 5) + "".join(f'<p class="note">{escaped(note)}</p>' for note in notes)


def distance_plots(sources: Sources) -> list[tuple[str, dict[str, Any]]]:
    """Pairs (title, plotly figure): distance over rate, one plot for each data set and kind of distance."""
    rates = _rates(sources)
    traces: dict[tuple[str, str], dict[str, list[tuple[float, float, str]]]] = {}
    for source in sources.all:
        for row in source.distances:
            rate, value = row.get("bpp", rates.get(_place(source.run.name, row))), row.get("value")
            if rate is not None and value is not None:
                place = traces.setdefault((row["dataset"], row["name"]), {})
                place.setdefault(f"{source.run.name}: {row['codec']}", []).append((rate, value, row["label"]))
    return [(f"{dataset}: {name}", _figure(curves)) for (dataset, name), curves in traces.items()]


def _figure(curves: Mapping[str, list[tuple[float, float, str]]]) -> dict[str, Any]:
    data = []
    for name, points in curves.items():
        x, y, labels = zip(*sorted(points), strict=True)
        text = [escaped(label) for label in labels]
        data.append({"x": x, "y": y, "text": text, "name": escaped(name), "mode": "lines+markers", "type": "scatter"})
    return {"data": data, "layout": axes_layout("rate [bits per pixel]", "Fréchet distance") | {"showlegend": True}}


def _rates(sources: Sources) -> dict[tuple[str, ...], float]:
    """Mean bits per pixel of each run, codec, data set and point: for older rows, which do not hold their own."""
    seen: dict[tuple[str, ...], list[float]] = {}
    for row in sources.rows:
        if row.get("bpp") is not None:
            seen.setdefault(_place(row["run"], row), []).append(row["bpp"])
    return {place: sum(rates) / len(rates) for place, rates in seen.items()}


def _place(run: str, row: Row) -> tuple[str, ...]:
    return (run, str(row["codec"]), str(row["dataset"]), str(row["label"]))


def _rate(row: Row) -> str:
    return "-" if row.get("bpp") is None else f"{row['bpp']:.4f}"


def _images(row: Row) -> str:
    """How many images have a patch, of how many."""
    some, all_images = row.get("images"), row.get("images_in_all")
    return "-" if some is None else f"{some} of {all_images}" if some != all_images else str(some)


def _value(row: Row) -> str:
    return "-" if row.get("value") is None else f"{row['value']:.3f}"

"""The report as files for papers and spreadsheets: PNG figures, CSV and LaTeX tables."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nic_lightning.errors import RunError
from nic_lightning.media.base import find_medium
from nic_lightning.metrics.names import safe_name
from nic_lightning.report.curves import latex
from nic_lightning.report.curves.comparison import Comparison, comparisons
from nic_lightning.report.curves.curve import TIMES, Curve, gaps_of
from nic_lightning.report.curves.curves import datasets
from nic_lightning.report.curves.figures import rd_figure
from nic_lightning.runs.record.files import write_atomically
from nic_lightning.runs.record.results import RESULT_COLUMNS

Table = tuple[list[str], list[list[str]]]


def write_figures(
    made: Sequence[Curve], anchors: Mapping[str, Curve], rows: Sequence[Mapping[str, Any]], folder: Path
) -> list[Path]:
    """Write into `folder`, file by file, and return the paths.

    Of each data set `rd_<metric>_<data set>.png`, `points_<data set>` and `bd_<data set>`, as .csv and .tex; where
    images have no finite value of a metric, `points_<metric>_<data set>` too, over the others; and the rows of all
    results tables as images.csv.

    Raises:
        RunError: the folder cannot be written.
    """
    try:
        written = [_write(folder / "images.csv", _csv(_rows(rows)))] if rows else []
        for dataset in datasets(made):
            here = [curve for curve in made if curve.dataset == dataset]
            name = safe_name(dataset)
            for metric in here[0].medium.drawn:
                path = rd_figure(made, metric, folder / f"rd_{metric}_{name}.png", dataset)
                written += [path] if path else []
            tables = {"points": _points(here)}
            for gap in gaps_of(here):
                tables[f"points_{gap.metric}"] = _points(gap.curves, ("images", *here[0].medium.rates, gap.metric))
            if len(here) > 1 and dataset in anchors:
                tables["bd"] = _deltas(here, anchors[dataset])
            for kind, table in tables.items():
                written.append(_write(folder / f"{kind}_{name}.csv", _csv(table)))
                written.append(_write(folder / f"{kind}_{name}.tex", _latex(table)))
    except OSError as error:
        raise RunError(f"The figures cannot be written into {folder}: {error.strerror}.") from error
    return written


def _points(here: Sequence[Curve], keys: Sequence[str] = ()) -> Table:
    """Every operating point, means over images; without columns that nobody has."""
    medium = here[0].medium
    digits = dict.fromkeys(medium.rates, 4) | {key: quality.digits for key, quality in medium.measured.items()}
    digits |= dict.fromkeys(TIMES, 1)
    used = [
        key for key in keys or digits if any(point.get(key) is not None for curve in here for point in curve.points)
    ]
    lines = [
        [curve.name, point["label"], *(_number(point.get(key), digits.get(key, 0)) for key in used)]
        for curve in here
        for point in curve.points
    ]
    return ["codec", "point", *used], lines


def _deltas(here: Sequence[Curve], anchor: Curve) -> Table:
    """Every other curve against the anchor, over each metric that both have: BD-rate, gain, their 95 % intervals."""
    lines: list[list[str]] = []
    for metric, quality in anchor.medium.drawn.items():
        if anchor.has(metric):
            judged = [curve for curve in here if curve is anchor or curve.has(metric)]
            rates = comparisons(judged, anchor, metric)
            gains = comparisons(judged, anchor, metric, kind="quality")
            for rate, gain in zip(rates, gains, strict=True):
                images = "" if rate.images is None else str(rate.images)
                lines.append([rate.test, anchor.name, metric, *_delta(rate, 2), *_delta(gain, quality.digits), images])
    header = [
        "codec",
        "anchor",
        "metric",
        "bd_rate_percent",
        "low",
        "high",
        "bd_quality",
        "quality_low",
        "quality_high",
        "images",
    ]
    return header, lines


def _delta(found: Comparison, digits: int) -> list[str]:
    value = None if found.result is None else found.result.value
    ends = (None, None) if found.interval is None else (found.interval.low, found.interval.high)
    return [_number(number, digits) for number in (value, *ends)]


def _rows(rows: Sequence[Mapping[str, Any]]) -> Table:
    """The columns of images, which every table has, and those of the other media that there are rows of."""
    columns = dict.fromkeys(RESULT_COLUMNS)
    for name in dict.fromkeys(row.get("medium") for row in rows if row.get("medium")):
        columns |= dict.fromkeys(("medium", *find_medium(name).columns))
    return list(columns), [["" if row.get(key) is None else str(row.get(key)) for key in columns] for row in rows]


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _csv(table: Table) -> str:
    """A text that a spreadsheet would take for a formula gets an apostrophe before it."""
    out = io.StringIO()
    header, lines = table
    csv.writer(out, lineterminator="\n").writerows([header, *([_harmless(cell) for cell in line] for line in lines)])
    return out.getvalue()


def _harmless(cell: str) -> str:
    if cell[:1] not in ("=", "+", "-", "@", "\t", "\r"):
        return cell
    try:
        float(cell)
    except ValueError:
        return "'" + cell
    return cell


def _latex(table: Table) -> str:
    """A tabular with rules of the booktabs package."""
    header, lines = table
    texts = 3 if header[1] == "anchor" else 2
    out = [rf"\begin{{tabular}}{{{'l' * texts}{'r' * (len(header) - texts)}}}", r"\toprule"]
    out += [" & ".join(map(latex.escaped, header)) + r" \\", r"\midrule"]
    out += [" & ".join(latex.escaped(cell) or "--" for cell in line) + r" \\" for line in lines]
    return "\n".join([*out, r"\bottomrule", r"\end{tabular}", ""])


def _write(path: Path, text: str) -> Path:
    write_atomically(path, text)
    return path

"""One self-contained page about any number of runs: nothing it shows is fetched from anywhere."""

from __future__ import annotations

import base64
import hashlib
import json
import string
import time
from collections.abc import Iterable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from nic_lightning.errors import RunError, UserError
from nic_lightning.report import sections
from nic_lightning.report.curves import METRICS, Curve, curves, datasets, default_anchor
from nic_lightning.report.gallery import gallery
from nic_lightning.report.markup import escaped, section, tabs
from nic_lightning.report.plots import colours, rd_plot, training_plots
from nic_lightning.report.schedule import schedule_plots
from nic_lightning.runs.files import write_atomically
from nic_lightning.runs.index import Run, find_runs

Figures = dict[str, dict[str, Any]]


def write_report(
    runs: Iterable[str | Path],
    out: str | Path,
    *,
    title: str = "Rate-distortion report",
    anchor: str | None = None,
) -> list[str]:
    """Write the page to `out`, whole or not at all.

    Args:
        runs: run folders, or folders of runs.
        out: HTML file to write.
        title: heading of the page.
        anchor: curve or codec that BD-rates are told against; None: the first classic codec, else the first
            curve.

    Returns:
        Sentences about what could not be read or compared; the page shows them too.

    Raises:
        RunError: a path holds no run, or `out` cannot be written.
        UserError: no curve is named `anchor`.
    """
    found = find_runs(runs)
    tables = [(run, _rows(run)) for run in found]
    made = curves(row for _, rows in tables for row in rows)
    anchors = _anchors(made, anchor)
    figures: Figures = {}
    problems: list[str] = []
    if not made:
        problems.append("No run holds results; nic-evaluate writes them.")
    body = [
        section("summary", "Summary", sections.summary(tables, made)),
        section("curves", "Rate-distortion curves", _curve_plots(made, figures), _CURVES_NOTE),
        section("bd-rate", "BD-rate", sections.bd_tables(made, anchors), _BD_NOTE),
        section("rates", "Real and estimated rate", sections.rate_tables(made), _RATES_NOTE),
        section("reconstructions", "Reconstructions", gallery(tables, problems), _PICTURES_NOTE),
        section("schedule", "Lambda schedule", _schedule(found, figures), _SCHEDULE_NOTE),
        section("training", "Training", _training(found, figures)),
        section("configuration", "Configuration", sections.configurations(found)),
    ]
    problems += [problem for run in found for problem in run.problems]
    body.append(sections.problem_list(problems))
    out = Path(out)
    try:
        write_atomically(out, _page(title, "\n".join(body), figures))
    except OSError as error:
        raise RunError(f"The report {out} cannot be written: {error.strerror}.") from error
    return problems


_CURVES_NOTE = (
    "Means over a data set&rsquo;s images, from real files. Solid: learned codecs; dashed: classic ones. "
    "A double click on a plot shows all of it."
)
_BD_NOTE = (
    "Bjontegaard delta rate, piecewise cubic (pchip), and the quality that both curves cover, also as a part "
    "of what either covers (in italics below one half). Curves that do not overlap or are not monotone have "
    "no value."
)
_RATES_NOTE = "Files count whole, with their header; the estimate is the entropy model&rsquo;s, without it."
_SCHEDULE_NOTE = (
    "Validation images, a curve for each update, from light (naive training) to dark; and the lambda of every width."
)
_PICTURES_NOTE = "Rate and PSNR of the single image. Click a picture to see its pixels."


def _rows(run: Run) -> list[dict[str, Any]]:
    """Results of a run, every row with the run's name: two folders may have recorded the same one."""
    return [{**row, "run": run.name} for row in run.results()]


def _anchors(made: Sequence[Curve], wanted: str | None) -> dict[str, Curve]:
    """The anchor of each data set."""
    chosen: dict[str, Curve] = {}
    for dataset in datasets(made):
        here = [curve for curve in made if curve.dataset == dataset]
        named = [curve for curve in here if wanted in (curve.name, curve.codec)]
        found = named[0] if named else default_anchor(here)
        if found is not None:
            chosen[dataset] = found
    if wanted is not None and not any(wanted in (curve.name, curve.codec) for curve in made):
        names = ", ".join(dict.fromkeys(curve.name for curve in made)) or "none"
        raise UserError(f"No curve is named {wanted!r}; there are: {names}.")
    return chosen


def _curve_plots(made: Sequence[Curve], figures: Figures) -> str:
    """Plots of each data set side by side, below buttons that show and hide a curve in all of them."""
    colour = colours(made)
    parts = []
    for dataset in datasets(made):
        here = [curve for curve in made if curve.dataset == dataset]
        plots = []
        for metric, name in METRICS.items():
            if any(curve.has(metric) for curve in here):
                plots.append(_plot(name, rd_plot(here, metric, colour), figures))
        chips = "".join(
            f'<button class="chip{" classic" if curve.classic else ""}" aria-pressed="true" '
            f'data-curve="{escaped(escaped(curve.name))}" style="--c:{colour[curve.name]}">'
            f"<i></i>{escaped(curve.name)}</button>"
            for curve in here
        )
        body = f'<div class="chips">{chips}</div><div class="plots">{"".join(plots)}</div>'
        parts.append((dataset, f'<div class="rd">{body}</div>'))
    return tabs("curves", parts) if parts else ""


def _training(found: Sequence[Run], figures: Figures) -> str:
    logs = {run.name: lines for run in found if (lines := run.metrics())}
    plots = [_plot(title, figure, figures) for title, figure in training_plots(logs)]
    return f'<div class="plots">{"".join(plots)}</div>' if plots else ""


def _schedule(found: Sequence[Run], figures: Figures) -> str:
    logs = {run.name: lines for run in found if (lines := run.metrics())}
    plots = [_plot(title, figure, figures) for title, figure in schedule_plots(logs)]
    return f'<div class="plots">{"".join(plots)}</div>' if plots else ""


def _plot(title: str, figure: dict[str, Any], figures: Figures) -> str:
    key = f"figure-{len(figures)}"
    figures[key] = figure
    return f'<div class="panel"><h3>{escaped(title)}</h3><div class="plot" id="{key}"></div></div>'


def _page(title: str, body: str, figures: Figures) -> str:
    """The page around the sections. Only the two scripts that are named by their hash may run."""
    from plotly.offline import get_plotlyjs

    assets = files("nic_lightning.report") / "assets"
    scripts = [_unix(get_plotlyjs()), _unix((assets / "page.js").read_text(encoding="utf-8"))]
    policy = "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src "
    policy += " ".join(f"'sha256-{_hash(script)}'" for script in scripts)
    # "<" would end the block that the browser reads as data.
    data = json.dumps(figures, allow_nan=False).replace("<", "\\u003c")
    return string.Template((assets / "page.html").read_text(encoding="utf-8")).substitute(
        title=escaped(title),
        policy=escaped(policy),
        style=(assets / "page.css").read_text(encoding="utf-8"),
        made=time.strftime("%Y-%m-%d %H:%M"),
        body=body,
        figures=data,
        plotly=scripts[0],
        script=scripts[1],
    )


def _hash(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _unix(text: str) -> str:
    """Line ends as an HTML parser makes them, since the hash is taken after that."""
    return text.replace("\r\n", "\n").replace("\r", "\n")

"""The page's sections in order, and the data that its scripts fill them from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nic_lightning.report.curves.curve import Curve
from nic_lightning.report.curves.curves import datasets
from nic_lightning.report.page import sections
from nic_lightning.report.page.amortisation import NOTE as AMORTISATION_NOTE
from nic_lightning.report.page.amortisation import amortisation_section
from nic_lightning.report.page.channels import channel_data
from nic_lightning.report.page.complexity import COSTS, costs
from nic_lightning.report.page.critical_points import NOTE as CRITICAL_NOTE
from nic_lightning.report.page.critical_points import critical_plots, critical_table
from nic_lightning.report.page.deltas import delta_data
from nic_lightning.report.page.distances import NOTE as DISTANCES_NOTE
from nic_lightning.report.page.distances import distance_plots, distance_section
from nic_lightning.report.page.embedded import (
    column_data,
    config_data,
    curve_data,
    gap_data,
    media_of,
    medium_data,
    membership,
    metric_data,
    row_data,
)
from nic_lightning.report.page.flow import NOTE as FLOW_NOTE
from nic_lightning.report.page.flow import flow_section
from nic_lightning.report.page.gallery import Gallery
from nic_lightning.report.page.latent_motion import NOTE as MOTION_NOTE
from nic_lightning.report.page.latent_motion import latent_motion_section
from nic_lightning.report.page.markup import escaped, section
from nic_lightning.report.page.plots import training_plots
from nic_lightning.report.page.reading import Sources
from nic_lightning.report.page.schedule import schedule_plots
from nic_lightning.report.page.translations import NOTE as TRANSLATIONS_NOTE
from nic_lightning.report.page.translations import translation_section

OPENS_WITH = 24
"""Curves that are drawn at first; the legend shows the rest."""
Data = dict[str, Any]
_CURVES_NOTE = (
    "Means over a data set&rsquo;s {items}, or one {item}, from real files. Solid: learned codecs; dashed: classic "
    "ones; dotted: published. A double click on a plot shows all of it."
)
_BD_NOTE = (
    "Bjontegaard deltas, piecewise cubic (pchip): rate at equal quality, less is better, and quality at equal rate; "
    "95&nbsp;% intervals by bootstrap over {items}. &ldquo;Over&rdquo; is what both curves cover, and its part of what "
    "either covers (in italics below one half). Curves that do not overlap or are not monotone have no value."
)
_RATES_NOTE = "Files count whole, with their header; the estimate is the entropy model&rsquo;s, without it."
_IMAGES_NOTE = "A click on a row shows the curves of its {item}."
_CHANNELS_NOTE = "Estimated by the entropy model, mean over {items}."
_SCHEDULE_NOTE = (
    "Validation images, a curve for each update, from light (naive training) to dark; and the lambda of every width."
)
_PICTURES_NOTE = (
    "Rate and quality of the single {item}. Error maps show the absolute difference to the original times the gain."
)


def words(made: Sequence[Curve]) -> tuple[str, str]:
    """What one input of the curves is called, and several: as their medium says, where they have one in common."""
    medium, *others = media_of(made)
    return ("input", "inputs") if others else (medium.name, medium.items)


def body(sources: Sources, made: Sequence[Curve], pictures: Gallery, figures: dict[str, Data]) -> list[str]:
    """The sections; those that the page's script fills are empty places."""

    def place(name: str, needed: Any) -> str:
        return f'<div id="{name}"></div>' if needed else ""

    logs = {source.run.name: source.log for source in sources.all if source.log}
    measured = [curve for curve in made if not curve.published]
    training = _plots(training_plots(logs), figures)
    search = (
        '<div class="controls"><input type="search" id="training-filter" placeholder="filter runs and labels"></div>'
    )
    distances = _plots(distance_plots(sources), figures) + distance_section(sources)
    critical = _plots(critical_plots(sources.runs), figures) + critical_table(sources.runs)
    has_channels = any(source.channels for source in sources.all)
    item, items = words(made)

    def about(note: str) -> str:
        return note.format(item=item, items=items)

    return [
        section("summary", "Summary", sections.summary(sources.all, made, items)),
        section("curves", "Rate-distortion curves", place("rd", made), about(_CURVES_NOTE), "Curves"),
        section("bd-rate", "BD-rate", place("deltas", len(made) > 1), about(_BD_NOTE)),
        section("complexity", "Complexity", place("costs", len(measured) > 1)),
        section(
            "reconstructions", "Reconstructions", place("pictures", pictures.items), about(_PICTURES_NOTE), "Pictures"
        ),
        section("amortisation", "Amortisation gap", amortisation_section(sources.runs), AMORTISATION_NOTE),
        section("critical-points", "Critical points", critical, CRITICAL_NOTE),
        section("latent-motion", "Latent motion", latent_motion_section(sources.runs), MOTION_NOTE, "Motion"),
        section("translations", "Translations", translation_section(sources.runs), TRANSLATIONS_NOTE),
        section("distances", "Fréchet distances", distances, DISTANCES_NOTE, "FID"),
        section("flow", "Optical flow", flow_section(sources.runs, sources.rows), FLOW_NOTE, "Flow"),
        section("per-image", items.capitalize(), place("images", measured), about(_IMAGES_NOTE)),
        section("rates", "Real and estimated rate", sections.rate_tables(measured), _RATES_NOTE, "Rates"),
        section("channels", "Channel rates", place("channel-rates", has_channels), about(_CHANNELS_NOTE), "Channels"),
        section("schedule", "Lambda schedule", _plots(schedule_plots(logs), figures), _SCHEDULE_NOTE, "Schedule"),
        section("training", "Training", f'<div class="controls">{search}</div>{training}' if training else ""),
        section("configuration", "Configuration", sections.configurations(sources.runs)),
    ]


def page_data(
    sources: Sources, made: Sequence[Curve], anchors: Mapping[str, Curve], rows: Sequence[Mapping[str, Any]]
) -> Data:
    """What the scripts draw from, but for pictures and ready-made figures."""
    steps = {source.run.name: source.steps for source in sources.all if source.steps is not None}
    return {
        "datasets": datasets(made),
        "metrics": metric_data(made),
        **medium_data(made),
        "columns": column_data(media_of(made)),
        "curves": curve_data(made, steps),
        "gaps": gap_data(made),
        "steps": steps,
        "opens_with": OPENS_WITH,
        "rows": row_data(rows, membership(made, rows), media_of(made)),
        "deltas": delta_data(made, anchors),
        "costs": costs(made),
        "cost_names": {cost: axis.format(item=words(made)[0]) for cost, axis in COSTS.items()},
        "item": words(made)[0],
        "channels": channel_data(sources, made),
        "configs": config_data(sources.runs),
    }


def _plots(made: Sequence[tuple[str, Data]], figures: dict[str, Data]) -> str:
    """Panels of ready-made figures, which are added to `figures`."""
    panels = []
    for title, figure in made:
        key = f"figure-{len(figures)}"
        figures[key] = figure
        panels.append(f'<div class="panel"><h3>{escaped(title)}</h3><div class="plot" data-figure="{key}"></div></div>')
    return f'<div class="plots">{"".join(panels)}</div>' if panels else ""

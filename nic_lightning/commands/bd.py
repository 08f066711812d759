"""`nic bd`: BD-rates of runs and published curves, with intervals."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from nic_lightning.commands.options import count, exclusive
from nic_lightning.commands.results import measured_curves
from nic_lightning.errors import UserError, choices
from nic_lightning.media.base import all_media
from nic_lightning.report.curves import bd_table
from nic_lightning.report.curves.comparison import Comparison, comparisons
from nic_lightning.report.curves.curve import Curve
from nic_lightning.report.curves.curves import datasets, default_anchor, named
from nic_lightning.report.curves.pareto import convex_hull, joined, pareto
from nic_lightning.report.curves.published import published_curves

_FRONT, _FORM = exclusive("Points (one at most)"), exclusive("Form (one at most)")
Rows = list[tuple[Comparison, Curve]]


@dataclass(frozen=True)
class _Wishes:
    """What is to be compared, and how."""

    runs: Sequence[Path]
    published: Sequence[str]
    dataset: str | None
    anchor: str | None
    metric: str | None
    kind: str
    method: str
    per_image: bool
    draws: int
    seed: int
    flat: bool
    pareto: bool
    hull: bool
    form: str


def bd(
    *runs: Annotated[Path, Parameter(name="RUN")],
    published: Annotated[tuple[str, ...], Parameter(metavar="NAME|FILE", consume_multiple=True)] = (),
    dataset: Annotated[str | None, Parameter(metavar="NAME")] = None,
    anchor: Annotated[str | None, Parameter(metavar="NAME")] = None,
    metric: str | None = None,
    kind: Literal["rate", "quality"] = "rate",
    method: Literal["pchip", "akima", "cubic"] = "pchip",
    per_image: bool = False,
    draws: Annotated[int, Parameter(metavar="N", converter=count)] = 1000,
    seed: Annotated[int, Parameter(metavar="N", converter=count)] = 0,
    flat: bool = False,
    pareto: Annotated[bool, Parameter(group=_FRONT)] = False,
    hull: Annotated[bool, Parameter(group=_FRONT)] = False,
    as_json: Annotated[bool, Parameter(name="--json", group=_FORM)] = False,
    csv: Annotated[bool, Parameter(group=_FORM)] = False,
    latex: Annotated[bool, Parameter(group=_FORM)] = False,
) -> int:
    """Print Bjontegaard deltas of every curve against an anchor, a table for each data set.

    They are over the quality or the rate that both cover, with a confidence interval by bootstrap over images.
    Published curves are means, and have none. The exit code is 1 where no curve has a delta.

    Args:
        runs: run folder, or a folder of runs
        published: curves that ship (vtm, bpg, bmshj2018-hyperprior, cheng2020-anchor, mbt2018-ms-ssim, ..., all), or
            .json in CompressAI's schema, or .csv with columns name, bpp, psnr, ms-ssim, lpips
        dataset: only this data set (default: a table for each)
        anchor: curve, run or codec (default: the first classic codec, else curve)
        metric: quality (default: psnr of images, of other media the one that is told first)
        kind: per cent of rate at equal quality, or the reverse
        method: interpolation
        per_image: a delta for each image, and their mean
        draws: bootstrap draws; 0: no intervals
        seed: of the draws
        flat: draw each curve on to the anchor's highest rate at its best quality, as papers on classification do
        pareto: join each codec's runs and keep the points that no other beats
        hull: the same, and of these the points on the convex hull
        as_json: print JSON
        csv: print CSV
        latex: print LaTeX

    Examples:
        nic bd runs --anchor jpeg
        nic bd runs/first --published vtm bpg --metric ms_ssim_db --latex
        nic bd clouds --anchor draco --metric accuracy --method akima --flat
    """
    form = "json" if as_json else "csv" if csv else "latex" if latex else "text"
    options = (per_image, draws, seed, flat, pareto, hull, form)
    return _compare(_Wishes(runs, published, dataset, anchor, metric, kind, method, *options))


_METRICS = tuple(dict.fromkeys(key for medium in all_media() for key in medium.compared))
bd.__annotations__["metric"] = Literal[_METRICS] | None  # pyright: ignore[reportOperatorIssue]  # cyclopts reads it


def _compare(wishes: _Wishes) -> int:
    made = _filtered(_with_published(measured_curves(wishes.runs, wishes.dataset), wishes), wishes)
    chosen = {dataset: _anchor(made, dataset, wishes.anchor) for dataset in datasets(made)}
    anchors = {dataset: anchor for dataset, anchor in chosen.items() if anchor is not None}
    _require_metric(list(anchors.values()), wishes.metric)
    if wishes.anchor is not None and not anchors:
        offer = choices(wishes.anchor, [curve.name for curve in made])
        raise UserError(f"No curve is named {wishes.anchor!r}; {offer}. Others come with --published.")
    tables = [
        (anchor, _rows(made, anchor, wishes)) for anchor in anchors.values() if _has_metric(anchor, wishes.metric)
    ]
    tables = [(anchor, rows) for anchor, rows in tables if rows]
    if not tables:
        raise UserError(
            "There is nothing to compare: a data set needs two curves. Published ones come with --published."
        )
    print(_shown(tables, wishes))
    return 0 if any(comparison.result for _, rows in tables for comparison, _ in rows) else 1


def _with_published(made: list[Curve], wishes: _Wishes) -> list[Curve]:
    """The curves, and the published ones of their data sets."""
    sets = datasets(made) or ([wishes.dataset] if wishes.dataset else [])
    if wishes.published and not sets:
        raise UserError("Published curves need a data set: that of a run, or --dataset.")
    errors: list[UserError] = []
    for dataset in sets if wishes.published else []:
        try:
            of_set = [curve.medium for curve in made if curve.dataset == dataset]
            made = made + published_curves(wishes.published, dataset, *of_set[:1])
        except UserError as error:
            errors.append(error)
    if errors and len(errors) == len(sets):
        raise errors[0]
    for sentence in dict.fromkeys([*map(str, errors), *(curve.note for curve in made if curve.note)]):
        print(sentence, file=sys.stderr)
    return made


def _filtered(made: list[Curve], wishes: _Wishes) -> list[Curve]:
    if not (wishes.pareto or wishes.hull):
        return made
    kept = [curve for curve in joined(made) if _has_metric(curve, wishes.metric)]
    return [(convex_hull if wishes.hull else pareto)(curve, _metric(curve, wishes.metric)) for curve in kept]


def _metric(curve: Curve, wanted: str | None) -> str:
    return curve.medium.default if wanted is None else wanted


def _has_metric(curve: Curve, wanted: str | None) -> bool:
    return wanted is None or wanted in curve.medium.compared


def _require_metric(anchors: Sequence[Curve], wanted: str | None) -> None:
    """Raise UserError for a quality that none of the media has."""
    if wanted is not None and anchors and not any(_has_metric(anchor, wanted) for anchor in anchors):
        anchors[0].medium.quality(wanted)


def _anchor(made: Sequence[Curve], dataset: str, wanted: str | None) -> Curve | None:
    here = [curve for curve in made if curve.dataset == dataset]
    if wanted is None:
        return default_anchor(here)
    return named(here, wanted) or named(here, f"{wanted}-mse")  # as --published takes them


def _rows(made: Sequence[Curve], anchor: Curve, wishes: _Wishes) -> Rows:
    options = {"kind": wishes.kind, "method": wishes.method, "per_image": wishes.per_image}
    options |= {"draws": wishes.draws, "seed": wishes.seed, "flat": wishes.flat}
    others = [curve for curve in made if curve.dataset == anchor.dataset and curve is not anchor]
    return list(zip(comparisons(made, anchor, _metric(anchor, wishes.metric), **options), others, strict=True))


def _shown(tables: Sequence[tuple[Curve, Rows]], wishes: _Wishes) -> str:
    everything = [row for _, rows in tables for row in rows]
    if wishes.form == "json":
        return bd_table.as_json(everything)
    if wishes.form == "csv":
        return bd_table.as_csv(everything)
    latex = wishes.form == "latex"
    parts = []
    for anchor, rows in tables:
        title = bd_table.title(anchor, _metric(anchor, wishes.metric), wishes.kind, wishes.method, wishes.per_image)
        title += ", test curves drawn on flat" * wishes.flat
        body = (bd_table.as_latex if latex else bd_table.as_text)(rows, wishes.kind)
        parts.append(f"{'% ' if latex else ''}{title}\n{body}")
        if (wishes.pareto or wishes.hull) and not latex:
            parts[-1] += "\n" + "\n".join(bd_table.origins(curve) for curve in [anchor, *(curve for _, curve in rows)])
    return "\n\n".join(parts)

"""`nic bd`: Bjontegaard deltas of runs and published curves."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from nic_lightning.commands.results import measured_curves
from nic_lightning.errors import UserError, choices
from nic_lightning.report.curves import bd_table
from nic_lightning.report.curves.comparison import Comparison, comparisons
from nic_lightning.report.curves.curve import Curve
from nic_lightning.report.curves.curves import datasets, default_anchor, named
from nic_lightning.report.curves.pareto import convex_hull, joined, pareto
from nic_lightning.report.curves.published import published_curves

Rows = list[tuple[Comparison, Curve]]


def bd(args: argparse.Namespace) -> int:
    """Print a table for each data set, or all deltas in another format; 1 when no curve has any, else 0."""
    made = _filtered(_with_published(measured_curves(args.runs, args.dataset), args), args)
    chosen = {dataset: _anchor(made, dataset, args.anchor) for dataset in datasets(made)}
    anchors = {dataset: anchor for dataset, anchor in chosen.items() if anchor is not None}
    if args.anchor is not None and not anchors:
        offer = choices(args.anchor, [curve.name for curve in made])
        raise UserError(f"No curve is named {args.anchor!r}; {offer}. Others come with --published.")
    tables = [(anchor, _rows(made, anchor, args)) for anchor in anchors.values()]
    tables = [(anchor, rows) for anchor, rows in tables if rows]
    if not tables:
        raise UserError(
            "There is nothing to compare: a data set needs two curves. Published ones come with --published."
        )
    print(_shown(tables, args))
    return 0 if any(comparison.result for _, rows in tables for comparison, _ in rows) else 1


def _with_published(made: list[Curve], args: argparse.Namespace) -> list[Curve]:
    """The curves, and the published ones of their data sets."""
    sets = datasets(made) or ([args.dataset] if args.dataset else [])
    if args.published and not sets:
        raise UserError("Published curves need a data set: that of a run, or --dataset.")
    errors: list[UserError] = []
    for dataset in sets if args.published else []:
        try:
            made = made + published_curves(args.published, dataset)
        except UserError as error:
            errors.append(error)
    if errors and len(errors) == len(sets):
        raise errors[0]
    for sentence in dict.fromkeys([*map(str, errors), *(curve.note for curve in made if curve.note)]):
        print(sentence, file=sys.stderr)
    return made


def _filtered(made: list[Curve], args: argparse.Namespace) -> list[Curve]:
    if not (args.pareto or args.hull):
        return made
    return [(convex_hull if args.hull else pareto)(curve, args.metric) for curve in joined(made)]


def _anchor(made: Sequence[Curve], dataset: str, wanted: str | None) -> Curve | None:
    here = [curve for curve in made if curve.dataset == dataset]
    if wanted is None:
        return default_anchor(here)
    return named(here, wanted) or named(here, f"{wanted}-mse")  # as --published takes them


def _rows(made: Sequence[Curve], anchor: Curve, args: argparse.Namespace) -> Rows:
    options = {"kind": args.kind, "method": args.method, "per_image": args.per_image}
    options |= {"draws": args.draws, "seed": args.seed}
    others = [curve for curve in made if curve.dataset == anchor.dataset and curve is not anchor]
    return list(zip(comparisons(made, anchor, args.metric, **options), others, strict=True))


def _shown(tables: Sequence[tuple[Curve, Rows]], args: argparse.Namespace) -> str:
    everything = [row for _, rows in tables for row in rows]
    if args.form == "json":
        return bd_table.as_json(everything)
    if args.form == "csv":
        return bd_table.as_csv(everything)
    latex = args.form == "latex"
    parts = []
    for anchor, rows in tables:
        title = bd_table.title(anchor, args.metric, args.kind, args.method, args.per_image)
        body = (bd_table.as_latex if latex else bd_table.as_text)(rows, args.kind)
        parts.append(f"{'% ' if latex else ''}{title}\n{body}")
        if (args.pareto or args.hull) and not latex:
            parts[-1] += "\n" + "\n".join(bd_table.origins(curve) for curve in [anchor, *(curve for _, curve in rows)])
    return "\n\n".join(parts)

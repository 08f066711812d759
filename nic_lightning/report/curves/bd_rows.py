"""BD-rates of curves as rows of a table, for places that show tables of their own, such as W&B."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nic_lightning.report.curves.comparison import compare
from nic_lightning.report.curves.curve import Curve
from nic_lightning.report.curves.curves import datasets, default_anchor


def bd_rows(made: Sequence[Curve]) -> list[dict[str, Any]]:
    """A row for each data set, curve and metric against the data set's anchor: its first classic codec, else curve.

    `bd_rate` in per cent, None where `problem` says why there is none; `low` and `high` bound the quality that both
    curves cover, `overlap` is that interval as a part of what either covers; `note` says which images it is not of.
    """
    rows = []
    for dataset in datasets(made):
        here = [curve for curve in made if curve.dataset == dataset]
        anchor = default_anchor(here)
        for curve in here:
            if anchor is None or curve is anchor:
                continue
            for metric in anchor.medium.drawn:
                if anchor.has(metric) and curve.has(metric):
                    found = compare(anchor, curve, metric)
                    row: dict[str, Any] = {"dataset": dataset, "anchor": anchor.name, "codec": curve.name}
                    row |= {"metric": metric, "bd_rate": None, "low": None, "high": None, "overlap": None}
                    if found.result is not None:
                        low, high = found.result.overlap
                        row |= {"bd_rate": found.result.value, "low": low, "high": high}
                        row |= {"overlap": found.result.overlap_fraction}
                    rows.append(row | {"images": found.images, "problem": found.problem, "note": found.note})
    return rows

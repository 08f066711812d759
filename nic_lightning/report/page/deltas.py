"""Bjontegaard deltas for the page, against every anchor that its reader may choose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nic_lightning.metrics.bootstrap import DRAWS
from nic_lightning.report.curves.comparison import Comparison, compare
from nic_lightning.report.curves.curve import Curve
from nic_lightning.report.curves.curves import datasets
from nic_lightning.report.page.columns import finite

KINDS = ("rate", "quality")
MAX_PAIRS = 240
"""Pairs of curves that are compared with intervals, on all data sets: sixteen codecs, each against each."""
MIN_PAIRS = 30
"""Of each data set, so that one with many curves leaves room for the others."""
MAX_TESTS = 240
"""Curves that one anchor is compared with."""


def delta_data(made: Sequence[Curve], wanted: Mapping[str, Curve]) -> dict[str, Any]:
    """{data set: {"anchor": index, "anchors": indices, "pairs": {"anchor,test": {metric: [rate, quality]}}}}.

    Args:
        made: all curves; indices are places in this sequence.
        wanted: the anchor that each data set opens with.

    While they are few, all curves can be anchors; else the wanted one, then classic, published and other ones until
    MAX_PAIRS are compared. Of a pair that is one too many, deltas have no interval.
    """
    found = {}
    names = datasets(made)
    left = MAX_PAIRS
    for dataset in names:
        here = [index for index, curve in enumerate(made) if curve.dataset == dataset]
        anchors = _anchors(made, here, wanted[dataset], max(left, MIN_PAIRS))
        pairs = {}
        for anchor in anchors:
            for test in [index for index in here if index != anchor][:MAX_TESTS]:
                left -= 1
                pairs[f"{anchor},{test}"] = _pair(made[anchor], made[test], DRAWS if left >= 0 else 0)
        found[dataset] = {"anchor": made.index(wanted[dataset]), "anchors": anchors, "pairs": pairs}
    return found


def _anchors(made: Sequence[Curve], here: Sequence[int], first: Curve, pairs: int) -> list[int]:
    order = sorted(here, key=lambda i: (made[i] is not first, not made[i].classic, not made[i].published))
    return order[: max(1, pairs // max(len(here) - 1, 1))]


def _pair(anchor: Curve, test: Curve, draws: int) -> dict[str, list[dict[str, Any]]]:
    shared = [metric for metric in anchor.medium.drawn if anchor.has(metric) and test.has(metric)]
    return {m: [_shown(compare(anchor, test, m, kind=kind, draws=draws)) for kind in KINDS] for m in shared}


def _shown(comparison: Comparison) -> dict[str, Any]:
    """value, interval, overlap and its part of what either curve covers; or the problem. Notes where there are any."""
    notes = {"note": comparison.note} if comparison.note else {}
    result, interval = comparison.result, comparison.interval
    if result is None:
        return {"problem": comparison.problem, **notes}
    found: dict[str, Any] = {"value": finite(result.value), "overlap": [finite(end) for end in result.overlap]}
    found["part"] = finite(result.overlap_fraction, 3)
    if interval is not None:
        found["interval"] = [finite(interval.low), finite(interval.high)]
    return found | notes

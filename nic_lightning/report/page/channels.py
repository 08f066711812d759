"""Channel rates of the runs by curve: bits per pixel of each latent channel at every operating point."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nic_lightning.report.curves.curve import Curve
from nic_lightning.report.page.columns import finite, shortened
from nic_lightning.report.page.reading import Sources

MAX_VALUES = 400_000
"""Numbers in a page: 300 curves of seven points and 192 channels."""


def channel_data(sources: Sources, made: Sequence[Curve]) -> list[dict[str, Any]]:
    """[{"key", "name", "dataset", "points": [{"label", "bpp": [each channel's]}]}], points from the lowest rate on.

    Runs that are one curve share an entry for each latent.
    """
    places = {
        (curve.dataset, curve.codec, point["run"], point["label"]): (index, place)
        for index, curve in enumerate(made)
        for place, point in enumerate(curve.points)
    }
    found: dict[tuple[int, str], dict[int, dict[str, Any]]] = {}
    left = MAX_VALUES
    for source in sources.all:
        for entry in source.channels:
            where = places.get((entry["dataset"], entry["codec"], source.run.name, entry["label"]))
            left -= len(entry["bpp"])
            if where is not None and left >= 0:
                point = {"label": shortened(entry["label"]), "bpp": [finite(rate, 4) for rate in entry["bpp"]]}
                found.setdefault((where[0], entry["latent"]), {})[where[1]] = point
    return [
        {
            "key": f"{index}-{latent}",
            "name": shortened(f"{made[index].name}, {latent}"),
            "dataset": shortened(made[index].dataset),
            "points": [points[place] for place in sorted(points)],
        }
        for (index, latent), points in sorted(found.items())
    ]

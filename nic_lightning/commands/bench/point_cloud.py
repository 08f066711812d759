"""`nic bench point_cloud`: clouds encoded a second against CompressAI's parts."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from nic_lightning.commands.options import Count, comma_separated, whole_numbers

SIZES = ["micro", "lite", "full"]
POINTS = (64, 1024)


def point_cloud(
    *,
    sizes: Annotated[list[str], Parameter(metavar="A,B,...", converter=comma_separated, n_tokens=1)] = SIZES,
    points: Annotated[tuple[int, ...], Parameter(metavar="P,P,...", converter=whole_numbers, n_tokens=1)] = POINTS,
    clouds: Count = 64,
    rounds: Count = 9,
    threads: Count = 1,
) -> None:
    """Time encoding of point clouds against CompressAI's, in one run, with the same weights and symbols.

    Points in memory to bytes: a stream of clouds; each cloud a file; a batch of all clouds in one call.

    Args:
        sizes: micro, lite, full, with commas
        points: of a cloud, with commas
        clouds: encoded in a round
        rounds: measured rounds; both sides take turns
        threads: CPU threads

    Examples:
        nic bench point_cloud --sizes micro --points 8,1024
    """
    from nic_lightning.benchmarks.point_cloud import main

    main(sizes, points, clouds=clouds, rounds=rounds, threads=threads)

"""`nic bench latent_motion`: block matching, compiled and in NumPy."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from nic_lightning.commands.options import Count


def latent_motion(
    *,
    size: Count = 224,
    block: Count = 31,
    radius: Annotated[int, Parameter(metavar="PIXELS")] = 11,
    rounds: Count = 7,
) -> None:
    """Time exhaustive block matching, compiled, beside the same search in NumPy.

    Both find the same motion, which is checked first; the defaults are the paper's. One thread each.

    Args:
        size: side of the frames in pixels
        block: side of the blocks in pixels, odd
        radius: largest motion along each axis
        rounds: measured rounds; both take turns

    Examples:
        nic bench latent_motion --size 64 --block 9 --radius 4
    """
    from nic_lightning.benchmarks.latent_motion import main

    main(size, block, radius, rounds)

"""`nic bench slimmable`: several widths in one model against models apart."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from nic_lightning.commands.options import Count, Crop, ImageSize, Threads, whole_numbers

DEFAULT = (48, 72, 96, 144, 192)


def slimmable(
    *,
    widths: Annotated[tuple[int, ...], Parameter(metavar="W,W,...", converter=whole_numbers, n_tokens=1)] = DEFAULT,
    gdn: str = "slim+",
    batch: Count = 8,
    crop: Crop = 240,
    size: ImageSize = "512x768",
    rounds: Count = 9,
    threads: Threads = None,
) -> None:
    """Time widths in one model against models apart.

    Args:
        widths: channels of each, with commas
        gdn: switch, slim or slim+
        batch: training batch
        crop: side of the training crops
        size: image to code, height x width
        rounds: measured rounds
        threads: CPU threads (default: torch's, see OMP_NUM_THREADS)

    Examples:
        nic bench slimmable --widths 48,96 --rounds 3
    """
    from nic_lightning.benchmarks.slimmable import main

    main(list(widths), gdn, batch=batch, crop=crop, size=size, rounds=rounds, threads=threads)

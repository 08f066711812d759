"""`nic bench codec`: training and coding against CompressAI's parts."""

from __future__ import annotations

from nic_lightning.commands.options import Count, Crop, ImageSize, Threads


def codec(
    *,
    width: Count = 192,
    batch: Count = 8,
    crop: Crop = 240,
    size: ImageSize = "512x768",
    rounds: Count = 9,
    threads: Threads = None,
) -> None:
    """Time our code against CompressAI's, in one run.

    Args:
        width: channels
        batch: training batch
        crop: side of the training crops
        size: image to code, height x width
        rounds: measured rounds
        threads: CPU threads (default: torch's, see OMP_NUM_THREADS)

    Examples:
        nic bench codec --width 48 --rounds 3
    """
    from nic_lightning.benchmarks.codec import main

    main(width, batch=batch, crop=crop, size=size, rounds=rounds, threads=threads)

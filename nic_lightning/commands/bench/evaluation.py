"""`nic bench evaluation`: measuring a data set against CompressAI's program."""

from __future__ import annotations

from nic_lightning.commands.options import Count, Threads


def evaluation(
    *,
    width: Count = 192,
    images: Count = 24,
    rounds: Count = 3,
    workers: Count | None = None,
    threads: Threads = None,
) -> None:
    """Time our evaluation against CompressAI's, on Kodak where it is, else on the embedded photographs.

    Args:
        width: channels
        images: how many, from the first
        rounds: measured rounds
        workers: processes (default: as evaluation.workers=null chooses)
        threads: CPU threads of one process (default: torch's, see OMP_NUM_THREADS)

    Examples:
        nic bench evaluation --width 64 --images 4
    """
    from nic_lightning.benchmarks.evaluation import main

    main(width, images, rounds, workers, threads)

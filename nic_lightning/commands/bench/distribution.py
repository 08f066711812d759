"""`nic bench distribution`: coding with tables that are adapted to each image, and with static ones."""

from __future__ import annotations

from nic_lightning.commands.options import Count, Threads


def distribution(*, rounds: Count = 15, threads: Threads = None) -> None:
    """Time entropy coding with adapted tables beside static ones, and the making of tables.

    An untrained autoencoder of width 192 with its transforms, then latents alone. Tables are sent with every image.

    Args:
        rounds: measured rounds; both kinds take turns
        threads: CPU threads (default: torch's, see OMP_NUM_THREADS)

    Examples:
        nic bench distribution --threads 1
    """
    from nic_lightning.benchmarks.distribution import main

    main(rounds, threads)

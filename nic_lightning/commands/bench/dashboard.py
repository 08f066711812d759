"""`nic bench dashboard`: listing and following 1,000 runs."""

from __future__ import annotations

from nic_lightning.commands.options import Count


def dashboard(*, runs: Count = 1000, lines: Count = 200, rounds: Count = 20) -> None:
    """Time how soon nic dashboard lists many runs, and what following them costs.

    Args:
        runs: runs in the list
        lines: lines of metrics in each
        rounds: requests of each kind

    Examples:
        nic bench dashboard --runs 100
    """
    from nic_lightning.benchmarks.dashboard import main

    main(runs, lines, rounds)

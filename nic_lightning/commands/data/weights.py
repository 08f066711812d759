"""`nic data weights`: the weight files of other networks that can be used."""

from __future__ import annotations


def weights() -> None:
    """Print the weight files of other networks that can be used: names, places, SHA-256, and which are there.

    Examples:
        nic data weights
    """
    from nic_lightning.metrics.weights import table

    print(table())

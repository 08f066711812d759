"""`nic bench training`: what nic-train adds to a step."""

from __future__ import annotations

from nic_lightning.commands.options import Count, Overrides

DEFAULT = ("codec=modulated", "codec.width=48", "codec.lambdas=[64,512]", "data=embedded", "data.crop=64")
"""Short steps, where an overhead weighs most."""


def training(*overrides: Overrides, block: Count = 25, rounds: Count = 12) -> None:
    """Time what nic-train adds to a training step, against a loop that is as short as it can be.

    Args:
        overrides: as for nic-train; default: codec=modulated codec.width=48 codec.lambdas=[64,512] data=embedded
            data.crop=64
        block: steps in a row
        rounds: measured rounds

    Examples:
        nic bench training codec=cae codec.width=96 data=embedded --rounds 5
    """
    from nic_lightning.benchmarks.training import main

    main(list(overrides or DEFAULT), block=block, rounds=rounds)

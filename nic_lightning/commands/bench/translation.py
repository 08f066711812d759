"""`nic bench translation`: a translation codec beside plain StarGAN v2; memory of its training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from nic_lightning.commands.options import Count, Overrides
from nic_lightning.errors import UserError

DEFAULT = ("experiment=ui2icodec",)


def translation(
    *overrides: Overrides,
    run: Annotated[Path | None, Parameter(metavar="RUN")] = None,
    size: Count | None = None,
    bpp: float = 0.2,
    rounds: Count = 9,
    threads: Count = 1,
    memory: bool = False,
) -> None:
    """Time sender and receiver of a translation codec for one image, beside StarGAN v2 without a bottleneck.

    Times are core-milliseconds, networks and entropy coding apart. With --memory, what an iteration of training takes.

    Args:
        overrides: as for nic-train; default: experiment=ui2icodec
        run: a trained codec instead of an untrained one
        size: side of the image (default: that of training)
        bpp: bits per pixel of an untrained codec
        rounds: measured rounds
        threads: CPU threads
        memory: memory of training: measured on a GPU, else counted

    Examples:
        nic bench translation --size 256
        nic bench translation experiment=ui2icodec data.batch_size=4 --memory
    """
    if bpp <= 0:
        raise UserError(f"--bpp is above 0, not {bpp:g}.")
    if run is not None and (overrides or memory):
        raise UserError("--run names a trained codec to time: leave overrides and --memory out.")
    from nic_lightning.benchmarks.translation import main

    main(list(overrides or DEFAULT), run=run, size=size, bpp=bpp, rounds=rounds, threads=threads, memory=memory)

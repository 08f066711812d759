"""Whether this machine's processor computes in the precision of a run. No torch."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nic_lightning.machine import shows_gpu

CPU_INFO = Path("/proc/cpuinfo")
_FOR_BFLOAT16 = {"amx_bf16", "avx512_bf16", "avx512bw", "avx_ne_convert", "bf16"}
"""Flags of Linux; with any of them, PyTorch's convolutions have kernels for bfloat16."""


def say_slow(config: Mapping[str, Any]) -> None:
    """One line on stderr where bfloat16 is asked of a processor that has no instructions for it.

    PyTorch then falls back to reference kernels: measured on a processor with AVX2 that had other work, too, a step of
    `experiment=light_small` took 10 s in bf16-mixed and 1 s in 32-true.
    """
    trainer = config.get("trainer") or {}
    wanted = str(trainer.get("precision", ""))
    on_cpu = trainer.get("accelerator") == "cpu" or not shows_gpu()
    if wanted.startswith("bf16") and on_cpu and _lacks_bfloat16():
        print(
            f"This processor has no instructions for bfloat16: with trainer.precision={wanted}, steps can take ten "
            "times as long as with trainer.precision=32-true.",
            file=sys.stderr,
        )


def _lacks_bfloat16() -> bool:
    """Whether the processor is known to have none; False where nothing is known."""
    try:
        lines = CPU_INFO.read_text(errors="replace").splitlines()
    except OSError:
        return False
    flags = [line.split(":", 1)[1].split() for line in lines if line.lower().startswith(("flags", "features"))]
    return bool(flags) and not _FOR_BFLOAT16 & set(flags[0])

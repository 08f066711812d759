"""`trainer.profiler`: Lightning's profilers, whose tables go into the run folder."""

from __future__ import annotations

from pathlib import Path

from pytorch_lightning.profilers import AdvancedProfiler, Profiler, PyTorchProfiler, SimpleProfiler

PROFILE = "profile"
"""The file in the run folder is fit-profile.txt."""


def profiler_of(name: str | None, folder: Path) -> Profiler | None:
    """The profiler of that name, one of `runs.switches.PROFILERS`; None for none."""
    kinds = {"simple": SimpleProfiler, "advanced": AdvancedProfiler, "pytorch": PyTorchProfiler}
    return None if name is None else kinds[name](dirpath=folder, filename=PROFILE)

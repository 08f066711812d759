"""Which commands `nic` has, and the application that cyclopts makes of them. Imports none of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cyclopts import App, Group, Parameter

from nic_lightning.commands.help import Console, Pages, describe, shown, summary
from nic_lightning.commands.options import read

COMMANDS = {
    "Train": ("lambdas", "resume"),
    "Measure": ("amortisation", "bd", "compare", "critical_points", "fid", "grid", "inspect", "report", "results"),
    "Use": ("compress", "decompress", "export", "flow", "truncate", "zoo"),
    "Runs": ("dashboard", "runs"),
    "Data": ("data",),
    "Develop": ("bench", "check", "completion", "new"),
}
"""The commands in the groups that help shows. Each is a function of its own name in the file commands/NAME.py."""
ACTIONS = {
    "bench": (
        "codec",
        "dashboard",
        "distribution",
        "evaluation",
        "flow",
        "latent_motion",
        "point_cloud",
        "report",
        "slimmable",
        "startup",
        "threads",
        "training",
        "translation",
    ),
    "data": ("check", "list", "weights"),
    "new": ("codec", "project"),

"""Which loggers a config names. Starts without torch and Lightning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

WANDB = "nic_lightning.runs.loggers.wandb.wandb_logger"


def by_name(loggers: Any) -> dict[str, Mapping[str, Any]]:
    """The settings of each logger of a config's key `logger`: a mapping from name to `_target_`, or nothing.

    Runs of earlier versions have the settings of W&B alone, without its name.
    """
    if not isinstance(loggers, Mapping):
        return {}
    if any(isinstance(one, str) for one in loggers.values()):
        return {"wandb": loggers}
    return {str(name): one for name, one in loggers.items() if one}


def wandb_settings(loggers: Any) -> Mapping[str, Any] | None:
    """Those of W&B; None where it is not among the loggers."""
    return by_name(loggers).get("wandb")

"""Limits of a training in the trainer's config. No torch needed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from nic_lightning.config import ConfigError


def seconds_of(limit: str | Mapping[str, float] | timedelta | None) -> float | None:
    """`trainer.max_time` in seconds: "DD:HH:MM:SS", or a mapping as of `timedelta`; raises ConfigError for others."""
    if limit is None:
        return None
    try:
        if isinstance(limit, str):
            days, hours, minutes, seconds = (int(part) for part in limit.split(":"))
            limit = timedelta(days, seconds, 0, 0, minutes, hours)
        elif not isinstance(limit, timedelta):
            limit = timedelta(**limit)
    except (TypeError, ValueError, OverflowError) as error:
        raise ConfigError(
            f"trainer.max_time is {limit!r}; give DD:HH:MM:SS, as in 00:12:00:00, or {{hours: 12}}."
        ) from error
    if limit <= timedelta(0):
        raise ConfigError("trainer.max_time has to be longer than nothing.")
    return limit.total_seconds()

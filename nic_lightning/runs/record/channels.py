"""channel_rates.json: bits per pixel of each latent channel, by codec, data set and operating point. No torch."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nic_lightning.errors import RunError
from nic_lightning.runs.record.files import read_inside, write_atomically

CHANNEL_RATES = "channel_rates.json"
MAX_BYTES = 2**25
MAX_ENTRIES, MAX_CHANNELS = 5000, 8192
_NAMES = ("codec", "dataset", "label", "latent")


def write_channel_rates(folder: Path, entries: Sequence[Mapping[str, Any]]) -> None:
    """Write the entries, which replace older ones of the same codec and data set.

    An entry has the texts "codec", "dataset", "label" (operating point) and "latent", "images", and "bpp": a number for
    each channel, estimated by the entropy model, mean over the images.
    """
    if not entries:
        return
    new = {(entry["codec"], entry["dataset"]) for entry in entries}
    try:
        old = read_channel_rates(folder)
    except RunError:  # damaged: it holds nothing worth keeping
        old = []
    kept = [entry for entry in old if (entry["codec"], entry["dataset"]) not in new]
    write_atomically(folder / CHANNEL_RATES, json.dumps([*kept, *entries], separators=(",", ":")) + "\n")


def read_channel_rates(folder: Path) -> list[dict[str, Any]]:
    """The entries; none when the run recorded no channel rates. RunError when the file is damaged."""
    if not os.path.lexists(folder / CHANNEL_RATES):
        return []
    try:
        entries = json.loads(read_inside(folder, CHANNEL_RATES, MAX_BYTES))
    except (ValueError, RecursionError) as error:
        raise RunError(f"{CHANNEL_RATES} is damaged.") from error
    if not isinstance(entries, list) or len(entries) > MAX_ENTRIES or not all(map(_is_entry, entries)):
        raise RunError(f"{CHANNEL_RATES} is damaged.")
    return entries


def _is_entry(entry: Any) -> bool:
    if not isinstance(entry, dict) or not all(isinstance(entry.get(name), str) for name in _NAMES):
        return False
    rates = entry.get("bpp")
    return (
        type(entry.get("images")) is int
        and isinstance(rates, list)
        and len(rates) <= MAX_CHANNELS
        and all(type(rate) in (int, float) and abs(rate) < 1e9 and math.isfinite(rate) for rate in rates)
    )

"""`nic zoo list`: which models there are."""

from __future__ import annotations

import json

from nic_lightning.commands.options import Json
from nic_lightning.zoo import Model, models
from nic_lightning.zoo.shelf import HOW_TO_TRAIN

HEADER = ("model", "medium", "codec", "size", "default", "what for")


def list_zoo(*, as_json: Json = False) -> None:
    """Print the trained models that come with the package; --run takes their names.

    Args:
        as_json: print JSON

    Examples:
        nic zoo list
    """
    found = models()
    if as_json:
        print(json.dumps([_facts(model) for model in found], indent=2))
        return
    if not found:
        print(f"The zoo of this nic_lightning is empty: {HOW_TO_TRAIN}.")
        return
    rows = [HEADER, *map(_row, found)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER) - 1)]
    for row in rows:
        print("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]))


def _row(model: Model) -> tuple[str, ...]:
    size = f"{model.size / 1e6:.1f} MB"
    return (model.name, model.card.medium, model.codec, size, "yes" if model.is_default else "", model.card.purpose)


def _facts(model: Model) -> dict[str, object]:
    return {
        "name": model.name,
        "medium": model.card.medium,
        "codec": model.codec,
        "bytes": model.size,
        "default": model.is_default,
        "purpose": model.card.purpose,
        "fingerprint": model.card.fingerprint,
        "folder": str(model.folder),
    }

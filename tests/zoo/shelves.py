"""A zoo of throw-away models, for tests of the room itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nic_lightning.codecs.exporting import export_codec
from nic_lightning.codecs.half_precision import round_to_float16
from nic_lightning.codecs.learned import LearnedCodec


def card_of(name: str, fingerprint: str, medium: str = "image", **changes: Any) -> dict[str, Any]:
    """What card.json of a model has."""
    training = {"data": "noise", "command": "nic-train", "commit": "0123abc", "steps": 40, "hours": 0.1}
    return {
        "schema": 1,
        "name": name,
        "medium": medium,
        "title": f"The model {name}",
        "purpose": "Trying the room.",
        "licence": "Apache-2.0",
        "training": training | {"machine": "two cores"},
        "fingerprint": fingerprint,
        "measured": [
            {
                "dataset": "kodak",
                "rows": [{"point": "64", "bpp": 0.25, "psnr": 27.125}, {"point": "512", "bpp": 1, "psnr": 33.5}],
                "bd_rate": {"jpeg": -31.25},
            }
        ],
        "limits": ["It knows one photograph."],
    } | changes


def shelve(codec: LearnedCodec, config: dict[str, Any], here: Path, name: str) -> Path:
    """Put a codec into the zoo below `here`, as one is shipped; its folder."""
    folder = here / "models" / name
    round_to_float16(codec)
    export_codec(codec, config, folder, float16=True)
    card = card_of(name, codec.fingerprint().hex(), codec.medium)
    (folder / "card.json").write_text(json.dumps(card))
    if not (here / "zoo.json").exists():
        (here / "zoo.json").write_text('{"defaults": {}}')
    return folder

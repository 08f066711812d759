"""What tests of runs share."""

from __future__ import annotations

from pathlib import Path

import yaml

from nic_lightning.config import options

_CODECS = Path(__file__).parents[2] / "conf" / "codec"
LEARNED = [name for name in options("codec") if "nic_lightning.codecs." in (_CODECS / f"{name}.yaml").read_text()]
"""Names of the codecs that can be trained."""


def few_channels(name: str) -> dict[str, list[int]]:
    """Two small widths for a slimmable codec, nothing for others, which `make_codec` makes small."""
    config = yaml.safe_load((_CODECS / f"{name}.yaml").read_text())
    return {key: few for key, few in {"widths": [4, 8], "hyper_widths": [3, 6]}.items() if key in config}

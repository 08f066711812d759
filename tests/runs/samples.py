"""What tests of runs share."""

from __future__ import annotations

from pathlib import Path

from nic_lightning.config import options

_CODECS = Path(__file__).parents[2] / "conf" / "codec"
LEARNED = [name for name in options("codec") if "nic_lightning.codecs." in (_CODECS / f"{name}.yaml").read_text()]
"""Names of the codecs that can be trained."""

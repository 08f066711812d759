"""Where an evaluation puts its pictures. No torch needed, so that reports find them."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

RECONSTRUCTIONS = Path("figures") / "reconstructions"
"""Folder in a run folder; below it <dataset>/<item>/original.png and <dataset>/<item>/<label>.png."""
ORIGINAL = "original"
FLOW_PICTURES = Path("figures") / "flow"
"""Folder in a run folder; below it <dataset>/<item>/{frame,truth,<stage>,errors_<stage>}.png."""


def safe_name(text: str) -> str:
    """`text` as a file name; what had to change carries a hash, so that two names never become one."""
    cleaned = re.sub(r"[^A-Za-z0-9._+=-]+", "_", text).lstrip(".")[:80]
    if cleaned and cleaned == text and cleaned != ORIGINAL:
        return text
    return f"{cleaned or 'x'}-{hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()[:8]}"


def reconstruction_path(folder: Path, dataset: str, item: str, label: str | None, ending: str = ".png") -> Path:
    """File of an item at the point `label`, or of the original where that is None, below `folder`."""
    name = ORIGINAL if label is None else safe_name(label)
    return folder / safe_name(dataset) / safe_name(item) / f"{name}{ending}"

"""Sizes of pictures, as users write them."""

from __future__ import annotations

import re

from nic_lightning.errors import UserError


def parse_size(text: str, order: str = "height x width") -> tuple[int, int]:
    """Both sides of "512x768" in pixels, as they are written; UserError, which names `order`, for anything else."""
    match = re.fullmatch(r"(\d{1,6})x(\d{1,6})", text)
    if not match or not all(map(int, match.groups())):
        raise UserError(f"'{text}' is not an image size; write {order}, such as 512x768.")
    return int(match[1]), int(match[2])

"""Text from run folders and other files, fit to be shown."""

from __future__ import annotations


def printable(text: str, most: int | None = None) -> str:
    """Without control characters, which would steer a terminal, and at most `most` characters."""
    return "".join(c if c.isprintable() else "?" for c in text[:most])

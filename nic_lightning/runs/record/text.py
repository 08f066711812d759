"""Text from run folders and other files, and times, fit to be shown."""

from __future__ import annotations


def printable(text: str, most: int | None = None) -> str:
    """Without control characters, which would steer a terminal, and at most `most` characters."""
    return "".join(c if c.isprintable() else "?" for c in text[:most])


def duration(seconds: float) -> str:
    """A time in its two largest units: "45 s", "16 min", "2 h 41 min", "112 d 4 h"."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes = round(whole / 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    hours = round(minutes / 60)
    return f"{hours // 24:,} d {hours % 24} h"

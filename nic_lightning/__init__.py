"""nic_lightning: train, measure and compare learned codecs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nic_lightning.codecs.loading import load_codec

__all__ = ["load_codec"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`load_codec`, imported when it is used: the package itself starts without torch."""
    if name == "load_codec":
        from nic_lightning.codecs.loading import load_codec

        return load_codec
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

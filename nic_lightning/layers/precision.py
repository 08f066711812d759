"""Parts of a network that stay in float32 under mixed precision."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch


def without_autocast(device_type: str) -> AbstractContextManager:
    """Context without autocast on a device type; nothing to do on the meta device, which has no autocast."""
    return nullcontext() if device_type == "meta" else torch.autocast(device_type, enabled=False)

"""Where tensors are computed with, by the name that users give."""

from __future__ import annotations

import torch

from nic_lightning.errors import UserError


def checked_device(name: str) -> torch.device:
    """The device that torch knows by `name`, such as "cpu", "cuda" or "cuda:1".

    Raises UserError for other names, and for a GPU that is not there.
    """
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"There is no device {name!r}; give cpu, cuda, or cuda:1 for the second GPU.") from error
    count = torch.cuda.device_count() if device.type == "cuda" and torch.cuda.is_available() else 0
    if device.type == "cuda" and (device.index or 0) >= count:
        found = f"only {count}" if count else "none"
        raise UserError(f"There is no GPU for device={name}: PyTorch finds {found}, and device=cpu does without.")
    return device

"""Products in whole float32. NVIDIA's TensorFloat-32 keeps 10 bits, of which costs of 127 levels would show."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def whole_float32(device: torch.device) -> Iterator[None]:
    """Convolutions and matrix products of the block without TensorFloat-32; nothing to do but on a GPU."""
    if device.type != "cuda":
        yield
        return
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)

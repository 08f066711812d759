"""What this machine has to compute with, told without torch."""

from __future__ import annotations

import glob
import os
import platform

VISIBLE = "CUDA_VISIBLE_DEVICES"
_GPU_FILES = ("/dev/nvidia[0-9]*", "/dev/nvgpu*", "/dev/nvhost-gpu", "/dev/nvmap", "/dev/dxg", "/dev/kfd")
"""Where Linux shows NVIDIA's GPUs, also those of Jetson and WSL, and AMD's."""


def surely_no_gpu() -> bool:
    """Whether this machine has no GPU, or hides all; False where only PyTorch can tell."""
    if platform.system() != "Linux":
        return False
    if os.environ.get(VISIBLE) in ("", "-1") and not hidden_by_submitit():
        return True
    return not any(glob.glob(pattern) for pattern in _GPU_FILES)


def shows_gpu() -> bool:
    """Whether this machine shows a GPU of the kind that `trainer=gpu` uses."""
    return platform.system() == "Linux" and not surely_no_gpu()


def hidden_by_submitit() -> bool:
    """Whether submitit's local executor has hidden the GPUs from this process, not the user."""
    return os.environ.get("SUBMITIT_EXECUTOR") == "local"

"""What a run was run with: code, packages and hardware. Environment variables are never written down."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

MAX_DIFF = 2 * 2**20
_TIMEOUT = 20


def environment() -> dict[str, Any]:
    """Python, packages, platform, processors, memory (bytes), command line and working folder, as plain Python."""
    return {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
        "cpu_usable": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_bytes": _memory(),
        "command": list(sys.argv),
        "cwd": os.getcwd(),
        "packages": packages(),
    }


def numerics() -> dict[str, Any]:
    """What results depend on beside code and seeds, as torch is set now: call it in the process that trains.

    Threads of the CPU (they split sums differently), precision of float32 products on a GPU, choice of deterministic
    kernels, and the GPUs.
    """
    import torch

    backends = torch.backends
    return {
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "numerics": {
            "threads": torch.get_num_threads(),
            "interop_threads": torch.get_num_interop_threads(),
            "cpu_capability": backends.cpu.get_cpu_capability(),
            "mkldnn": backends.mkldnn.is_available(),
            "float32_matmul_precision": torch.get_float32_matmul_precision(),
            "cuda": torch.version.cuda,
            "cudnn": backends.cudnn.version() if backends.cudnn.is_available() else None,
            "cudnn_tf32": backends.cudnn.allow_tf32,
            "cudnn_benchmark": backends.cudnn.benchmark,
            "cudnn_deterministic": backends.cudnn.deterministic,
            "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        },
    }


def git_state() -> tuple[dict[str, Any] | None, bytes]:
    """State of the checkout that the package lies in, else of the one around the current folder.

    Returns:
        Commit, branch, dirty or not, the first 100 untracked files and their count; and the difference to that
        commit, for `git apply`, cut after MAX_DIFF bytes. (None, b"") outside of git.
    """
    for folder in (Path(__file__).resolve().parents[2], Path.cwd()):
        if commit := _git(folder, "rev-parse", "HEAD").decode(errors="replace").strip():
            break
    else:
        return None, b""
    top = Path(_git(folder, "rev-parse", "--show-toplevel").decode(errors="replace").strip() or folder)
    form = ("--no-ext-diff", "--no-textconv", "--no-color", "--binary", "--src-prefix=a/", "--dst-prefix=b/")
    diff = _git(top, "diff", *form, "HEAD", limit=MAX_DIFF + 1)
    untracked = _git(top, "ls-files", "--others", "--exclude-standard").decode(errors="replace").splitlines()
    state = {
        "commit": commit,
        "branch": _git(folder, "rev-parse", "--abbrev-ref", "HEAD").decode(errors="replace").strip(),
        "dirty": bool(diff),
        "diff_cut": len(diff) > MAX_DIFF,
        "untracked": untracked[:100],
        "untracked_count": len(untracked),
    }
    return state, diff[:MAX_DIFF]


def _git(folder: Path, *arguments: str, limit: int = 2**20) -> bytes:
    """Output of a git command, at most `limit` bytes; empty when git fails or is not there."""
    command = ["git", "-C", str(folder), *arguments]
    try:
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL
        ) as process:
            assert process.stdout is not None
            output = process.stdout.read(limit)
            cut = len(output) == limit
            process.stdout.close()
            code = process.wait(_TIMEOUT)
    except (OSError, subprocess.TimeoutExpired):
        return b""
    return output if code == 0 or cut else b""


def packages() -> dict[str, str]:
    """Version of every installed package."""
    found: dict[str, str] = {}
    for distribution in metadata.distributions():
        about = distribution.metadata  # parsed anew each time that it is asked for
        if about and about["Name"]:
            found[about["Name"]] = about["Version"]
    return dict(sorted(found.items(), key=lambda pair: pair[0].lower()))


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None

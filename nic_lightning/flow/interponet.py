"""InterpoNet: dense flow from sparse matches by a convolutional network (Zweig and Wolf, CVPR 2017), trained here.

```
matches -> mean motion of each 8x8 block, and whether it has any --+
frame -> largest step of brightness in each 8x8 block -------------+-> 10 x (conv 7x7, ELU) -> flow at 1/8 -> bicubic x8
                                                                         | each: conv 7x7 -> flow, for training
```

Edges are the image's own: the trained edge detector of the paper is not at hand, and neither are its weights.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from nic_lightning.errors import DataError, UserError
from nic_lightning.flow.gpu.precision import whole_float32

SCALE = 8
WIDTHS = (32, 64, 128, 128, 128, 128, 256, 256, 256, 256)
KERNEL = 7
INPUTS = 4
MAX_LAYERS, MAX_WIDTH, MAX_BYTES = 20, 512, 1 << 28
_LUMA = np.array([0.2989, 0.5870, 0.1140], np.float32)


class InterpoNet(nn.Module):
    """Sparse flow (2), mask and edges at 1/8 -> a flow after each layer; the last one counts.

    Args:
        widths: channels of the layers; the paper's have 14 million weights.
    """

    def __init__(self, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        if not widths or len(widths) > MAX_LAYERS or not all(1 <= width <= MAX_WIDTH for width in widths):
            raise UserError(f"The widths are 1 to {MAX_LAYERS} numbers from 1 to {MAX_WIDTH}, not {list(widths)}.")
        pairs = pairwise([INPUTS, *widths])
        self.layers = nn.ModuleList(nn.Conv2d(a, b, KERNEL, padding=KERNEL // 2) for a, b in pairs)
        self.heads = nn.ModuleList(nn.Conv2d(width, 2, KERNEL, padding=KERNEL // 2) for width in widths)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(N, 4, h, w) of `network_input` -> as many flows (N, 2, h, w) as layers, in pixels of 1/8."""
        flows = []
        for layer, head in zip(self.layers, self.heads, strict=True):
            x = F.elu(layer(x))
            flows.append(head(x))
        return flows

    def last(self, x: Tensor) -> Tensor:
        """The last flow alone."""
        for layer in self.layers:
            x = F.elu(layer(x))
        return self.heads[-1](x)


def network_input(image: NDArray[Any], matches: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the network sees, (4, h, w) at 1/8 of the size, rounded up.

    Mean motion of the matches of each block, in pixels of 1/8, 0 where there is none; 1 where there is one, -1
    elsewhere; edges from 0 to 1.

    Args:
        image: (H, W, 3) RGB, uint8 or float in [0, 1].
        matches: (n, 4) x, y, x', y' in pixels; those that do not begin within the image are left out.
    """
    height, width = (-(-side // SCALE) for side in image.shape[:2])
    x, y = (np.floor(matches[:, i] / SCALE).astype(np.int64) for i in (0, 1))
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    cell = (y * width + x)[inside]
    count = np.bincount(cell, minlength=height * width).reshape(height, width)
    moves = (matches[inside, 2:] - matches[inside, :2]) / SCALE
    sums = [np.bincount(cell, moves[:, i], height * width).reshape(height, width) for i in (0, 1)]
    mean = [total / np.maximum(count, 1) for total in sums]
    return np.stack([*mean, np.where(count > 0, 1, -1), edges(image)]).astype(np.float32)


def edges(image: NDArray[Any]) -> NDArray[np.float32]:
    """Largest difference of luma between a pixel and its right or lower neighbour in each block, (h, w) in [0, 1]."""
    grey = (image.astype(np.float32) / 255 if image.dtype == np.uint8 else image.astype(np.float32)) @ _LUMA
    steps = np.zeros_like(grey)
    steps[:, :-1] = np.abs(np.diff(grey, axis=1))
    steps[:-1] = np.maximum(steps[:-1], np.abs(np.diff(grey, axis=0)))
    padded = np.pad(steps, [(0, -side % SCALE) for side in grey.shape])
    height, width = padded.shape
    return padded.reshape(height // SCALE, SCALE, width // SCALE, SCALE).max((1, 3)).clip(0, 1)


@torch.inference_mode()
def interpolate_by(network: InterpoNet, image: NDArray[Any], matches: NDArray[np.float32]) -> NDArray[np.float32]:
    """Flow (H, W, 2) in pixels at every pixel of `image`, from `matches` as of `network_input`."""
    device = next(network.parameters()).device
    with whole_float32(device):
        flow = network.last(torch.from_numpy(network_input(image, matches))[None].to(device))
    return enlarge(flow, *image.shape[:2])[0].permute(1, 2, 0).contiguous().cpu().numpy()


def enlarge(flow: Tensor, height: int, width: int) -> Tensor:
    """Flow (N, 2, h, w) in pixels of 1/8 as (N, 2, height, width) in pixels."""
    size = [SCALE * side for side in flow.shape[2:]]
    return SCALE * F.interpolate(flow, size=size, mode="bicubic", align_corners=False)[..., :height, :width]


def load_interponet(path: str | Path) -> InterpoNet:
    """The network of a run of `nic-train experiment=interponet`, of its checkpoint, or of a `.safetensors` file.

    Raises:
        DataError: the file is missing, damaged, or of another network.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "checkpoints" / "last.ckpt"
    if not path.is_file():
        raise DataError(f"There are no weights of InterpoNet at {path}; give a run of nic-train experiment=interponet.")
    try:
        state = _read(path)
        widths = [len(state[f"layers.{i}.bias"]) for i in range(sum(name.startswith("heads.") for name in state) // 2)]
        network = InterpoNet(widths)
        network.load_state_dict(state)
    except Exception as error:  # on damaged bytes, the unpickler and the archive's reader raise nearly anything
        raise DataError(f"{path} holds no weights of InterpoNet.") from error
    if not all(torch.isfinite(value).all() for value in state.values()):
        raise DataError(f"{path} is damaged: weights are not finite.")
    return network.eval().requires_grad_(False)


def _read(path: Path) -> dict[str, Tensor]:
    if path.stat().st_size > MAX_BYTES:
        raise ValueError("too large")
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    with zipfile.ZipFile(path) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > MAX_BYTES:
            raise ValueError("too large")
    content = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    return {name.removeprefix("network."): v.float() for name, v in content.items() if name.startswith("network.")}

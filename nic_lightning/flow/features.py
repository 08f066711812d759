"""Pixel features of DCFlow: four 3x3 convolutions, unit length (Xu et al., CVPR 2017; thesis section 5.3)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nic_lightning.errors import DataError
from nic_lightning.flow.gpu.precision import whole_float32
from nic_lightning.flow.weights import load_weights

RADIUS = 4  # half of the 9x9 patch that one feature sees
SMALLEST = 2 * RADIUS + 1
_LUMA = np.array([0.2989, 0.5870, 0.1140], np.float32)


@dataclass(frozen=True)
class Frame:
    """One frame, and what the matcher knows of it at its working scale, (h, w) = (H // ratio, W // ratio).

    Attributes:
        original: (H, W, 3) RGB as given.
        features: (h, w, 64) float32, each vector of unit length.
        image: (h, w, 3) float32 RGB in [0, 1].
        luma: (h, w) float32 in [0, 1].
    """

    original: np.ndarray
    features: np.ndarray
    image: np.ndarray
    luma: np.ndarray


class FeatureNetwork(nn.Module):
    """image (N, 3, h + 8, w + 8) -> 3 x (conv 3x3x64, ReLU) -> conv 3x3x64 -> unit length (N, 64, h, w)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3)
        self.conv2 = nn.Conv2d(64, 64, 3)
        self.conv3 = nn.Conv2d(64, 64, 3)
        self.conv4 = nn.Conv2d(64, 64, 3)
        self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    def forward(self, x: Tensor) -> Tensor:
        """Features of the pixels that have a whole 9x9 patch around them."""
        for convolution in (self.conv1, self.conv2, self.conv3):
            x = F.relu(convolution(x))
        x = self.conv4(x)
        return x * (x.square().sum(1, keepdim=True) + 1e-12).rsqrt()

    @classmethod
    def from_file(cls, path: str | Path) -> FeatureNetwork:
        """The network with weights of `load_weights`, ready for inference."""
        network = cls()
        network.load_state_dict({name: torch.from_numpy(value) for name, value in load_weights(path).items()})
        return network.eval().requires_grad_(False)


@torch.inference_mode()
def extract(network: FeatureNetwork, image: np.ndarray, ratio: int) -> Frame:
    """Features of a whole image at 1/ratio of its size.

    Args:
        network: FeatureNetwork, on any device.
        image: (H, W, 3) RGB, uint8 or float32 in [0, 1]; H and W are cut to multiples of `ratio`.
        ratio: 1 or more; smaller pixels are bicubic averages, as MATLAB's imresize makes them.

    Raises:
        DataError: not such an image, or smaller than 9x9 at the working scale.
    """
    small = shrink(image, ratio)
    padded = network_input(small)
    device = next(network.parameters()).device
    with whole_float32(device):
        features = network(torch.from_numpy(padded).permute(2, 0, 1)[None].to(device))[0]
    return Frame(image, features.permute(1, 2, 0).contiguous().cpu().numpy(), small, small @ _LUMA)


def network_input(small: np.ndarray) -> np.ndarray:
    """What the network sees of an image (h, w, 3): (h + 8, w + 8, 3), each channel with mean 0 and deviation 1."""
    centred = (small - small.mean((0, 1))) / np.maximum(small.std((0, 1), ddof=1), 1e-6)
    return np.pad(centred, ((RADIUS, RADIUS), (RADIUS, RADIUS), (0, 0)), mode="symmetric")


def shrink(image: np.ndarray, ratio: int) -> np.ndarray:
    """(H, W, 3) uint8 or float32 RGB as (H // ratio, W // ratio, 3) float32 in [0, 1]."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype not in (np.uint8, np.float32):
        raise DataError(
            f"A frame has to be (H, W, 3) RGB in uint8 or float32, but this one is {image.shape} in {image.dtype}."
        )
    height, width = (size // ratio for size in image.shape[:2])
    if min(height, width) < SMALLEST:
        raise DataError(
            f"A frame of {image.shape[1]}x{image.shape[0]} pixels is {width}x{height} at 1/{ratio} scale, "
            f"and matching needs {SMALLEST}x{SMALLEST}; take a smaller ratio or a larger frame."
        )
    cut = image[: height * ratio, : width * ratio]
    scaled = cut.astype(np.float32) / 255 if cut.dtype == np.uint8 else cut
    if not np.isfinite(scaled).all():
        raise DataError("A frame holds values that are not finite.")
    if ratio == 1:
        return np.ascontiguousarray(scaled.clip(0, 1))
    planes = torch.from_numpy(np.ascontiguousarray(scaled)).permute(2, 0, 1)[None]
    small = F.interpolate(planes, size=(height, width), mode="bicubic", antialias=True, align_corners=False)
    return small.clamp(0, 1)[0].permute(1, 2, 0).contiguous().numpy()

"""LPIPS-Alex, from a weights file that the user places: nothing is downloaded.

Zhang et al. 2018, "The unreasonable effectiveness of deep features as a perceptual metric", version 0.1.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nic_lightning.errors import DataError

FILE_NAME = "lpips_alex_torchvision_features_fp16.pt"
MIN_SIDE = 31
"""AlexNet's poolings leave nothing of a smaller image."""
_MAX_FILE = 64 * 2**20
_CHANNELS = (64, 192, 384, 256, 256)
_log = logging.getLogger(__name__)


class LpipsAlex(nn.Module):
    """Distance of two images in AlexNet's features.

    State: `features.<n>.{weight,bias}` as in torchvision's AlexNet; `lin<k>.weight`, learned weights.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 11, stride=4, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(64, 192, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(192, 384, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(256, 256, 3, padding=1),
            nn.ReLU(),
        )
        for k, channels in enumerate(_CHANNELS):
            self.register_module(f"lin{k}", nn.Conv2d(channels, 1, 1, bias=False))
        self.register_buffer("shift", torch.tensor([-0.030, -0.088, -0.188]).view(3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor([0.458, 0.448, 0.450]).view(3, 1, 1), persistent=False)

    @torch.no_grad()
    def forward(self, x: Tensor, x_hat: Tensor) -> Tensor:
        """LPIPS of each image, shape (N,); images (N, 3, H, W) in [0, 1]; NaN where a side is below 31."""
        if min(x.shape[-2:]) < MIN_SIDE:
            return x.new_full((x.shape[0],), float("nan"))
        distance = x.new_zeros(x.shape[0])
        taps = zip(self._taps(x), self._taps(x_hat), strict=True)
        for k, (a, b) in enumerate(taps):
            difference = (_unit(a) - _unit(b)).square()
            distance = distance + self.get_submodule(f"lin{k}")(difference).mean((1, 2, 3))
        return distance

    def _taps(self, x: Tensor) -> list[Tensor]:
        """Outputs of the five ReLUs."""
        h = (2 * x - 1 - self.shift) / self.scale
        taps = []
        for layer in self.features:
            h = layer(h)
            if isinstance(layer, nn.ReLU):
                taps.append(h)
        return taps


def load_lpips(path: str | Path | None = None) -> LpipsAlex | None:
    """LPIPS-Alex in eval mode on the CPU, or None (with one logged sentence) when no weights are placed.

    Args:
        path: the weights file; None looks at the environment variable NIC_LPIPS, then at
            `weights/lpips_alex_torchvision_features_fp16.pt` below the data root.

    Raises:
        DataError: the named file is missing, or is not this network's weights.
    """
    named = path or os.environ.get("NIC_LPIPS")
    file = Path(named) if named else _default_file()
    if not file.is_file():
        if named:
            raise DataError(f"The LPIPS weights {file} do not exist; unset NIC_LPIPS or name another file.")
        _log.warning("LPIPS is left out: place %s in weights/ below the data root, or set NIC_LPIPS.", FILE_NAME)
        return None
    model = LpipsAlex()
    try:
        if file.stat().st_size > _MAX_FILE:
            raise ValueError("too large")
        state = torch.load(file, map_location="cpu", weights_only=True)
        model.load_state_dict({key: value.float() for key, value in state.items()})
    # torch.load names no closed set of errors for foreign bytes; every one of them means a wrong file.
    except Exception as error:
        raise DataError(f"{file} does not hold the weights of LPIPS-Alex (version 0.1).") from error
    return model.eval().requires_grad_(False)


def _default_file() -> Path:
    from nic_lightning.data.catalog import find_root

    try:
        root = find_root(None)
    except DataError:
        root = Path("data")
    return root / "weights" / FILE_NAME


def _unit(features: Tensor) -> Tensor:
    return F.normalize(features, dim=1, eps=1e-10)

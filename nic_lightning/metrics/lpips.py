"""LPIPS-Alex, from a weights file that the user places: nothing is downloaded.

Zhang et al. 2018, "The unreasonable effectiveness of deep features as a perceptual metric", version 0.1.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nic_lightning.errors import DataError
from nic_lightning.metrics.weights import LPIPS, MAX_FILE, find_lpips

FILE_NAME = LPIPS.names[0]
MIN_SIDE = 31
"""AlexNet's poolings leave nothing of a smaller image."""
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
        return self.against(x)(x_hat)

    @torch.no_grad()
    def against(self, x: Tensor) -> Callable[[Tensor], Tensor]:
        """LPIPS of any images with the originals x, whose features are made once."""
        if min(x.shape[-2:]) < MIN_SIDE:
            return lambda x_hat: x_hat.new_full((x_hat.shape[0],), float("nan"))
        originals = self.features_of(x)

        @torch.no_grad()
        def distance_to(x_hat: Tensor) -> Tensor:
            return self.distances(originals, self.features_of(x_hat))

        return distance_to

    def features_of(self, x: Tensor) -> list[Tensor]:
        """Features of images (N, 3, H, W) of 31 pixels a side or more, at five depths, of length 1 over channels."""
        return [_unit(tap) for tap in self._taps(x)]

    def distances(self, first: list[Tensor], second: list[Tensor]) -> Tensor:
        """LPIPS of images by their features, shape (N,); gradients pass."""
        distance = second[0].new_zeros(second[0].shape[0])
        for k, (a, b) in enumerate(zip(first, second, strict=True)):
            distance = distance + self.get_submodule(f"lin{k}")((a - b).square()).mean((1, 2, 3))
        return distance

    @torch.no_grad()
    def between(self, images: Tensor) -> Tensor:
        """LPIPS of all pairs of images (K, 3, H, W), in order (0, 1), (0, 2), ...; shape (K (K - 1) / 2,).

        Images may leave [0, 1]. NaN where a side is below 31.
        """
        count = len(images)
        if min(images.shape[-2:]) < MIN_SIDE:
            return images.new_full((count * (count - 1) // 2,), float("nan"))
        taps = [_unit(tap) for tap in self._taps(images)]
        rows = []
        for i in range(count - 1):
            row = images.new_zeros(count - 1 - i)
            for k, tap in enumerate(taps):
                difference = (tap[i] - tap[i + 1 :]).square()
                row = row + self.get_submodule(f"lin{k}")(difference).mean((1, 2, 3))
            rows.append(row)
        return torch.cat(rows) if rows else images.new_zeros(0)

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
        path: the weights file; None looks where `nic data weights` says: for features and heads in one file, then for
            torchvision's AlexNet, to which the heads that torchmetrics ships are joined.

    Raises:
        DataError: the named file is missing, or is not this network's weights.
    """
    if path is not None and not Path(path).is_file():
        raise DataError(f"The LPIPS weights {path} do not exist; name another file.")
    file = Path(path) if path is not None else find_lpips()
    if file is None:
        _log.warning(
            "LPIPS is left out: place %s in weights/ below the data root, or set NIC_LPIPS; or torchvision's AlexNet, "
            "see nic data weights.",
            FILE_NAME,
        )
        return None
    model = LpipsAlex()
    try:
        if file.stat().st_size > MAX_FILE:
            raise ValueError("too large")
        state = torch.load(file, map_location="cpu", weights_only=True)
        if "classifier.1.weight" in state:
            state = {key: value for key, value in state.items() if key.startswith("features.")} | heads()
        model.load_state_dict({key: value.float() for key, value in state.items()})
    # torch.load names no closed set of errors for foreign bytes; every one of them means a wrong file.
    except Exception as error:
        raise DataError(f"{file} does not hold the weights of LPIPS-Alex (version 0.1).") from error
    return model.eval().requires_grad_(False)


def heads() -> dict[str, Any]:
    """The learned weights of LPIPS-Alex 0.1, `lin<k>.weight`, as torchmetrics ships them in its package."""
    package = importlib.util.find_spec("torchmetrics")
    assert package is not None
    assert package.origin is not None
    file = Path(package.origin).parent / "functional" / "image" / "lpips_models" / "alex.pth"
    state = torch.load(file, map_location="cpu", weights_only=True)
    return {key.replace(".model.1", ""): value for key, value in state.items()}


def _unit(features: Tensor) -> Tensor:
    return F.normalize(features, dim=1, eps=1e-10)

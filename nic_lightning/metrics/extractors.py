"""Networks whose features Fréchet distances are measured in, from weights that the user places: nothing is downloaded.

An extractor maps uint8 RGB images (N, 3, H, W) to features (N, `num_features`) and has an `extractor_name`.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from nic_lightning.errors import DataError, UserError
from nic_lightning.metrics import weights
from nic_lightning.metrics.lpips import MIN_SIDE, load_lpips
from nic_lightning.metrics.weights import INCEPTION_2015, INCEPTION_TORCHVISION, Weights


class AlexNetFeatures(nn.Module):
    """Spatial means of the last 256 channels of AlexNet, whose weights LPIPS needs anyway. Nobody else's FID."""

    num_features = 256
    extractor_name = "alexnet"

    def __init__(self, lpips: nn.Module) -> None:
        super().__init__()
        self.lpips = lpips

    def forward(self, pixels: Tensor) -> Tensor:
        """Features (N, 256) of uint8 images (N, 3, H, W). Raises DataError below 31 pixels a side."""
        if min(pixels.shape[-2:]) < MIN_SIDE:
            raise DataError(f"An image of {pixels.shape[-1]} x {pixels.shape[-2]} is too small for AlexNet's features.")
        return self.lpips.features((2 * pixels.float() / 255 - 1 - self.lpips.shift) / self.lpips.scale).mean((2, 3))  # type: ignore[operator]


def load_extractor(name: str = "inception", path: str | Path | None = None) -> nn.Module:
    """An extractor in eval mode on the CPU.

    Args:
        name: "inception"; "stargan", torchvision's Inception as StarGAN v2 calls it; or "alexnet", the features of
            LPIPS.
        path: weights file, .pth or .safetensors; None looks where `nic data weights` says.

    Raises:
        UserError: there is no such extractor.
        DataError: the weights are missing, or the file holds others.
    """
    if name == "alexnet":
        lpips = load_lpips(path)
        if lpips is None:
            raise DataError("FID in AlexNet's features needs the weights of LPIPS; name their file, or set NIC_LPIPS.")
        return AlexNetFeatures(lpips).eval()
    if name not in _INCEPTIONS:
        raise UserError(f"There is no feature extractor {name!r}; there are {', '.join(_INCEPTIONS)} and alexnet.")
    published, public_name = _INCEPTIONS[name]
    file = _file(published, path)
    found = weights.digest(file)

    from nic_lightning.metrics.inception import InceptionFeatures, StarganInception  # imports torchvision

    kind = StarganInception if name == "stargan" else InceptionFeatures
    features = kind(public_name if weights.is_published(published, found) else f"{name}_{found[:8]}")
    try:
        features.network.load_state_dict(_state(file))
    # Neither loader names a closed set of errors for foreign bytes; every one of them means a wrong file.
    except Exception as error:
        raise DataError(f"{file} does not hold the weights of FID's Inception, {published.names[0]}.") from error
    return features.eval().requires_grad_(False)


_INCEPTIONS = {
    "inception": (INCEPTION_2015, "inception_2015"),
    "stargan": (INCEPTION_TORCHVISION, "stargan"),
}
"""Weights, and the name that distances carry; other weights than the published are named by their SHA-256."""


def _file(published: Weights, path: str | Path | None) -> Path:
    if path is not None:
        if not Path(path).is_file():
            raise DataError(f"The Inception weights {path} do not exist; name another file.")
        return Path(path)
    found = published.find()
    if found is None:
        raise published.missing()
    return found


def _state(file: Path) -> dict[str, Tensor]:
    if file.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(file)
    return torch.load(file, map_location="cpu", weights_only=True)

"""Networks whose features Fréchet distances are measured in, from weights that the user places: nothing is downloaded.

An extractor maps uint8 RGB images (N, 3, H, W) to features (N, `num_features`) and has an `extractor_name`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.inception import (
    BasicConv2d,
    Inception3,
    InceptionA,
    InceptionAux,
    InceptionB,
    InceptionC,
    InceptionD,
    InceptionE,
)

from nic_lightning.errors import DataError, UserError
from nic_lightning.metrics import weights
from nic_lightning.metrics.lpips import MIN_SIDE, load_lpips
from nic_lightning.metrics.weights import INCEPTION_2015, INCEPTION_TORCHVISION, Weights

_SIDE = 299
_IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Means and deviations of its pixels, from 0 to 1."""


class InceptionFeatures(nn.Module):
    """The 2,048 pooled features of the Inception-v3 of 5 December 2015, for images of any size.

    As in TensorFlow 1: images are resized to 299 x 299, bilinear without antialiasing and with corners at the pixels'
    own places, and average poolings leave the border out. State: that of torchvision's Inception-v3 without auxiliary
    head, with 1,008 classes.
    """

    num_features = 2048

    def __init__(self, extractor_name: str = "inception_2015") -> None:
        super().__init__()
        self.extractor_name = extractor_name
        blocks = [BasicConv2d, _BlockA, InceptionB, _BlockC, InceptionD, _BlockE, InceptionAux]
        self.network = Inception3(num_classes=1008, aux_logits=False, inception_blocks=blocks, init_weights=False)
        self.network.Mixed_7c = _LastBlock(2048)

    def forward(self, pixels: Tensor) -> Tensor:
        """Features (N, 2048) of uint8 images (N, 3, H, W)."""
        x = (_resized(pixels.float()) - 128) / 128
        for name, layer in self.network.named_children():
            if name in ("avgpool", "dropout", "fc"):
                continue
            x = layer(x)
        return x.mean((2, 3))


class StarganInception(nn.Module):
    """The 2,048 pooled features of torchvision's Inception-v3 as StarGAN v2's evaluation takes them.

    Images are resized to 299 x 299 by Pillow (bilinear with antialiasing, 8 bits in between) and normalised as other
    networks of torchvision expect it. These weights, ported from TensorFlow, expect another range, which torchvision
    converts to and StarGAN v2, calling the layers one by one, does not: distances compare with the published ones only
    so. State: that of torchvision's Inception-v3 with its auxiliary head.
    """

    num_features = 2048
    mean: Tensor
    deviation: Tensor

    def __init__(self, extractor_name: str = "stargan") -> None:
        super().__init__()
        self.extractor_name = extractor_name
        self.network = Inception3(aux_logits=True, init_weights=False)
        mean, deviation = (torch.tensor(values).view(3, 1, 1) for values in _IMAGENET)
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("deviation", deviation, persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Features (N, 2048) of uint8 images (N, 3, H, W)."""
        pictures = (Image.fromarray(one) for one in pixels.permute(0, 2, 3, 1).cpu().numpy())
        resized = [np.array(one.resize((_SIDE, _SIDE), Image.Resampling.BILINEAR)) for one in pictures]
        x = torch.from_numpy(np.stack(resized)).to(pixels.device).permute(0, 3, 1, 2).float() / 255
        x = (x - self.mean) / self.deviation
        for name, layer in self.network.named_children():
            if name not in ("AuxLogits", "avgpool", "dropout", "fc"):
                x = layer(x)
        return x.mean((2, 3))


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
    kind, published, public_name = _INCEPTIONS[name]
    file = _file(published, path)
    found = weights.digest(file)
    features = kind(public_name if weights.is_published(published, found) else f"{name}_{found[:8]}")
    try:
        features.network.load_state_dict(_state(file))
    # Neither loader names a closed set of errors for foreign bytes; every one of them means a wrong file.
    except Exception as error:
        raise DataError(f"{file} does not hold the weights of FID's Inception, {published.names[0]}.") from error
    return features.eval().requires_grad_(False)


_INCEPTIONS = {
    "inception": (InceptionFeatures, INCEPTION_2015, "inception_2015"),
    "stargan": (StarganInception, INCEPTION_TORCHVISION, "stargan"),
}
"""Class, weights, and the name that distances carry; other weights than the published are named by their SHA-256."""


class _BlockA(InceptionA):
    def forward(self, x: Tensor) -> Tensor:
        return _with_pool(self, x, _average(x))


class _BlockC(InceptionC):
    def forward(self, x: Tensor) -> Tensor:
        return _with_pool(self, x, _average(x))


class _BlockE(InceptionE):
    def forward(self, x: Tensor) -> Tensor:
        return _with_pool(self, x, _average(x))


class _LastBlock(InceptionE):
    """The last one takes the maximum, by mistake or not."""

    def forward(self, x: Tensor) -> Tensor:
        return _with_pool(self, x, F.max_pool2d(x, 3, stride=1, padding=1))


def _with_pool(block: InceptionA | InceptionC | InceptionE, x: Tensor, pooled: Tensor) -> Tensor:
    """Torchvision's block with another pooling in its last branch, which is computed twice for that."""
    *branches, _ = block._forward(x)
    return torch.cat([*branches, block.branch_pool(pooled)], 1)


def _average(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


def _resized(x: Tensor) -> Tensor:
    """TensorFlow 1's bilinear resizing to 299 x 299: place i of the output is place i * H / 299 of the input."""
    for dim in (2, 3):
        size = x.shape[dim]
        place = torch.arange(_SIDE, device=x.device, dtype=torch.float32) * (size / _SIDE)
        low = place.floor().long()
        share = (place - low).view(-1, 1) if dim == 2 else place - low
        below, above = x.index_select(dim, low), x.index_select(dim, (low + 1).clamp(max=size - 1))
        x = below + (above - below) * share
    return x


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

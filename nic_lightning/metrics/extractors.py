"""Networks whose features Fréchet distances are measured in, from weights that the user places: nothing is downloaded.

An extractor maps uint8 RGB images (N, 3, H, W) to features (N, `num_features`) and has an `extractor_name`.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import torch
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
from nic_lightning.metrics.lpips import MIN_SIDE, load_lpips

INCEPTION_FILES = ("weights-inception-2015-12-05-6726825d.pth", "pt_inception-2015-12-05-6726825d.pth")
"""The same weights, of the network that FID was defined with, as torch-fidelity and pytorch-fid name them."""
_INCEPTION_HASH = "6726825d"
_MAX_FILE = 512 * 2**20
_SIDE = 299


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
        name: "inception", or "alexnet" (the features of LPIPS).
        path: weights file, .pth or .safetensors; None looks, for Inception, at NIC_INCEPTION, then in weights/ below
            the data root, then at `hub/checkpoints` of TORCH_HOME; for AlexNet where `load_lpips` looks.

    Raises:
        UserError: there is no such extractor.
        DataError: the weights are missing, or the file holds others.
    """
    if name == "alexnet":
        lpips = load_lpips(path)
        if lpips is None:
            raise DataError("FID in AlexNet's features needs the weights of LPIPS; name their file, or set NIC_LPIPS.")
        return AlexNetFeatures(lpips).eval()
    if name != "inception":
        raise UserError(f"There is no feature extractor {name!r}; there are inception and alexnet.")
    file = _inception_file(path)
    features = InceptionFeatures(_name(file))
    try:
        features.network.load_state_dict(_state(file))
    # Neither loader names a closed set of errors for foreign bytes; every one of them means a wrong file.
    except Exception as error:
        raise DataError(f"{file} does not hold the weights of FID's Inception, {INCEPTION_FILES[0]}.") from error
    return features.eval().requires_grad_(False)


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


def _inception_file(path: str | Path | None) -> Path:
    named = path or os.environ.get("NIC_INCEPTION")
    if named:
        if not Path(named).is_file():
            raise DataError(f"The Inception weights {named} do not exist; name another file, or unset NIC_INCEPTION.")
        return Path(named)
    home = Path(os.environ.get("TORCH_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "torch")
    folders = [_weights_folder(), home.expanduser() / "hub" / "checkpoints"]
    for folder in folders:
        for name in INCEPTION_FILES:
            if (folder / name).is_file():
                return folder / name
    raise DataError(
        f"FID needs the Inception weights {INCEPTION_FILES[0]}, which torch-fidelity publishes; place them in "
        f"{folders[0]} or {folders[1]}, or set NIC_INCEPTION."
    )


def _weights_folder() -> Path:
    from nic_lightning.data.catalog import find_root

    try:
        return find_root(None) / "weights"
    except DataError:
        return Path("data") / "weights"


def _name(file: Path) -> str:
    """`inception_2015` only for the published file; others are named after their own SHA-256."""
    if file.stat().st_size > _MAX_FILE:
        raise DataError(f"{file} is too large for the weights of Inception.")
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    return "inception_2015" if digest.startswith(_INCEPTION_HASH) else f"inception_{digest[:8]}"


def _state(file: Path) -> dict[str, Tensor]:
    if file.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(file)
    return torch.load(file, map_location="cpu", weights_only=True)

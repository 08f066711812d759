"""The features of Inception-v3, as two publications compute them, on torchvision's network."""

from __future__ import annotations

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

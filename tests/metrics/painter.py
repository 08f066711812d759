"""A translator whose every value can be told by hand, and pictures of three colours for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from nic_lightning.baselines.translation import Received, Sent
from nic_lightning.data.domains import DomainFolders

COLOURS = {"blue": (30, 30, 200), "green": (30, 200, 30), "red": (200, 30, 30)}
COUNTS = {"blue": 7, "green": 3, "red": 5}
SIZE = 32


class Colour(nn.Module):
    """Mean and spread of each channel."""

    num_features = 6
    extractor_name = "colour"

    def forward(self, pixels):
        values = pixels.double() / 255
        return torch.cat([values.mean((2, 3)), values.std((2, 3))], 1)


def write_faces(root: Path) -> dict[str, DomainFolders]:
    """Training and validation images, `COUNTS` of these and three times as many of those."""
    made = {}
    for part, factor in (("train", 3), ("val", 1)):
        numbers = np.random.default_rng(factor)
        for name, colour in COLOURS.items():
            folder = root / part / name
            folder.mkdir(parents=True)
            for i in range(factor * COUNTS[name]):
                noise = numbers.normal(0, 12, (40, 36, 3)) + numbers.normal(0, 8, 3)
                Image.fromarray((noise + colour).clip(0, 255).astype(np.uint8)).save(folder / f"{i:02}.png")
        made[part] = DomainFolders(root / part, least=1)
    return made


class Networks:
    """Styles that tell their domain and what they were made of."""

    domains, size, latent_dim = tuple(COLOURS), SIZE, 2

    def to(self, device):
        return self

    def eval(self):
        return self

    def mapping(self, w, labels):
        return torch.cat([labels[:, None].float(), w], 1)

    def reference_styles(self, name, references):
        label = torch.full((len(references), 1), float(self.domains.index(name)))
        return torch.cat([label, references.mean((2, 3))[:, :2]], 1)


class Painter:
    """Paints in the target's colour, shifted by the style; `right` of ten images, the others in blue."""

    def __init__(self, right: int = 10) -> None:
        self.name, self.networks, self.right, self.seen = "painter", Networks(), right, []

    def send(self, x):
        assert x.shape == (1, 3, SIZE, SIZE)
        return Sent(x.numpy().tobytes()[:17], 136)

    def receive(self, sent, styles):
        images = []
        for style in styles:
            self.seen.append(style)
            colour = list(COLOURS.values())[int(style[0]) if (len(self.seen) - 1) % 10 < self.right else 0]
            shift = torch.tensor([style[1], style[2], 0.0]) * 0.02
            grid = torch.linspace(-0.1, 0.1, SIZE).expand(3, SIZE, SIZE)
            images.append(torch.tensor(colour)[:, None, None] / 255 + shift[:, None, None] + grid)
        return Received(torch.stack(images))

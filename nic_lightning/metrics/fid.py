"""Fréchet distances between two sets of images, in the features of a network that is handed in.

Heusel et al. 2017, "GANs trained by a two time-scale update rule converge to a local Nash equilibrium": the distance
|mu_1 - mu_2|^2 + Tr(S_1 + S_2 - 2 (S_1 S_2)^(1/2)) of two normal distributions. Values of different extractors say
nothing about one another, so each is reported under the name of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance

PATCH = 256
_BATCH = 32


@dataclass(frozen=True)
class FidResult:
    """A distance and what to know about it."""

    name: str
    """`fid_<extractor>`, or `fid256_<extractor>` of patches."""
    value: float
    """NaN below two images on a side."""
    real: int
    """Images, or patches, of the originals."""
    fake: int
    note: str | None
    """Why not to trust it."""


class Fid(FrechetInceptionDistance):
    """Distance of reconstructions from originals. Sums are float64, and those of all ranks are added.

    Keep it out of the module that is trained: its extractor would end in the checkpoint.
    """

    prefix = "fid"
    unit = "images"

    def __init__(self, extractor: nn.Module) -> None:
        """Take an extractor as `metrics/extractors.py` has them.

        Args:
            extractor: maps uint8 images (N, 3, H, W) to features (N, `num_features`); `extractor_name` names it.
        """
        super().__init__(feature=_InFloat64(extractor.eval().requires_grad_(False)))
        self.name = f"{self.prefix}_{extractor.extractor_name}"
        self.orig_dtype = torch.float64  # a rank without an image learns it nowhere else

    @torch.no_grad()
    def update(self, images: Tensor, real: bool) -> None:
        """Add images (N, 3, H, W), float RGB in [0, 1], rounded to 8 bits here; `real` for originals."""
        pixels = images.detach().clamp(0, 1).mul(255).round().byte()
        samples = self.samples(pixels)
        for start in range(0, len(samples), _BATCH):
            super().update(samples[start : start + _BATCH], real)

    def samples(self, pixels: Tensor) -> Tensor:
        """What counts as one observation."""
        return pixels

    def take_originals(self, other: Fid) -> None:
        """Compare with the originals of `other`, of the same extractor, instead of own ones."""
        for name in ("real_features_sum", "real_features_cov_sum", "real_features_num_samples"):
            setattr(self, name, getattr(other, name).clone())

    def compute(self) -> Tensor:
        """The distance, float64, 0 or more, over the images of all ranks; NaN below two on a side."""
        self._counts = int(self.real_features_num_samples), int(self.fake_features_num_samples)
        if min(self._counts) < 2:
            return torch.tensor(float("nan"), dtype=torch.float64)
        found = super().compute()
        return torch.where(found > 0, found, found.new_zeros(()))  # of equal sets, rounding leaves less than nothing

    def result(self) -> FidResult:
        """The distance with its name, counts and doubts. With several ranks all must call it."""
        value = float(self.compute())
        real, fake = self._counts
        features = len(self.real_features_sum)
        note = None
        if min(real, fake) <= features:
            note = (
                f"{min(real, fake)} {self.unit} are too few for {features} features: covariances lack rank, and the "
                f"distance is biased upwards; compare it only at equal numbers."
            )
        return FidResult(self.name, value, real, fake, note)


class PatchFid(Fid):
    """FID/256 of full-size photographs: patches of 256 x 256, and those of a grid shifted by 128 pixels both ways.

    Mentzer et al. 2020, "High-fidelity generative image compression", appendix A.7. The second grid takes every patch
    that fits, as public implementations do. An image with a side below 256 has no patch.
    """

    prefix = "fid256"
    unit = "patches"
    side = PATCH
    """An image with a smaller one has no patch."""

    def samples(self, pixels: Tensor) -> Tensor:
        """Patches (K, 3, 256, 256) of images (N, 3, H, W)."""
        return torch.cat([_grid(pixels), _grid(pixels[:, :, PATCH // 2 :, PATCH // 2 :])])


class _InFloat64(nn.Module):
    """The extractor with features in float64, which torchmetrics gives the distance in."""

    def __init__(self, extractor: nn.Module) -> None:
        super().__init__()
        self.extractor = extractor
        self.num_features = int(extractor.num_features)  # type: ignore[arg-type]

    def forward(self, pixels: Tensor) -> Tensor:
        return self.extractor(pixels).double()


def _grid(pixels: Tensor) -> Tensor:
    """All patches of a grid from the upper left corner; (0, 3, 256, 256) where none fits."""
    n, channels, height, width = pixels.shape
    rows, columns = height // PATCH, width // PATCH
    whole = pixels[:, :, : rows * PATCH, : columns * PATCH]
    split = whole.reshape(n, channels, rows, PATCH, columns, PATCH).permute(0, 2, 4, 1, 3, 5)
    return split.reshape(-1, channels, PATCH, PATCH)

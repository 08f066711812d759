"""PSNR and MS-SSIM as means over images; the values of single images are `media/image/fidelity.py`.

Images are float RGB in [0, 1], shape (N, 3, H, W).
"""

from __future__ import annotations

from torch import Tensor

from nic_lightning.media.image.fidelity import ms_ssim, psnr, round_to_8_bits, to_db
from nic_lightning.metrics.mean import MeanOverImages

__all__ = ["MsSsim", "MsSsimDb", "Psnr", "ms_ssim", "psnr", "round_to_8_bits", "to_db"]


class _Fidelity(MeanOverImages):
    """Mean of what `values` gives for images (N, 3, H, W) and their reconstructions."""

    higher_is_better = True

    def values(self, x: Tensor, x_hat: Tensor) -> Tensor:
        raise NotImplementedError

    def update(self, x: Tensor, x_hat: Tensor) -> None:
        """Add a batch: images (N, 3, H, W) in [0, 1] and their reconstructions."""
        self.add(self.values(x.float(), x_hat.float()))


class Psnr(_Fidelity):
    """Mean over images of the PSNR in dB of 8-bit-rounded images.

    Not the PSNR of the mean squared error of a whole data set, which lies up to several dB lower.
    """

    def values(self, x: Tensor, x_hat: Tensor) -> Tensor:
        """PSNR of each image."""
        return psnr(x, x_hat)


class MsSsim(_Fidelity):
    """Mean over images of MS-SSIM in [0, 1] of 8-bit-rounded images."""

    def values(self, x: Tensor, x_hat: Tensor) -> Tensor:
        """MS-SSIM of each image."""
        return ms_ssim(round_to_8_bits(x), round_to_8_bits(x_hat))


class MsSsimDb(_Fidelity):
    """Mean over images of each image's MS-SSIM in dB (not the dB of the mean)."""

    def values(self, x: Tensor, x_hat: Tensor) -> Tensor:
        """MS-SSIM in dB of each image."""
        return to_db(ms_ssim(round_to_8_bits(x), round_to_8_bits(x_hat)))

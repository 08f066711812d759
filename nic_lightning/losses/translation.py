"""Losses of image-to-image translation with a rate (thesis sections 4.3.1 and 4.4.2) and of StarGAN v2.

Images are (N, 3, H, W) in [-1, 1], logits (N,), styles (N, D). All are computed in float32, and are means over the
batch, so that a batch in equal parts gives the mean of their losses.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from nic_lightning.losses.rate_distortion import bits


def adversarial(logits: Tensor, real: bool) -> Tensor:
    """Binary cross-entropy of a discriminator's logits with one answer (thesis eq. 4.1 and 4.8, non-saturating).

    The discriminator learns `real` of real images and not of made ones; the generator wants `real` of what it made.
    """
    return F.softplus(-logits.float() if real else logits.float()).mean()


def r1(logits: Tensor, images: Tensor) -> Tensor:
    """Half of the squared gradient of the logits to real images, which require one (Mescheder et al. 2018)."""
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return 0.5 * gradient.float().square().sum(dim=(1, 2, 3)).mean()


def style_reconstruction(found: Tensor, wanted: Tensor) -> Tensor:
    """Mean absolute difference of the style that E^s finds in an image and the one that it was made in (eq. 4.2)."""
    return F.l1_loss(found.float(), wanted.float())


def diversity(images: Tensor, others: Tensor) -> Tensor:
    """Mean absolute difference of images of one content in two styles, to be maximised (eq. 4.3).

    Only the first are trained by it, as in StarGAN v2.
    """
    return F.l1_loss(images.float(), others.detach().float())


def cycle(images: Tensor, back: Tensor) -> Tensor:
    """Mean absolute difference of images and their translations translated back (eq. 4.4)."""
    return F.l1_loss(back.float(), images.float())


def rate(likelihoods: dict[str, Tensor], images: Tensor) -> Tensor:
    """Estimated bits of all latents for each pixel (eq. 4.5, in bits)."""
    return bits({name: value.float() for name, value in likelihoods.items()}) / (
        images.shape[0] * images.shape[2] * images.shape[3]
    )


def distortion(images: Tensor, decoded: Tensor) -> Tensor:
    """Mean squared error of images in [-1, 1], which is four times that in [0, 1]."""
    return F.mse_loss(decoded.float(), images.float())


def autoencoding(error: Tensor, bpp: Tensor, adversarial: Tensor, lambda_a: float, rate: float, beta: float) -> Tensor:
    """Loss `lambda_a * distortion + rate * bpp + beta * adversarial` of the autoencoding mode (section 4.4.2).

    Equation 4.7 is printed as D + lambda R with lambda 20, which no distortion in [-1, 1] is in proportion to: it would
    all but switch the latents off. The authors' released code of the other chapters minimises lambda D + R, which here
    reaches about the published rates. `lambda_a=1, rate=20` is the printed form.
    """
    return lambda_a * error + rate * bpp + beta * adversarial


def fading(start: float, iteration: int, iterations: int) -> float:
    """Weight of the diversity loss: linearly from `start` at iteration 0 to 0 at `iterations`; constant where 0."""
    return start * max(0.0, 1 - iteration / iterations) if iterations else start

"""Training on latents whose spread varies from image to image, as latents of photographs do."""

from __future__ import annotations

import torch

from nic_lightning.entropy.adapted import AdaptedBottleneck
from nic_lightning.entropy.factorised import EntropyBottleneck
from nic_lightning.entropy.side_information import TableRates, parts_of_larger_images, side_information

CHANNELS = 32


def laplacian(images: int, size: tuple[int, int], seed: int) -> torch.Tensor:
    """Channels of scales .2 to 8, times a factor of the image and one of image and channel."""
    generator = torch.Generator().manual_seed(seed)
    of_image, of_both = (torch.randn(images, n, generator=generator) for n in (1, CHANNELS))
    scales = torch.logspace(-0.7, 0.9, CHANNELS) * torch.exp(0.5 * of_image + 0.25 * of_both)
    uniform = torch.rand(images, CHANNELS, *size, generator=generator) - 0.5
    return -scales[:, :, None, None] * uniform.sign() * torch.log1p(1e-7 - 2 * uniform.abs())


def fitting_all() -> EntropyBottleneck:
    """Static tables of the frequencies over a thousand images: the best that one table for all can be."""
    static, reach = EntropyBottleneck(CHANNELS), 60
    pooled = laplacian(1000, (16, 16), seed=99).round().clamp(-reach, reach).long() + reach
    counts = [torch.bincount(pooled[:, c].flatten(), minlength=2 * reach + 1) + 0.5 for c in range(CHANNELS)]
    static._store([n / n.sum() for n in counts], [1e-9] * CHANNELS, [-reach] * CHANNELS)
    with torch.no_grad():
        static.quantiles[:, 0, 1] = 0.0
    return static


def rates(model: AdaptedBottleneck, size: tuple[int, int]) -> list[TableRates]:
    return [model.plan(image).rates for image in laplacian(8, size, seed=5).split(1)]


def test_training_closes_more_than_a_tenth_of_the_gap():
    """Images of 512x768 by crops of 256x256; after 400 steps and with 64 channels it is more than a half."""
    torch.manual_seed(0)
    model = AdaptedBottleneck(fitting_all(), bins=128)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for step in range(140):
        y = laplacian(16, (16, 16), seed=1000 + step)
        optimizer.zero_grad()
        with parts_of_larger_images(6.0), side_information() as notes:
            _, likelihood = model(y, training=True)
        bits = -torch.log2(likelihood).sum() - torch.log2(notes[0].q).sum() / 6
        (bits / y[:, 0].numel() + model.entropy_q.loss()).backward()
        optimizer.step()
    model.update()
    found = rates(model.eval(), (32, 48))
    static, ideal = (sum(float(getattr(r, name).sum()) for r in found) for name in ("static", "ideal"))
    total = sum(float(r.adapted.sum()) + r.side for r in found)
    assert total < static
    assert static - total > 0.1 * (static - ideal)
    assert sum(r.chosen for r in found) <= total + 1e-6

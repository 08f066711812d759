"""Training of a codec that translates as a plain loop, without the framework: what `nic bench training` compares with.

Written apart from `tasks/translation.py`, with the same networks, steps and precision: StarGAN v2's order of an
iteration, and the autoencoding of a unified codec. No logs, checkpoints, accumulation or ranks.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import get_ema_multi_avg_fn

from nic_lightning.codecs.translation import AUTOENCODE, TRANSLATE, I2ICodec
from nic_lightning.data.domains import Translation
from nic_lightning.layers.stargan import Discriminator, initialise
from nic_lightning.losses.rate_distortion import bits


class TranslationLoop:
    """Networks, optimisers and the steps of an iteration, as short as they can be."""

    def __init__(self, codec: I2ICodec, config: DictConfig, device: torch.device) -> None:
        self.c, self.weights = codec.to(device).train(), config.task
        self.average = copy.deepcopy(self.c).requires_grad_(False)
        self.unified = len(codec.operating_points) > 1
        self.discriminators = nn.ModuleList(
            Discriminator(codec.size, codec.base, codec.widest, len(codec.domains)) for _ in range(1 + self.unified)
        ).to(device)
        for discriminator in self.discriminators:
            initialise(discriminator)
        adam: Any = {"betas": (0.0, 0.99), "weight_decay": 1e-4, "fused": True}
        named = [(n, p) for n, p in self.c.named_parameters() if not n.endswith("quantiles")]
        groups = [
            {"params": [p for n, p in named if not n.startswith("mapping.")], "lr": 1e-4},
            {"params": list(self.c.mapping.parameters()), "lr": 1e-6},
        ]
        self.quantiles = [p for n, p in self.c.named_parameters() if n.endswith("quantiles")]
        self.trained = [p for _, p in named]
        self.styling = [*self.c.mapping.parameters(), *self.c.style_encoder.parameters()]
        self.generator = torch.optim.Adam(groups, **adam)
        self.discriminator = torch.optim.Adam(self.discriminators.parameters(), 1e-4, **adam)
        self.auxiliary = torch.optim.Adam(self.quantiles, 1e-3, fused=True)
        self.half = torch.autocast(
            device.type, torch.bfloat16, enabled=str(config.trainer.precision).startswith("bf16"), cache_enabled=False
        )

    def coded(self, x: Tensor, mode: int) -> tuple[Tensor, Tensor]:
        """Content as the decoder sees it, and its rate."""
        y_hat, likelihoods = self.c.likelihoods(self.c.encoder(x, float(mode)), (TRANSLATE, AUTOENCODE)[mode])
        return y_hat, bits(likelihoods) / (len(x) * x.shape[2] * x.shape[3])

    def decoded(self, y_hat: Tensor, style: Tensor | None, mode: int) -> Tensor:
        """Images."""
        return self.c.decoder(y_hat, y_hat.new_zeros(len(y_hat), self.c.style_dim) if style is None else style, mode)

    def step(self, optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
        """One step."""
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def discriminate(self, number: int, x: Tensor, domain: Tensor, made: Tensor, made_domain: Tensor) -> None:
        """Real from made, with the gradient penalty."""
        network = self.discriminators[number]
        with torch.autocast(x.device.type, enabled=False):
            real = x.detach().requires_grad_()
            logits = network(real, domain)
            (gradient,) = torch.autograd.grad(logits.sum(), real, create_graph=True)
        penalty = 0.5 * gradient.square().sum((1, 2, 3)).mean()
        loss = F.softplus(-logits).mean() + F.softplus(network(made, made_domain).float()).mean()
        self.step(self.discriminator, loss + self.weights.r1 * penalty)

    def translate(self, x: Tensor, domain: Tensor, target: Tensor, styles: Any, latent: bool) -> None:
        """Generator's side with a pair of styles."""
        with torch.set_grad_enabled(latent):
            style = styles(0)
        y_hat, rate = self.coded(x, 0)
        made = self.decoded(y_hat, style, 0)
        with torch.no_grad():
            other = self.decoded(y_hat, styles(1), 0)
        back = self.decoded(self.coded(made, 0)[0], self.c.style_encoder(x, domain), 0)
        found = self.c.style_encoder(made, target)
        loss = F.softplus(-self.discriminators[0](made, target).float()).mean()
        loss = loss + self.weights.style * (found.float() - style.float()).abs().mean()
        loss = loss - self.weights.diversity * (made.float() - other.float()).abs().mean()
        loss = loss + self.weights.cycle * (back.float() - x).abs().mean() + self.weights.lambda_t * rate
        self.step(self.generator, loss)

    def autoencode(self, x: Tensor, domain: Tensor) -> None:
        """Distortion, rate and adversarial loss."""
        y_hat, rate = self.coded(x, 1)
        decoded = self.decoded(y_hat, None, 1)
        loss = self.weights.lambda_a * F.mse_loss(decoded.float(), x) + rate
        logits = self.discriminators[1](decoded, domain)
        self.step(self.generator, loss + self.weights.beta * F.softplus(-logits.float()).mean())

    def iteration(self, batch: Any) -> None:
        """All steps of a batch."""
        x, references = 2 * batch.source - 1, (2 * batch.reference - 1, 2 * batch.second_reference - 1)
        domain, target = batch.source_domain, batch.target_domain
        w = torch.randn(2, len(x), self.c.latent_dim, device=x.device)
        random, taken = (
            lambda i: self.c.mapping(w[i], target),
            lambda i: self.c.style_encoder(references[i], target),
        )
        with self.half:
            for styles in (random, taken):
                with torch.no_grad():
                    made = self.decoded(self.coded(x, 0)[0], styles(0), 0)
                self.discriminate(0, x, domain, made, target)
            if self.unified:
                with torch.no_grad():
                    made = self.decoded(self.coded(x, 1)[0], None, 1)
                self.discriminate(1, x, domain, made, domain)
            self.discriminators.requires_grad_(False)
            self.translate(x, domain, target, random, True)
            for parameter in self.styling:
                parameter.requires_grad_(False).grad = None
            if self.unified:
                self.autoencode(x, domain)
            self.translate(x, domain, target, taken, False)
            for parameter in self.styling:
                parameter.requires_grad_(True)
            self.discriminators.requires_grad_(True)
            self.step(self.auxiliary, self.c.auxiliary_loss())
        with torch.no_grad():
            get_ema_multi_avg_fn(0.999)(list(self.average.parameters()), list(self.c.parameters()), 0)


def plain_iterations(
    codec: I2ICodec, batches: Iterator[Any], config: DictConfig, device: torch.device
) -> Iterator[None]:
    """Yields after each iteration."""
    loop = TranslationLoop(codec, config, device)
    for batch in batches:
        parts: Any = [part.to(device, non_blocking=True) for part in batch]
        loop.iteration(Translation(*parts))
        yield

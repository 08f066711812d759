"""The steps of an iteration of `tasks/translation.py`: which parameters each moves, by which loss, on parts of a batch.

Images are in [-1, 1] here, as the networks take them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, distributed, nn

from nic_lightning.codecs.base import OperatingPoint
from nic_lightning.codecs.translation import AUTOENCODE, TRANSLATE, I2ICodec
from nic_lightning.data.domains import Translation
from nic_lightning.layers.precision import without_autocast
from nic_lightning.losses import translation as losses
from nic_lightning.tasks.base import QUANTILES

Terms = dict[str, Tensor]


@dataclass(frozen=True)
class Weights:
    """Of the terms of the losses, as `TranslationTask` describes them; that of the diversity changes."""

    lambda_t: float
    lambda_a: float
    autoencoding_rate: float
    beta: float
    style: float
    cycle: float
    r1: float


class Portion(NamedTuple):
    """What a step needs of some images of a batch."""

    x: Tensor
    domain: Tensor
    references: tuple[Tensor, Tensor]
    random: tuple[Tensor, Tensor]
    """Two vectors for the mapping network."""
    target: Tensor


@dataclass(frozen=True)
class Step:
    """One optimiser step."""

    name: str
    trained: Sequence[nn.Module]
    loss: Callable[[Portion], tuple[Tensor, Terms]]
    """Of a portion: what is minimised, and its terms by name."""
    trains_discriminator: bool = False


def portions(batch: Translation, latent_dim: int, count: int) -> list[Portion]:
    """A batch in at most `count` parts. Random vectors are drawn for all of it, so that they do not depend on that."""
    size, device = len(batch.source), batch.source.device
    vectors = torch.randn(2, size, latent_dim, device=device)
    images = [2 * image - 1 for image in (batch.source, batch.reference, batch.second_reference)]
    wholes = [*images, *vectors, batch.source_domain, batch.target_domain]
    return [
        Portion(x, domain, (first, second), (w, v), target)
        for x, first, second, w, v, domain, target in zip(*(whole.chunk(count) for whole in wholes), strict=True)
    ]


def take(
    step: Step, parts: Sequence[Portion], optimizer: torch.optim.Optimizer, everything: Sequence[nn.Parameter]
) -> Terms:
    """Compute the step's loss part by part and move its parameters, of `everything`; its terms, means over the batch.

    Ranks average their gradients here, and only of what the step moves.
    """
    size = sum(len(part.x) for part in parts)
    logged: Terms = {}
    with _only(step.trained, everything) as parameters:
        for part in parts:
            torch.clear_autocast_cache()  # it holds weights from before the last step, and ones without gradient
            loss, terms = step.loss(part)
            share = len(part.x) / size
            (share * loss).backward()
            for name, value in terms.items():
                logged[name] = logged.get(name, 0.0) + share * value.detach()
        _average_over_ranks([p for p in parameters if p.grad is not None])
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)  # room for the next step; and what has no gradient is not moved
    return logged


@contextmanager
def _only(networks: Sequence[nn.Module], everything: Sequence[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    """Gradients for these networks alone, without the quantiles."""
    chosen = [p for network in networks for n, p in network.named_parameters() if not n.endswith(QUANTILES)]
    for parameter in everything:
        parameter.requires_grad_(False)
    for parameter in chosen:
        parameter.requires_grad_(True)
    try:
        yield chosen
    finally:
        for parameter in everything:
            parameter.requires_grad_(True)


def _average_over_ranks(parameters: list[nn.Parameter]) -> None:
    if not (distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1):
        return
    gradients: list[Tensor] = [p.grad for p in parameters]  # pyright: ignore[reportAssignmentType]
    flat = torch.cat([g.flatten() for g in gradients])
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))


class TranslationSteps:
    """Builds the steps for a network and its discriminators, "translate" and, for a unified codec, "autoencode"."""

    def __init__(self, network: I2ICodec, discriminators: nn.ModuleDict, weights: Weights) -> None:
        self.network, self.discriminators, self.weights = network, discriminators, weights
        self.coder: list[nn.Module] = [network.encoder, network.decoder, network.h_a, network.h_s, network.entropy_z]

    def discriminate(self, source: str) -> Step:
        """A discriminator learns real from made: from "latent", from "reference", or in "autoencode"."""
        discriminator = self.discriminators["autoencode" if source == "autoencode" else "translate"]

        def loss(part: Portion) -> tuple[Tensor, Terms]:
            with torch.no_grad():
                made, domain = self._made(part, source)
            logits = discriminator(made, domain)
            real, penalty = self._judge(discriminator, part.x, part.domain)
            total = losses.adversarial(real, True) + losses.adversarial(logits, False) + self.weights.r1 * penalty
            return total, {f"train/discriminator@{source}": total, f"train/r1@{source}": penalty}

        return Step(source, [discriminator], loss, trains_discriminator=True)

    def _judge(self, discriminator: nn.Module, x: Tensor, domain: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of real images, and the gradient penalty; both in float32."""
        with without_autocast(x.device.type):
            x = x.detach().requires_grad_(self.weights.r1 > 0)
            logits = discriminator(x, domain)
            return logits, losses.r1(logits, x) if self.weights.r1 > 0 else logits.new_zeros(())

    def _made(self, part: Portion, source: str) -> tuple[Tensor, Tensor]:
        if source == "autoencode":
            return self._decoded(self._coded(part.x, AUTOENCODE)[0], None, AUTOENCODE), part.domain
        style = self._style(part, source, 0)
        return self._decoded(self._coded(part.x, TRANSLATE)[0], style, TRANSLATE), part.target

    def translate(self, source: str, diversity: float) -> Step:
        """Generator's side, with styles of "latent" vectors or of "reference" images; E^s and M learn from the first.

        The cycle's second pass through the bottleneck is quantised as the first; only the first one's rate counts.
        """
        latent = source == "latent"
        styling: list[nn.Module] = [self.network.mapping, self.network.style_encoder]

        def loss(part: Portion) -> tuple[Tensor, Terms]:
            y_hat, likelihoods = self._coded(part.x, TRANSLATE)
            with torch.set_grad_enabled(latent):
                style = self._style(part, source, 0)
            made = self._decoded(y_hat, style, TRANSLATE)
            with torch.no_grad():
                other = self._decoded(y_hat, self._style(part, source, 1), TRANSLATE)
            own = self.network.style_encoder(part.x, part.domain)
            back = self._decoded(self._coded(made, TRANSLATE)[0], own, TRANSLATE)
            logits = self.discriminators["translate"](made, part.target)
            found = self.network.style_encoder(made, part.target)
            terms = {
                "adversarial": (1.0, losses.adversarial(logits, True)),
                "style": (self.weights.style, losses.style_reconstruction(found, style)),
                "diversity": (-diversity, losses.diversity(made, other)),
                "cycle": (self.weights.cycle, losses.cycle(part.x, back)),
                "bpp": (self.weights.lambda_t, losses.rate(likelihoods, part.x)),
            }
            named = {f"train/{n}@{'translate' if n == 'bpp' else source}": value for n, (_, value) in terms.items()}
            total = _total(list(terms.values()))
            return total, {f"train/generator@{source}": total, **named}

        return Step(source, [*self.coder, *(styling if latent else [])], loss)

    def autoencode(self, warm_up: bool = False) -> Step:
        """Distortion, rate and a discriminator's opinion of reconstructions; in the warm-up, distortion alone."""
        weights = self.weights

        def loss(part: Portion) -> tuple[Tensor, Terms]:
            y_hat, likelihoods = self._coded(part.x, AUTOENCODE)
            decoded = self._decoded(y_hat, None, AUTOENCODE)
            error, bpp = losses.distortion(part.x, decoded), losses.rate(likelihoods, part.x)
            named = {"train/mse@autoencode": error / 4, "train/bpp@autoencode": bpp}  # of images in [0, 1]
            if warm_up:
                return error, {"train/generator@autoencode": error, **named}
            adversarial = error.new_zeros(())
            if weights.beta > 0:
                adversarial = losses.adversarial(self.discriminators["autoencode"](decoded, part.domain), True)
                named["train/adversarial@autoencode"] = adversarial
            rate = bpp if weights.autoencoding_rate else bpp.detach()
            total = losses.autoencoding(
                error, rate, adversarial, weights.lambda_a, weights.autoencoding_rate, weights.beta
            )
            return total, {"train/generator@autoencode": total, **named}

        return Step("autoencode", self.coder, loss)

    def _coded(self, x: Tensor, point: OperatingPoint) -> tuple[Tensor, Terms]:
        return self.network.likelihoods(self.network.encoder(x, float(point == AUTOENCODE)), point)

    def _decoded(self, y_hat: Tensor, style: Tensor | None, point: OperatingPoint) -> Tensor:
        if style is None:
            style = y_hat.new_zeros(len(y_hat), self.network.style_dim)
        return self.network.decoder(y_hat, style, float(point == AUTOENCODE))

    def _style(self, part: Portion, source: str, which: int) -> Tensor:
        if source == "latent":
            return self.network.mapping(part.random[which], part.target)
        return self.network.style_encoder(part.references[which], part.target)


def _total(terms: list[tuple[float, Tensor]]) -> Tensor:
    """Weighted sum; a term of weight 0 gives no gradient, not even one of 0, which an optimiser would act on."""
    return torch.stack([weight * value for weight, value in terms if weight]).sum()

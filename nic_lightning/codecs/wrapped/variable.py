"""One model for all rates: bmshj2018-hyperprior-vbr and mbt2018-mean-vbr."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from nic_lightning.codecs.base import CodecOutput, OperatingPoint
from nic_lightning.codecs.hyperprior_base import HyperpriorCodec, Pass
from nic_lightning.codecs.variable_rate import LambdaLadder
from nic_lightning.codecs.wrapped.archs import LAMBDAS
from nic_lightning.codecs.wrapped.codec import CompressaiCodec
from nic_lightning.codecs.wrapped.side_steps import LEAST, side_step, side_steps
from nic_lightning.entropy.factorised import BetweenSteps, EntropyBottleneck, FactorisedCoding
from nic_lightning.entropy.gaussian import GaussianConditional
from nic_lightning.entropy.model import LowerBound
from nic_lightning.layers.precision import without_autocast

_PART = 2**16
"""Latents whose offsets are worked out at a time."""


class Variable(CompressaiCodec, LambdaLadder, HyperpriorCodec):
    """Latents multiplied by a gain before they are rounded, and the means and scales of their tables with them.

        y ─ − means ─ × gain ─ Q ─ symbols ─ ± offset(scale × gain, gain) ─ ÷ gain ─ + means ─ y_hat

    Kamisli, Racapé and Choi 2024. A small network moves what is not 0 away from the middle of its bin. There is a gain
    for each of eight lambdas; in between, the logarithm of the gain is interpolated over that of lambda.
    """

    gain: Tensor

    def take(self, model: Any, point: OperatingPoint | None) -> None:
        """Transforms, gains and the network of the offsets."""
        side = model.entropy_bottleneck.channels
        HyperpriorCodec.__init__(
            self, model.g_a, model.g_s, model.h_a, model.h_s, side, OperatingPoint(0, "all"), self.context_of(model)
        )
        self.set_ladder([round(lmbda * 255**2, 4) for lmbda in LAMBDAS])
        self.register_buffer("gain", model.Gain.detach().clone())  # CompressAI does not train it either
        self.offsets = model.QuantABCD

    def context_of(self, model: Any) -> nn.Module | None:
        """The context model, if any."""
        return None

    def gain_at(self, point: OperatingPoint) -> Tensor:
        """Gain of a point, a scalar in float64 on the CPU, exactly a float32."""
        gains = self.gain.detach().double().cpu().abs()
        i, t = self.neighbours(point)
        if t == 0:
            return gains[i]
        return torch.exp((1 - t) * gains[i].log() + t * gains[i + 1].log()).float().double()

    def passes(self, features: Tensor, known: Tensor, size: tuple[int, int], point: OperatingPoint) -> Iterator[Pass]:
        """Those of the hyperprior, for latents at the point's gain."""
        gain = self.gain_at(point)
        for part in super().passes(features, known, size, point):
            yield replace(part, scales=part.scales * gain)

    def symbols(self, y: Tensor, part: Pass, point: OperatingPoint) -> Tensor:
        """Rounded multiples of 1 / gain around the means."""
        return self.entropy_y.quantise((y - part.means.to(y)) * self.gain_at(point).to(y))

    def restored(self, symbols: Tensor, part: Pass, point: OperatingPoint) -> Tensor:
        """Latents of symbols: what is not 0, moved by its offset."""
        gain, moved = self.gain_at(point), symbols.double()
        there = symbols != 0
        found = zip(moved[there].split(_PART), part.scales[there].split(_PART), strict=True)
        parts = [q + q.sign() * self._exact_offset(scale, gain) for q, scale in found]
        moved[there] = torch.cat(parts) if parts else moved.new_empty(0)
        return (moved / gain + part.means).float()

    def _exact_offset(self, scales: Tensor, gain: Tensor) -> Tensor:
        weights = {name: value.detach().double().cpu() for name, value in self.offsets.named_parameters()}
        with without_autocast("cpu"):  # on CPUs it makes bfloat16 of float64, too
            return torch.func.functional_call(self.offsets, weights, (_with_gain(scales, gain),))[..., 0].neg()

    def training_outputs(self, x: Tensor) -> Iterator[tuple[OperatingPoint, Tensor, CodecOutput]]:
        """Each point with its share of the crops (N, 3, H, W); all crops where N is no multiple of their number."""
        count = len(self.operating_points)
        shares = x.chunk(count) if len(x) % count == 0 else [x] * count
        for point, crops in zip(self.operating_points, shares, strict=True):
            yield point, crops, self(crops, point)

    def noisy_likelihood(self, y: Tensor, features: Tensor, point: OperatingPoint) -> tuple[Tensor, Tensor]:
        """Latents as the synthesis will see them, gradients passed straight through, and noisy ones' likelihood."""
        gain = self.gain_at(point).to(y)
        noise = torch.empty_like(y).uniform_(-0.5, 0.5)
        scales, means = self.training_gaussians(features, y + noise / gain, gain)
        scales, centred = scales * gain, (y - means) * gain
        size = centred.abs()
        rounded = size + (torch.round(size) - size).detach()
        offset = -self.offsets(_with_gain(scales, gain))[..., 0]
        moved = rounded + torch.where(rounded > 0.5, offset, 0.0)
        y_hat = centred.detach().sign() * moved / gain + means
        return y_hat, self.entropy_y.likelihood(centred + noise, scales, torch.zeros_like(scales))

    def training_gaussians(self, features: Tensor, noisy: Tensor, gain: Tensor) -> tuple[Tensor, Tensor]:
        """Scales and means of latents like `noisy`."""
        scales, means = self.gaussians(features, noisy)
        return scales, torch.zeros_like(noisy) if means is None else means


def _with_gain(scales: Tensor, gain: Tensor) -> Tensor:
    """Inputs of the network of the offsets, (..., 2)."""
    scales = scales.clamp_min(GaussianConditional.SCALE_MIN)
    return torch.stack([scales, gain.to(scales).expand(scales.shape)], -1)


class VariableHyperprior(Variable):
    """Without context; with `side_steps` the bin width of z depends on the gain, too, by a small network."""

    def take(self, model: Any, point: OperatingPoint | None) -> None:
        """As above, and the network of the bin width."""
        super().take(model, point)
        self.sees_signs = type(model).__name__.startswith("Mean")
        self._between: tuple[object, FactorisedCoding | None] = (None, None)
        if hasattr(model, "gayn2zqstep"):
            self.side_step, self.least_side_step = model.gayn2zqstep, LowerBound(LEAST)
            side = model.entropy_bottleneck.channels
            self.entropy_z = EntropyBottleneck(side, filters=(3, 3, 3, 3), steps=(1.0,) * len(self.lambdas))

    def hyper_analysis(self, y: Tensor) -> Tensor:
        """Side information z of latents; scales alone do not depend on signs."""
        return self.h_a(y if self.sees_signs else y.abs())

    def update_tables(self) -> None:
        """Tables of z for the bin width of each point."""
        if self.side_steps:
            self.entropy_z.steps = side_steps(self.state_dict())
        super().update_tables()

    def side_model(self, point: OperatingPoint) -> tuple[FactorisedCoding, Any]:
        """Entropy model of z at a point, with stored tables or between two that have them, and its bin width."""
        if not self.side_steps:
            return super().side_model(point)
        state, gain = dict(self.named_parameters()), self.gain_at(point)
        if self.training:
            return self.entropy_z, side_step(state, gain.to(self.gain))
        i, t = self.neighbours(point)
        steps = side_steps(state, torch.cat([self.gain.double().cpu(), gain.view(1)]))
        self.entropy_z.steps = steps[:-1]
        if t == 0:
            return self.entropy_z, steps[i]
        key = (i, steps, self.fingerprint())
        if self._between[0] != key:  # kept for the next image at this point
            self._between = (key, BetweenSteps(self.entropy_z, i, steps[-1]))
        assert self._between[1] is not None
        return self._between[1], steps[-1]

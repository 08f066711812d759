"""Base of codecs with one lambda, two plain transforms and a factorised entropy model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from nic_lightning.codecs.base import OperatingPoint
from nic_lightning.codecs.learned import LearnedCodec
from nic_lightning.entropy.factorised import EntropyBottleneck


class PlainTransforms(LearnedCodec):
    """One operating point, and transforms that take nothing else than their input.

    A method sets `g_a`, `g_s` and `_points`, in its constructor.
    """

    g_a: Any
    g_s: Any
    _points: tuple[OperatingPoint, ...]

    @property
    def operating_points(self) -> Sequence[OperatingPoint]:
        """The one lambda."""
        return self._points

    def analysis(self, x: Tensor, point: OperatingPoint) -> Tensor:
        """Latents (N, M, H/16, W/16) of padded images."""
        return self.g_a(x)

    def synthesis(self, y_hat: Tensor, point: OperatingPoint) -> Tensor:
        """Images of latents."""
        return self.g_s(y_hat)


class FactorisedCodec(PlainTransforms):
    """y has one density for each channel: `entropy_y`, which a method sets, too."""

    entropy_y: EntropyBottleneck  # pyright: ignore[reportIncompatibleVariableOverride]

    def likelihoods(self, y: Tensor, point: OperatingPoint) -> tuple[Tensor, dict[str, Tensor]]:
        """Noisy or rounded latents and their likelihoods."""
        y_hat, likelihood = self.entropy_y(y)
        return y_hat, {"y": likelihood}

    def encode_latents(self, y: Tensor, point: OperatingPoint) -> tuple[list[bytes], dict[str, Tensor]]:
        """One string."""
        string, y_hat = self.entropy_y.encode(y)
        return [string], {"y": y_hat}

    def decode_image_latents(
        self, strings: Sequence[bytes], size: tuple[int, int], point: OperatingPoint
    ) -> dict[str, Tensor]:
        """Latents of the one string."""
        self.expect_strings(strings, 1)
        return {"y": self.entropy_y.decode(strings[0], size)}

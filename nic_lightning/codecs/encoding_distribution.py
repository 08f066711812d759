"""Learned compression of encoding distributions around a trained codec (Ulhaq and Bajic 2024)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from nic_lightning.codecs.base import OperatingPoint
from nic_lightning.codecs.learned import LearnedCodec
from nic_lightning.codecs.loading import build_codec, misfit
from nic_lightning.codecs.receiver import Decoding
from nic_lightning.entropy.adapted import AdaptedBottleneck
from nic_lightning.entropy.factorised import EntropyBottleneck
from nic_lightning.entropy.side_information import TableRates, side_information
from nic_lightning.errors import UserError


class EncodingDistribution(LearnedCodec):
    """A trained codec whose factorised tables are adapted to each image, and travel in its file.

        x ─ g_a ─ y ─┬─ Q ─ y_hat ─ g_s ─ x_hat             g_a, g_s and all else: the wrapped codec's, frozen
                     │      └─ p_hat ─ bits
                     └─ histogram ─ p ─ h_a ─ q ─ Q ─ h_s ─ p_hat
                                              └─ EB_q ─ bits

    ICIP 2024, and chapter 3 of M. Ulhaq's thesis. Each factorised entropy model of `base`, of y or z and at every
    operating point, becomes an `AdaptedBottleneck`; images decode to what they decode to without. Between two trained
    lambdas tables are interpolated, and stay static. A run begins with a trained codec (`init_from=RUN`, from which
    `base` is taken), and trains h_a, h_s and the entropy model of q (`task=distribution`).

    Beyond the paper: the tables are integers that every machine derives alike; an image takes one bit more than without
    at most; one model serves all sizes of images.

    Args:
        base: config of the codec that is wrapped.
        bins: of a distribution, a multiple of 8; symbols outside keep their static logits.
        hidden, side, kernel, groups: of the networks (`entropy/distribution.py`); 32 and 16 channels for 192 latent
            channels, 64 and 32 for 320, in the paper.
    """

    nested: ClassVar[tuple[str, ...]] = ("base",)

    def __init__(
        self,
        base: Mapping[str, Any],
        bins: int = 256,
        hidden: int = 32,
        side: int = 16,
        kernel: int = 15,
        groups: int = 8,
    ):
        super().__init__()
        self.base = build_codec(base)
        _require_adaptable(self.base)
        options = {"bins": bins, "hidden": hidden, "side": side, "kernel": kernel, "groups": groups}
        self.base.requires_grad_(False)
        for parent in list(self.base.modules()):
            for name, child in list(parent.named_children()):
                if isinstance(child, EntropyBottleneck):
                    setattr(parent, name, AdaptedBottleneck(child, **options))
        self.stride, self.downsampling = self.base.stride, self.base.downsampling
        self.lambda_range, self.receiver_options = self.base.lambda_range, self.base.receiver_options  # pyright: ignore
        # Files carry the fingerprint of the whole, also where the wrapped codec reads them (`decoding`).
        self.base.fingerprint = self.fingerprint

    def adopt_codec(self, trained: LearnedCodec) -> None:
        """Take the weights and tables of a trained codec of the same config as `base`; UserError for another.

        A codec that wraps such a one is taken over as a whole, networks included.
        """
        if isinstance(trained, EncodingDistribution):
            self._take(self, trained.state_dict())
            return
        theirs = dict(trained.named_modules())
        for name, own in self.bottlenecks.items():
            static = theirs.get(name)
            shape = (own.channels, own.steps)
            if not isinstance(static, EntropyBottleneck) or (static.channels, static.steps) != shape:
                raise UserError(
                    f"init_from holds tables of another codec: it has no entropy model {name} of {own.channels} "
                    "channels and the same steps; codec.base has to be its config."
                )
            own.take(static)
        inside = tuple(f"{name}." for name in self.bottlenecks)
        self._take(self.base, {k: v for k, v in trained.state_dict().items() if not k.startswith(inside)}, inside)

    @staticmethod
    def _take(codec: LearnedCodec, state: Mapping[str, Tensor], but: tuple[str, ...] = ()) -> None:
        """Load a state that leaves out what begins with `but`."""
        own = {k: v for k, v in codec.state_dict().items() if not (but and k.startswith(but))}
        if reason := misfit(own, state):
            raise UserError(f"init_from does not fit this codec: {reason}; codec.base has to be its config.")
        codec.load_state_dict(state, strict=not but)

    @property
    def bottlenecks(self) -> dict[str, AdaptedBottleneck]:
        """The adapted entropy models, by their names in the wrapped codec."""
        return {name: m for name, m in self.base.named_modules() if isinstance(m, AdaptedBottleneck)}

    def models_to_update(self) -> list[nn.Module]:
        """Adapted entropy models, which keep their static tables; another one only where it has no tables at all."""
        adapted = list(self.bottlenecks.values())
        inside = {module for model in adapted for module in model.modules()}
        others = [m for m in self.entropy_models() if m not in inside]
        return [*adapted, *(m for m in others if not m._cdf_length.numel())]  # pyright: ignore

    def likelihoods(self, y: Tensor, point: OperatingPoint) -> tuple[Tensor, dict[str, Tensor]]:
        """The wrapped codec's, and those of "q" (N, side, bins / 8) and "flag" where tables are adapted."""
        with side_information() as notes:
            y_hat, likelihoods = self.base.likelihoods(y, point)
        if notes:
            parts = {"q": [side.q for side in notes], "flag": [side.flag for side in notes]}
            likelihoods = likelihoods | {name: torch.cat(tensors, dim=1) for name, tensors in parts.items()}
        return y_hat, likelihoods

    @torch.no_grad()
    def table_rates(self, x: Tensor, point: OperatingPoint) -> list[tuple[TableRates, ...]]:
        """What static, adapted and ideal tables take by channel: for each adapted latent, one entry an image of x.

        Images (N, 3, H, W) in [0, 1]. In evaluation mode only; empty at a point between two trained lambdas.
        """
        with side_information() as notes:
            self.base.likelihoods(self.analysis(self.pad(x), point), point)
        return [side.rates for side in notes]

    # What follows is the wrapped codec's.

    @property
    def operating_points(self) -> Sequence[OperatingPoint]:
        """Those of the wrapped codec."""
        return self.base.operating_points

    @property
    def candidate_points(self) -> Sequence[OperatingPoint]:
        """Those of the wrapped codec."""
        return self.base.candidate_points

    def analysis(self, x: Tensor, point: OperatingPoint) -> Tensor:
        """Latents of padded images."""
        return self.base.analysis(x, point)

    def synthesis(self, y_hat: Tensor, point: OperatingPoint) -> Tensor:
        """Images of latents."""
        return self.base.synthesis(y_hat, point)

    def encode_latents(self, y: Tensor, point: OperatingPoint) -> tuple[list[bytes], dict[str, Tensor]]:
        """As many strings as without; those of adapted latents begin with their tables."""
        return self.base.encode_latents(y, point)

    def decode_image_latents(
        self, strings: Sequence[bytes], size: tuple[int, int], point: OperatingPoint
    ) -> dict[str, Tensor]:
        """Inverse of `encode_latents`."""
        return self.base.decode_image_latents(strings, size, point)

    def decoding(self, **wishes: Any) -> Decoding:
        """What the wrapped codec's receiver may choose. See `LearnedCodec`."""
        return self.base.decoding(**wishes) if self.receiver_options else super().decoding(**wishes)

    def point_at(self, lmbda: float) -> OperatingPoint:
        """The point of a lambda, trained or between two trained ones."""
        return self.base.point_at(lmbda)

    def point_to_bytes(self, point: OperatingPoint) -> bytes:
        """As the wrapped codec writes it."""
        return self.base.point_to_bytes(point)

    def point_from_bytes(self, data: bytes) -> OperatingPoint:
        """Inverse of `point_to_bytes`."""
        return self.base.point_from_bytes(data)


def _require_adaptable(codec: LearnedCodec) -> None:
    """Raise UserError for a codec that has no tables to adapt, or other outputs than its input."""
    if isinstance(codec, EncodingDistribution):
        raise UserError("codec.base adapts its tables already: give init_from that run, or codec.base without.")
    if codec.translates or not codec.makes_files or not all(map(codec.reconstructs, codec.operating_points)):
        raise UserError(f"codec.base is {codec.name}, which translates; tables are adapted of codecs that reconstruct.")
    if not any(isinstance(module, EntropyBottleneck) for module in codec.modules()):
        raise UserError(f"codec.base is {codec.name}, which has no factorised entropy model whose tables to adapt.")

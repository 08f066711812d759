"""Point clouds compressed for classification (Ulhaq and Bajić, MMSP 2023; chapter 4 of M. Ulhaq's thesis)."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nic_lightning import bitstream
from nic_lightning.codecs.base import OperatingPoint
from nic_lightning.codecs.c_header import Header, about_codec, c_header
from nic_lightning.codecs.clouds import CloudCodec
from nic_lightning.codecs.files import State, settled_state
from nic_lightning.codecs.point_symbols import PointSymbols, point_symbols
from nic_lightning.entropy.factorised import EntropyBottleneck
from nic_lightning.errors import UserError, choices
from nic_lightning.layers.points import Gain, point_layers

GAIN = 10.0
"""What gains are multiplied with: features of about 1 become latents of some bins."""
SIZES: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "full": ((3, 64, 64, 64, 128, 1024), (1, 1, 1, 1, 1)),
    "lite": ((3, 8, 8, 16, 16, 32), (1, 1, 1, 2, 4)),
    "micro": ((3, 16), (1,)),
}
"""Channels of the encoder's layers, and groups of each convolution."""
_SHOWN = {"full": (256, 256, 512), "lite": (64, 64, 256), "micro": (64, 64, 256)}
"""Hidden channels of the network that makes points of latents."""
SIDES = {"both": (), "sender": ("classifier", "g_s"), "receiver": ("g_a",)}
"""Networks that a side lacks; medians and tables are on both."""
_MOST_POINTS = 1 << 16
_MOST_CLASSES = 1 << 16


class PointEncoder(nn.Module):
    """g_a: the same small network for each point, then the largest value of each channel: (N, P, 3) -> (N, C, 1)."""

    def __init__(self, channels: Sequence[int], groups: Sequence[int]):
        super().__init__()
        layers: list[nn.Module] = []
        for (fan_in, fan_out), own, following in zip(pairwise(channels), groups, (*groups[1:], 1), strict=True):
            both = own > 1 and following > 1  # else groups would never exchange anything
            layers += point_layers(fan_in, fan_out, own, interleave=own if both else 1)
        self.layers, self.gain = nn.Sequential(*layers), Gain(channels[-1], GAIN)

    def forward(self, x: Tensor) -> Tensor:
        """Latents of clouds; the order of points has no influence."""
        return self.gain(self.layers(x.transpose(1, 2)).amax(dim=2, keepdim=True))


class Classifier(nn.Module):
    """Logits (N, K) of latents (N, C, 1). The only nonlinearity follows the first layer, as in the authors' code."""

    def __init__(self, latents: int, classes: int):
        super().__init__()
        self.layers = nn.Sequential(
            Gain(latents, GAIN), *point_layers(latents, 512), nn.Conv1d(512, 256, 1), nn.Dropout(0.3),
            nn.Conv1d(256, classes, 1),
        )  # fmt: skip

    def forward(self, y_hat: Tensor) -> Tensor:
        """Logits of quantised or noisy latents."""
        return self.layers(y_hat)[:, :, 0]


class Reconstruction(nn.Module):
    """Points (N, P, 3) of latents (N, C, 1): a look at what the latents know of the shape."""

    def __init__(self, latents: int, hidden: Sequence[int], points: int):
        super().__init__()
        layers: list[nn.Module] = [Gain(latents, 1 / GAIN)]
        for fan_in, fan_out in pairwise((latents, *hidden)):
            layers += [nn.Conv1d(fan_in, fan_out, 1), nn.ReLU()]
        self.layers, self.points = nn.Sequential(*layers, nn.Conv1d(hidden[-1], 3 * points, 1)), points

    def forward(self, y_hat: Tensor) -> Tensor:
        """Clouds of latents."""
        return self.layers(y_hat).reshape(-1, self.points, 3)


class PointCloudCodec(CloudCodec):
    """Tells the class of a cloud from a few bits; one lambda, one model.

        x ─ (conv 1 ─ BN ─ ReLU) ... each point alone ─ max over points ─ gain ─ y ─ Q ─ y_hat ─┐
                                                                               └─ EB ─ bits     │
        log p(class) ─ conv ─ dropout ─ conv ─ ReLU ─ BN ─ conv ─ gain ─────────────────────────┤
        points ─ conv ─ ReLU ─ ... ─ gain (optional; no gradient goes back into y_hat) ─────────┘

    Ulhaq and Bajić, "Learned point cloud compression for classification", MMSP 2023. Analysis takes 147,648 (full), 472
    (lite) or 48 (micro) multiply-accumulates a point, so a sensor can do it. Files are made by the analysis in float64:
    the order of the points, and how many a batch has, would else show in the last digits, and so in a rounded latent.

    Symbols come from `codecs/point_symbols.py` where nothing can be trained and all lies on the CPU: the same, sooner.

    Args:
        size: "full", "lite" or "micro".
        classes: names of the classes in the order of their labels, or how many they are.
        lmbda: weight of the cross entropy in nats against bits a cloud.
        points: points of a training cloud, and of a reconstruction; larger clouds are encoded by a subset of so many.
        reconstruct: train a network on the latents that makes points of them, too.
        side: "both", or whose networks there are: "sender" or "receiver".
    """

    whole: Tensor | None
    """Of a half: fingerprint of the whole codec, 8 bytes."""
    _folded: tuple[State | None, PointSymbols | None] = (None, None)

    def __init__(
        self,
        size: str = "micro",
        classes: int | Sequence[str] = 40,
        lmbda: float = 160.0,
        points: int = 1024,
        reconstruct: bool = False,
        side: str = "both",
    ):
        if side not in SIDES:
            raise UserError(f"codec.side is {side!r}; {choices(str(side), SIDES)}.")
        if size not in SIZES:
            raise UserError(f"There is no size {size!r} of a point-cloud codec; {choices(str(size), SIZES)}.")
        count = classes if isinstance(classes, int) else len(classes)
        if not 2 <= count <= _MOST_CLASSES or not 1 <= points <= _MOST_POINTS:
            raise UserError(
                f"{count} classes and {points} points: give 2 or more classes, and 1 to {_MOST_POINTS} points."
            )
        super().__init__()
        channels, groups = SIZES[size]
        self.size, self.points = size, points
        self.classes = () if isinstance(classes, int) else tuple(str(name) for name in classes)
        self.g_a, self.classifier = PointEncoder(channels, groups), Classifier(channels[-1], count)
        self.g_s = Reconstruction(channels[-1], _SHOWN[size], points) if reconstruct else None
        self.entropy_y = EntropyBottleneck(channels[-1], filters=(3, 3, 3, 3))
        self.register_buffer("whole", None)
        if side != "both":
            self._drop(side, bytes(bitstream.FINGERPRINT_BYTES))
        self._points = (OperatingPoint(0, f"{lmbda:g}", lmbda=float(lmbda)),)

    @property
    def operating_points(self) -> Sequence[OperatingPoint]:
        """The one lambda."""
        return self._points

    def analysis(self, x: Tensor, point: OperatingPoint) -> Tensor:
        """Latents (N, C, 1, 1) of clouds (N, P, 3); outside training in float64, rounded to float32 at the end."""
        self._require("g_a", "encode: this is the receiver's half")
        if self.training:
            return self.g_a(x)[..., None]
        state = {**dict(self.g_a.named_parameters()), **dict(self.g_a.named_buffers())}
        precise = {name: t.detach().double() if t.is_floating_point() else t for name, t in state.items()}
        y: Tensor = torch.func.functional_call(self.g_a, precise, (x.double(),))
        return y.float()[..., None]

    def symbols(
        self, clouds: Iterable[Tensor], point: OperatingPoint, state: State | None = None
    ) -> Iterator[np.ndarray]:
        """Symbols by compiled code, where it is sure of them; else by the analysis, which would give the same."""
        self._require("g_a", "encode: this is the receiver's half")
        fast = self._fast_symbols(state or settled_state(self))
        for cloud in clouds:
            found = None
            if fast is not None and cloud.dtype == torch.float32 and cloud.device.type == "cpu":
                found = fast.of(np.ascontiguousarray(self.pad(cloud.detach()).numpy()[0]))
            yield next(super().symbols([cloud], point)) if found is None else found

    def _fast_symbols(self, state: State | None) -> PointSymbols | None:
        """The compiled encoder of the weights as they are now; None where they are not settled, or none it knows."""
        if state is None or state.training or type(self).analysis is not PointCloudCodec.analysis:
            return None
        if not state.equals(self._folded[0]):
            self._folded = state, point_symbols(self.g_a.layers, self.g_a.gain, self.entropy_y.medians)
        return self._folded[1]

    def require_onnx(self) -> None:
        """There are files of both sides, see `codecs/cloud_onnx.py`."""

    def c_header(self) -> Header:
        """The encoder for a sensor; UserError for one of too many weights."""
        self._require("g_a", "encode: this is the receiver's half")
        head = self.head(self.operating_points[0])
        about = about_codec(self.name, self.size, self.points, self.fingerprint())
        return c_header(self.g_a.layers, self.g_a.gain, self.entropy_y.medians, self.entropy_y.tables, head, about)

    def synthesis(self, y_hat: Tensor, point: OperatingPoint) -> Tensor:
        """Log probabilities of the classes (N, K) of latents (N, C, 1, 1)."""
        self._require("classifier", "decide: this is the sender's half")
        return F.log_softmax(self.classifier(y_hat[..., 0]).float(), dim=1)

    def reconstruction(self, y_hat: Tensor) -> Tensor | None:
        """Points (N, P, 3) of latents, which get no gradient from them."""
        return None if self.g_s is None else self.g_s(y_hat.detach()[..., 0]).float()

    # Halves.

    def half_of(self, side: str) -> Self:
        """A copy with the networks of one side, "sender" or "receiver"; UserError where they are not all here."""
        if self.side not in ("both", side):
            raise UserError(f"This is the {self.side}'s half of {self.name}: it holds nothing for the {side}.")
        half = copy.deepcopy(self)
        half._drop(side, self.fingerprint())
        return half

    def _drop(self, side: str, fingerprint: bytes) -> None:
        for name in SIDES[side]:
            setattr(self, name, None)
        self.whole = torch.tensor(list(fingerprint), dtype=torch.uint8)

    @property
    def side(self) -> str:
        """Whose networks there are."""
        return next((side for side, lost in SIDES.items() if lost and getattr(self, lost[0]) is None), "both")

    def config_of(self, whole: Mapping[str, Any]) -> dict[str, Any]:
        """The same, with the side."""
        return {**whole, "side": self.side}

    def decodes_alone(self, point: OperatingPoint) -> bool:
        """Not where the classifier is elsewhere."""
        return self.side != "sender"

    def _fingerprint_of(self, state: State | None) -> bytes:
        """That of the whole codec, also of its halves."""
        return super()._fingerprint_of(state) if self.whole is None else bytes(self.whole.tolist())

    def _require(self, network: str, what: str) -> None:
        if getattr(self, network) is None:
            raise UserError(f"{self.name} cannot {what}.")

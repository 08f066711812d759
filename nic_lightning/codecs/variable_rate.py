"""What codecs with a ladder of trained lambdas share: one entropy model a rung, and every lambda in between."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from nic_lightning.codecs.base import OperatingPoint
from nic_lightning.codecs.learned import LearnedCodec
from nic_lightning.entropy.factorised import BetweenBottlenecks, EntropyBottleneck
from nic_lightning.errors import BitstreamError, UserError

_GRID = 4096
"""Positions between two neighbouring trained lambdas: 0.03 % of lambda apart on a ladder of factor 2."""
_CONTINUOUS = 255


class LambdaLadder(LearnedCodec):
    """A codec trained at several rising lambdas, usable at any lambda between the lowest and the highest.

    A point in between has a position p = i + t on the ladder, meaning lambda_i^(1-t) lambda_{i+1}^t. p travels in the
    file in two bytes on a grid of 1/4096.
    """

    def __init__(self, lambdas: Sequence[float]):
        super().__init__()
        self.set_ladder(lambdas)

    def set_ladder(self, lambdas: Sequence[float]) -> None:
        """The trained lambdas, 1 to 15 that rise; UserError for others."""
        self.lambdas = [float(value) for value in lambdas]
        rising = sorted({v for v in self.lambdas if 0 < v < math.inf}) == self.lambdas
        if not rising or not 1 <= len(self.lambdas) <= 15:
            raise UserError(f"codec.lambdas is {list(lambdas)}; give 1 to 15 positive numbers, rising.")
        self._points = tuple(OperatingPoint(i, f"{v:g}", lmbda=v) for i, v in enumerate(self.lambdas))
        self.lambda_range = (self.lambdas[0], self.lambdas[-1]) if len(self.lambdas) > 1 else None

    @property
    def operating_points(self) -> Sequence[OperatingPoint]:
        """One point a trained lambda."""
        return self._points

    def lowest_if_log(self, lambda_input: str) -> float | None:
        """The lowest lambda where modulating nets take log lambda, None where they take lambda itself."""
        if lambda_input not in ("linear", "log"):
            raise UserError(f"codec.lambda_input is {lambda_input!r}; it can be linear or log.")
        return self.lambdas[0] if lambda_input == "log" else None

    def point_at(self, lmbda: float) -> OperatingPoint:
        """The point of a lambda inside `lambda_range`, snapped to the grid that files can name."""
        low, high = self.lambda_range or (self.lambdas[0], self.lambdas[0])
        if not low <= lmbda <= high:
            raise UserError(f"lambda {lmbda:g} is outside this codec's range, {low:g} to {high:g}.")
        i = max(k for k, value in enumerate(self.lambdas) if value <= lmbda)
        if i == len(self.lambdas) - 1:
            return self._points[i]
        ratio = math.log(lmbda / self.lambdas[i]) / math.log(self.lambdas[i + 1] / self.lambdas[i])
        return self._point_on_grid(i * _GRID + round(ratio * _GRID))

    def _point_on_grid(self, place: int) -> OperatingPoint:
        i, steps = divmod(place, _GRID)
        if steps == 0:
            return self._points[i]
        t = steps / _GRID
        lmbda = self.lambdas[i] ** (1 - t) * self.lambdas[i + 1] ** t
        return OperatingPoint(-1, f"{lmbda:.5g}", lmbda=lmbda)

    def _place(self, point: OperatingPoint) -> int:
        if point.index >= 0:
            return point.index * _GRID
        assert point.lmbda is not None
        i = max(k for k, value in enumerate(self.lambdas) if value < point.lmbda)
        return i * _GRID + round(
            _GRID * math.log(point.lmbda / self.lambdas[i]) / math.log(self.lambdas[i + 1] / self.lambdas[i])
        )

    def neighbours(self, point: OperatingPoint) -> tuple[int, float]:
        """Index i of the trained point at or below, and the weight t of the one above it."""
        i, steps = divmod(self._place(point), _GRID)
        return i, steps / _GRID

    def point_to_bytes(self, point: OperatingPoint) -> bytes:
        """Index of a trained point, or a marker and the place on the grid."""
        if point.index >= 0:
            return super().point_to_bytes(point)
        return bytes([_CONTINUOUS]) + self._place(point).to_bytes(2, "little")

    def point_from_bytes(self, data: bytes) -> OperatingPoint:
        """Inverse of `point_to_bytes`."""
        if len(data) != 3 or data[0] != _CONTINUOUS:
            return super().point_from_bytes(data)
        place = int.from_bytes(data[1:], "little")
        if place > (len(self.lambdas) - 1) * _GRID or place % _GRID == 0:
            raise BitstreamError("The file names an operating point that this codec does not have.")
        return self._point_on_grid(place)


class VariableRateCodec(LambdaLadder):
    """A ladder with one entropy model a lambda.

    The released code keeps one entropy model a lambda and has no lambda in between; this is our own extension.
    Transforms are given a lambda in between directly (a modulation network is a continuous function of it). The entropy
    model is interpolated from its two neighbours (`BetweenBottlenecks`).
    """

    entropy_y: nn.ModuleList
    """One entropy model a lambda."""

    def __init__(self, lambdas: Sequence[float]):
        super().__init__(lambdas)
        self._between: tuple[object, BetweenBottlenecks | None] = (None, None)

    def bottleneck(self, models: nn.ModuleList, point: OperatingPoint) -> EntropyBottleneck | BetweenBottlenecks:
        """The factorised entropy model of a point: a trained one, or one between two."""
        if point.index >= 0:
            return models[point.index]  # pyright: ignore[reportReturnType]
        key = (id(models), point.lmbda, self.fingerprint())
        if self._between[0] != key:  # kept for the next image at this point
            i, t = self.neighbours(point)
            self._between = (key, BetweenBottlenecks(models[i], models[i + 1], t))  # pyright: ignore[reportArgumentType]
        assert self._between[1] is not None
        return self._between[1]

    def likelihoods(self, y: Tensor, point: OperatingPoint) -> tuple[Tensor, dict[str, Tensor]]:
        """Noisy or rounded latents and their likelihoods under the point's entropy model."""
        y_hat, likelihood = self.bottleneck(self.entropy_y, point)(y, training=self.training)
        return y_hat, {"y": likelihood}

    def encode_latents(self, y: Tensor, point: OperatingPoint) -> tuple[list[bytes], dict[str, Tensor]]:
        """One string."""
        string, y_hat = self.bottleneck(self.entropy_y, point).encode(y)
        return [string], {"y": y_hat}

    def decode_image_latents(
        self, strings: Sequence[bytes], size: tuple[int, int], point: OperatingPoint
    ) -> dict[str, Tensor]:
        """Latents of the one string."""
        self.expect_strings(strings, 1)
        return {"y": self.bottleneck(self.entropy_y, point).decode(strings[0], size)}

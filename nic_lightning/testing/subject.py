"""What checks are made of: the codec that is checked, expectations with their sentences, pictures."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from nic_lightning.codecs.base import OperatingPoint
from nic_lightning.codecs.learned import LearnedCodec, in_entropy_model
from nic_lightning.codecs.loading import trust
from nic_lightning.errors import RunError, UserError
from nic_lightning.media.base import DEFAULT, Medium, medium_of
from nic_lightning.media.handling import Handler
from nic_lightning.media.image.handler import ImageHandler

Codec = TypeVar("Codec", bound=LearnedCodec)


class Unmet(Exception):
    """An expectation that does not hold: what was expected, and what came."""

    def __init__(self, expected: str, got: object) -> None:
        super().__init__(f"expected {expected}, got {got}")


def expect(holds: object, expected: str, got: object) -> None:
    """Raise Unmet unless something holds."""
    if not holds:
        raise Unmet(expected, got)


def expect_equal(got: object, expected: object, what: str) -> None:
    """Raise Unmet unless two plain values are equal."""
    expect(got == expected, f"{what} {expected}", got)


def expect_same(got: Tensor, expected: Tensor, what: str) -> None:
    """Raise Unmet unless two tensors are equal to the bit."""
    expect_equal(tuple(got.shape), tuple(expected.shape), f"{what} of shape")
    if not torch.equal(got, expected):
        other = int((got != expected).sum())
        far = float((got.double() - expected.double()).abs().max())
        raise Unmet(f"{what}, equal to the bit", f"{other} of {got.numel()} values that differ, by up to {far:.3g}")


@contextmanager
def expect_error(kind: type[UserError], words: str, what: str) -> Iterator[None]:
    """Raise Unmet unless `what` ends in an error of a kind, in one line that contains `words`."""
    try:
        yield
    except kind as error:
        said = str(error)
        expect(words in said and "\n" not in said, f"one line with {words!r} from {what}", repr(said))
    except Exception as error:
        raise Unmet(f"{kind.__name__} from {what}", f"{type(error).__name__}: {error}") from error
    else:
        raise Unmet(f"{kind.__name__} from {what}", "no error")


@dataclass(frozen=True)
class Subject:
    """A codec under check, a copy that checks may use as they like, and the config that builds it, where known."""

    codec: Any
    config: dict[str, Any] | None

    @classmethod
    def of(cls, codec: object, config: Mapping[str, Any] | None) -> Subject:
        """A copy of a codec, in evaluation mode, with tables where it had none yet.

        The config's class is imported in the further course, which the caller's giving it allows (`loading.trust`).
        """
        # Classic codecs keep modules of their libraries, which cannot be copied; a copy of their settings is enough.
        own = copy.deepcopy(codec) if isinstance(codec, nn.Module) else copy.copy(codec)
        if isinstance(own, LearnedCodec):
            own.eval()
            if not _has_tables(own):
                own.update_tables()
        if config is not None:
            if not isinstance(config.get("_target_"), str):
                raise UserError("The config of a codec names its class: {'_target_': 'package.module.Class', ...}.")
            trust(config["_target_"])
        return cls(own, None if config is None else dict(config))

    def built(self, **changes: Any) -> Any:
        """The codec of the config, with some arguments changed."""
        assert self.config is not None
        module, _, name = self.config["_target_"].rpartition(".")
        arguments = {key: value for key, value in self.config.items() if not key.startswith("_")}
        return getattr(importlib.import_module(module), name)(**arguments | changes)

    @property
    def medium(self) -> Medium:
        """What the codec takes and gives back."""
        return medium_of(self.codec)

    @property
    def handler(self) -> Handler:
        """The half of the medium that makes inputs and compares results."""
        return self.medium.handler()

    @property
    def of_images(self) -> bool:
        """Whether the codec's medium is that of images."""
        return self.medium.name == DEFAULT

    def example(self, height: int, width: int, n: int = 1, seed: int = 0) -> Tensor:
        """Inputs (n, ...) of the codec's medium: images of a size, or what has about as many units."""
        return self.handler.example(height, width, n, seed)

    def expect_same(self, got: Any, expected: Any, what: str) -> None:
        """Raise Unmet unless two results are equal to the bit."""
        for one, other in zip(self.handler.parts(got), self.handler.parts(expected), strict=True):
            expect_same(one, other, what)

    def receiver(self, point: OperatingPoint) -> dict[str, Any]:
        """What only a receiver has."""
        return self.codec.receiver_example(point) if isinstance(self.codec, LearnedCodec) else {}

    def file(self, x: Tensor, point: OperatingPoint) -> bytes:
        """File of an input (1, ...)."""
        return self.codec.pack(self.codec.compress(x, point), point)

    def decoded(self, data: bytes, point: OperatingPoint, codec: Any = None) -> Any:
        """Result of a file that was made at `point`, which classic files do not name; by another codec, if given."""
        codec = codec or self.codec
        encoded, named = codec.unpack(data)
        return codec.decompress(encoded, named if named.index >= 0 else point, **self.receiver(point))


def _has_tables(codec: LearnedCodec) -> bool:
    try:
        return all(model.tables is not None for model in codec.entropy_models())
    except RunError:
        return False


def excited(codec: Codec, by: float = 4.0) -> Codec:
    """An untrained codec, its convolutions scaled up in place so that symbols vary, with tables, in evaluation mode.

    Nearly all symbols of an untrained codec are 0, and so files would hardly be checked.
    """
    with torch.no_grad():
        for name, parameter in codec.named_parameters():
            if parameter.dim() == 4 and not in_entropy_model(name):
                parameter.mul_(by)
    codec.update_tables()
    return codec.eval()


def smooth_images(height: int, width: int, n: int = 1, seed: int = 0) -> Tensor:
    """Smooth random images with some noise, float32 (n, 3, height, width) in [0, 1]."""
    return ImageHandler().example(height, width, n, seed)

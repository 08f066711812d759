"""The half of a medium that handles its data, which its description imports when it is used. No torch needed here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Inputs:
    """Many inputs of one file or folder, by name, each read when it is asked for."""

    count: int
    each: Iterator[tuple[str, Tensor]]


class Handler:
    """The half of a medium that handles its data.

    Inputs are tensors (1, ...) as codecs of the medium take them, and "decoded" what these give back: of images tensors
    of the same shape, of other media perhaps an object with `shape` and `to(device)`.
    """

    ending: str
    """Of files with decoded results: ".png"."""
    original_ending: str | None = None
    """Of files with originals, where it is another one."""

    def read(self, path: Path) -> tuple[Tensor, Sequence[str]]:
        """A file as codecs take it, and what was lost by it, as what was done; DataError for what cannot be read."""
        raise NotImplementedError

    def several(self, path: Path) -> Inputs | None:
        """The inputs of a folder or file that makes one stream; None for a file of one input."""
        return None

    def write(self, decoded: Any, path: Path) -> None:
        """Write what a codec gave back, or an input, whole or not at all. Raises OSError that names `path`."""
        raise NotImplementedError

    def beside(self, decoded: Any, path: Path) -> list[Path]:
        """Further files that `write` makes of a result."""
        return []

    def units(self, x: Tensor) -> int:
        """Pixels, points, frames of an input."""
        raise NotImplementedError

    def divisor(self, x: Tensor) -> int:
        """What the bits of an input are divided by: its units, or 1 where a rate is that of a whole input."""
        return self.units(x)

    def compare(self, original: Any, decoded: Any, measures: Mapping[str, Measure]) -> dict[str, float | None]:
        """The quality columns of a row, in order; None where one has no value.

        `original` is the input, or what a data set says of it, such as a class. `measures` are those that need a
        network, by their column; without one the column is None.
        """
        raise NotImplementedError

    def comparison(self, original: Any, measures: Mapping[str, Measure]) -> Callable[[Any], dict[str, float | None]]:
        """`compare` of one original with several results.

        A medium whose comparison does work on the original alone overrides this, and does that work once.
        """
        return lambda decoded: self.compare(original, decoded, measures)

    def quality(self, key: str, original: Any, decoded: Any) -> float:
        """The default quality, or one with a tolerance, for `nic compress` and for searches; NaN: it is not known."""
        raise NotImplementedError

    def verdict(self, decoded: Any) -> str | None:
        """What `nic compress` says of a result in place of its quality; None: its quality."""
        return None

    def batched(self, content: Tensor) -> Tensor:
        """What a data set holds, as codecs take it."""
        return content

    def sample(self) -> Tensor | None:
        """A small input that a codec's files are tried with before training; None: they are not."""
        return None

    def example(self, height: int, width: int, n: int = 1, seed: int = 0) -> Tensor:
        """Random inputs (n, ...) of about height x width units, for the checks of `nic_lightning.testing`."""
        raise NotImplementedError

    def parts(self, decoded: Any) -> tuple[Tensor, ...]:
        """The tensors that a result consists of, the one that training's `x_hat` is first."""
        return (decoded,)

    def size_label(self, x: Any) -> str:
        """The size of an input or a result, in a few signs: "512x768"."""
        return "x".join(str(side) for side in x.shape[1:])

    def fits(self, x: Tensor, decoded: Any) -> bool:
        """Whether a result may be that of an input."""
        return decoded.shape == x.shape

    def extent(self, x: Tensor) -> tuple[int, int] | None:
        """(H, W) that the operations of a codec's transforms follow from; None: they are not counted."""
        return None


Measure = Callable[["Tensor", "Tensor"], "Tensor"]


def against(measure: Measure, original: Tensor) -> Callable[[Tensor], Tensor]:
    """A measure of one original with several results; it does what belongs to the original once, if it can.

    A measure that can has a method `against(original)`, which gives this function.
    """
    own = getattr(measure, "against", None)
    return own(original) if own is not None else lambda decoded: measure(original, decoded)

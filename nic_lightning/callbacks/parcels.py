"""What one process of ours gives to another through a pipe, as bytes: never what comes from a file or from others."""

from __future__ import annotations

import io
import pickle
import types
from typing import Any

from torch import nn
from torch.nn.utils import parametrize


class NotPortable(Exception):
    """Something that another process cannot have; the message says why."""


def packed(content: object) -> bytes:
    """Bytes that `unpacked` makes an equal object of, in another process with the same `sys.path`.

    Raises NotPortable for what exists in this process alone: local functions and classes, those of the program that
    runs, open files.
    """
    buffer = io.BytesIO()
    try:
        _Pickler(buffer, pickle.HIGHEST_PROTOCOL).dump(content)
    # What cannot be pickled says so by errors of any kind.
    except Exception as error:
        raise NotPortable(" ".join(str(error).split())[:200]) from error
    return buffer.getvalue()


def unpacked(data: bytes) -> Any:
    """Inverse of `packed`, for bytes of our own processes only."""
    return pickle.loads(data)


class _Pickler(pickle.Pickler):
    def reducer_override(self, obj: Any) -> Any:
        """Layers whose kernels are stored otherwise (`layers/convolution.py`), which torch does not pickle."""
        if isinstance(obj, type | types.FunctionType) and obj.__module__ == "__main__":
            raise pickle.PicklingError(f"{obj.__qualname__} is defined in the program that runs, not in a module")
        if isinstance(obj, nn.Module) and parametrize.is_parametrized(obj):
            return _shell, (type(obj).__bases__[0], list(obj.parametrizations)), obj.__dict__  # pyright: ignore
        return NotImplemented


def _shell(kind: type[nn.Module], names: list[str]) -> nn.Module:
    """A layer of a kind whose tensors of these names are parametrized, still without its state."""
    layer = kind.__new__(kind)
    nn.Module.__init__(layer)
    parametrize._inject_new_class(layer)
    for name in names:
        parametrize._inject_property(layer, name)
    return layer

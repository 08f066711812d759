"""nic_lightning: train, measure and compare learned codecs.

What stands here is the public API, which docs/python.md shows with examples:

- `load(NAME_OR_PATH)`: a codec of the zoo, a run, a checkpoint or an export; `codec.encode(image)` and
  `codec.decode(data)`.
- `zoo.models()`: the trained models that come with the package.
- `wrap(model)`: a codec of a CompressAI model.
- `results(FOLDER)`: the results of runs as a pandas table.
- `bd_rate(rates, qualities, rates, qualities)`: Bjontegaard delta rate in per cent.
- `testing.check_codec(codec)`: whether a codec of your own keeps what codecs promise.

All of it is imported when it is used: the package itself starts without torch and pandas.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nic_lightning import testing, zoo
    from nic_lightning.codecs.loading import load, load_codec
    from nic_lightning.codecs.wrapped.wrapping import wrap
    from nic_lightning.metrics.bd import bd_rate_of_values as bd_rate
    from nic_lightning.runs.index.table import results

__all__ = ["bd_rate", "load", "load_codec", "results", "testing", "wrap", "zoo"]
__version__ = "0.1.0"

_HOMES = {
    "bd_rate": "nic_lightning.metrics.bd:bd_rate_of_values",
    "load": "nic_lightning.codecs.loading:load",
    "load_codec": "nic_lightning.codecs.loading:load_codec",
    "results": "nic_lightning.runs.index.table:results",
    "testing": "nic_lightning.testing",
    "wrap": "nic_lightning.codecs.wrapped.wrapping:wrap",
    "zoo": "nic_lightning.zoo",
}


def __getattr__(name: str) -> Any:
    """What is public, imported when it is used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = _HOMES[name].partition(":")
    found = importlib.import_module(module)
    return getattr(found, attribute) if attribute else found


def __dir__() -> list[str]:
    """With what is imported when it is used, for tab completion."""
    return sorted({*globals(), *__all__})

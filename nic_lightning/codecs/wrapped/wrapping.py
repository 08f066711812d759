"""`nic_lightning.wrap`: a codec of a CompressAI model that a program holds."""

from __future__ import annotations

from nic_lightning.codecs.wrapped.archs import ARCHS
from nic_lightning.codecs.wrapped.codec import CompressaiCodec
from nic_lightning.codecs.wrapped.names import newest, size_of_state
from nic_lightning.codecs.wrapped.networks import compressai_models
from nic_lightning.codecs.wrapped.weights import weights_of_state
from nic_lightning.errors import UserError

_SWITCHES = {"no_quantoffset": False, "scl2ctx": True, "ste_recursive": True}
"""Attributes of variable-rate models, as they are read here."""


def wrap(model: object, *, lmbda: float | None = None, label: str = "model") -> CompressaiCodec:
    """A codec with the weights of a CompressAI model, which stays as it is, on its device, in evaluation mode.

    Tables that the model has are kept; others are made of its quantiles, as its `update()` makes them.

    Args:
        model: of one of the classes behind `ARCHS`, such as `compressai.zoo.mbt2018_mean(3, pretrained=True)`.
        lmbda: that it was trained with, for an MSE of images in [0, 1]; only training needs it.
        label: of its operating point. Variable-rate models have their own eight points.

    Raises:
        UserError: it is no such model, or one of a class of its own.
    """
    kind = type(model)
    models = compressai_models() if kind.__module__.startswith("compressai.") else None
    arch = next((name for name, one in ARCHS.items() if kind is getattr(models, one.model, None)), None)
    if arch is None:
        raise UserError(
            f"wrap takes a model of CompressAI ({', '.join(ARCHS)}), not {kind.__module__}.{kind.__name__}."
        )
    for name, value in _SWITCHES.items():
        if getattr(model, name, value) != value:
            raise UserError(f"The model's {name} is {not value}; only models with {name}={value} are wrapped.")
    state = {newest(key): value for key, value in model.state_dict().items()}  # pyright: ignore
    size = size_of_state(state, arch)
    assert size is not None
    found = weights_of_state(state, "The model", arch)
    point = {"lmbda": lmbda, "label": label} if ARCHS[arch].qualities else {}
    codec = CompressaiCodec(
        arch=arch, width=size.width, latents=size.latents, groups=size.groups, side_steps=found.side_steps, **point
    )
    codec.load_state_dict(found.state)
    codec.comes_trained = True
    return codec.eval().requires_grad_(False).to(next(model.parameters()).device)  # pyright: ignore

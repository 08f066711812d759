"""CompressAI's models, imported when one is made, and GDN in float32 in place of theirs."""

from __future__ import annotations

import importlib
import warnings
from typing import Any

import torch
from torch import nn

from nic_lightning.codecs.wrapped.archs import ARCHS, Size
from nic_lightning.layers.gdn import GDN


def model_of(arch: str, size: Size, side_steps: bool = False) -> nn.Module:
    """CompressAI's model of a size, on the device where tensors are made."""
    models = compressai_models()
    sizes = (size.width,) if ARCHS[arch].square else (size.width, size.latents)
    options: dict[str, Any] = {} if size.groups is None else {"groups": list(size.groups)}
    if side_steps:
        options["vr_entbttlnck"] = True
    with torch.device("cpu"):  # on the meta device some of its tensors would be made on the CPU all the same
        model = getattr(models, ARCHS[arch].model)(*sizes, **options)
    return model.to(torch.get_default_device())


def compressai_models() -> Any:
    """The module compressai.models; what its packages warn of when they are imported is not about us."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module("compressai.models")


def take_own_gdn(model: nn.Module) -> None:
    """Put our GDN in the place of CompressAI's, with its parameters: the same function, in float32 under autocast."""
    theirs = importlib.import_module("compressai.layers").GDN
    for parent in list(model.modules()):
        child: Any
        for name, child in parent.named_children():
            if type(child) is theirs:
                own = GDN(len(child.beta), child.inverse)
                own.beta, own.gamma = child.beta, child.gamma
                setattr(parent, name, own)

"""What tests of several codecs are done with."""

from __future__ import annotations

from typing import TypeVar

import torch

from nic_lightning.codecs.learned import LearnedCodec

Codec = TypeVar("Codec", bound=LearnedCodec)


def excited(codec: Codec, by: float = 0.1) -> Codec:
    """Away from the initial values, where GDN variants are one and the same and most symbols are 0."""
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in codec.named_parameters():
            if not name.startswith("entropy_"):
                parameter.mul_(4.0) if parameter.dim() == 4 else parameter.add_(by * torch.rand_like(parameter))
    codec.update_tables()
    return codec.eval()

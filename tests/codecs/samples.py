"""What tests of several codecs are done with."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar

import torch
import yaml

from nic_lightning.codecs.learned import LearnedCodec

CONF = Path(__file__).parents[2] / "conf" / "codec"
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


def spiked(analysis):
    """An analysis transform with +-500 added to two latents of each image: far outside the tables."""

    def analyse(x, point):
        y = analysis(x, point).clone()
        y[:, 0, 0, 0] += 500
        y[:, -1, -1, -1] -= 500
        return y

    return analyse


def save_checkpoint(folder: Path, make_codec, name: str, **overrides) -> Path:
    """A checkpoint as nic-train writes it, of a tiny codec."""
    codec = make_codec(name, **overrides)
    config = yaml.safe_load((CONF / f"{name}.yaml").read_text())
    config |= {key: value for key, value in {"width": 8, "hidden": 6}.items() if key in config} | overrides
    state = {f"codec.{key}": value for key, value in codec.state_dict().items()}
    folder.mkdir(parents=True, exist_ok=True)
    torch.save({"codec": {"config": config, "tables": {}}, "state_dict": state}, folder / "last.ckpt")
    return folder / "last.ckpt"


class Execute:
    """A pickle that runs a command when it is loaded carelessly."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)

"""Released checkpoints of StarGAN v2 as a codec of this project, which has its networks' layout.

They are for non-commercial use (CC BY-NC) and not part of this package: users place them.
"""

from __future__ import annotations

import math
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nic_lightning.codecs.loading import build_codec, misfit, reason
from nic_lightning.codecs.translation import I2ICodec
from nic_lightning.errors import RunError, UserError, counted

_NETWORKS = ("generator", "mapping_network", "style_encoder")
_MAX_FILE = 2**31
_MOST_HALVINGS = 10


def read_release(path: Path, domains: Sequence[str]) -> tuple[I2ICodec, dict[str, Any]]:
    """Codec of a checkpoint with the moving averages ("..._nets_ema.ckpt"), and the plain config that builds it.

    `domains` name its domains in the order of their labels, which is that of their sorted folders. Content is not
    rounded in translation: this is StarGAN v2; the hyperprior is untrained. Nothing in the file is executed.

    Raises:
        RunError: the file cannot be read, or holds no such networks.
        UserError: it has another number of domains, or high-pass skips (w_hpf > 0), which this codec has not.
    """
    networks = _read(path)
    if any(name.startswith("hpf") for name in networks["generator"]):
        raise UserError(f"{path} has high-pass skips (w_hpf above 0), which would carry features past a file.")
    try:
        config = _config(networks)
    except (KeyError, IndexError, AttributeError, ValueError) as error:
        raise RunError(f"{path} does not hold the networks of StarGAN v2.") from error
    if max(config["halvings"], math.log2(config["size"])) > _MOST_HALVINGS:
        raise RunError(f"{path} does not hold the networks of StarGAN v2: they have too many layers.")
    count = config.pop("count")
    if len(domains) != count:
        raise UserError(
            f"{path} has {counted(count, 'domain')}; name as many with --domains, in the order of sorted folders."
        )
    config |= {"_target_": f"{I2ICodec.__module__}.{I2ICodec.__name__}", "domains": list(domains)}
    config["decoder_input"] = "continuous"
    if not _fits(config, path.stat().st_size):
        raise RunError(f"{path} asks for more memory than its weights take.")
    codec = build_codec(config)
    assert isinstance(codec, I2ICodec)
    adopt(codec, networks)
    codec.update_tables()
    return codec.eval().requires_grad_(False), config


def adopt(codec: I2ICodec, networks: Mapping[str, Mapping[str, Any]]) -> None:
    """Give a codec the weights of a released checkpoint; the hyperprior is kept.

    `networks` holds the state dicts "generator", "mapping_network" and "style_encoder". Where one does not fit, nothing
    is changed and a UserError raised.
    """
    generator = _plain(networks.get("generator", {}))
    encoder = {k: v for k, v in generator.items() if k.split(".")[0] in ("from_rgb", "encode")}
    parts = {
        "encoder": encoder,
        "decoder": {k: v for k, v in generator.items() if k not in encoder},
        "mapping": _plain(networks.get("mapping_network", {})),
        "style_encoder": _plain(networks.get("style_encoder", {})),
    }
    for name, state in parts.items():
        own = getattr(codec, name).state_dict()
        released = {k: v for k, v in own.items() if "unit" not in k and not k.endswith(".mode")}
        if wrong := misfit(released, state):
            raise UserError(f"The checkpoint's {name} does not fit this codec: {wrong}.")
    for name, state in parts.items():
        getattr(codec, name).load_state_dict(state, strict=False)


def _plain(state: Mapping[str, Any]) -> dict[str, Any]:
    return {k.removeprefix("module."): v for k, v in state.items()}


def _read(path: Path) -> dict[str, dict[str, Tensor]]:
    if not path.is_file():
        found = "is a folder" if path.is_dir() else "does not exist"
        raise RunError(f"{path} {found}; give a released checkpoint of StarGAN v2, or leave --domains out.")
    if path.stat().st_size > _MAX_FILE:
        raise RunError(f"{path} is too large for a checkpoint of StarGAN v2.")
    try:
        if zipfile.is_zipfile(path) and _unpacked(path) > _MAX_FILE:
            raise ValueError("it unpacks to more than a checkpoint has.")
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler raises nearly anything on foreign bytes
        raise RunError(f"{path} is no checkpoint: {reason(error)}") from error
    if not isinstance(found, Mapping) or not all(_is_state(found.get(name)) for name in _NETWORKS):
        raise RunError(f"{path} does not hold {', '.join(_NETWORKS)}; give the file with the moving averages.")
    return {name: _plain(found[name]) for name in _NETWORKS}


def _is_state(state: object) -> bool:
    return isinstance(state, Mapping) and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items())


def _config(networks: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Any]:
    """Sizes of the networks, from shapes and numbers of layers; "count" of domains."""
    generator, mapping, style = (networks[name] for name in _NETWORKS)
    blocks = 1 + max(_numbers(r"encode\.(\d+)\.", generator))
    halved = max(_numbers(r"shared\.(\d+)\.conv1\.weight", style))  # blocks come after one convolution
    last = max(_numbers(r"unshared\.0\.(\d+)\.weight", mapping))
    return {
        "count": 1 + max(_numbers(r"unshared\.(\d+)\.", mapping)),
        "base": generator["from_rgb.weight"].shape[0],
        "widest": generator[f"encode.{blocks - 2}.conv2.weight"].shape[0],
        "halvings": blocks - 2,
        "latents": generator[f"encode.{blocks - 1}.conv2.weight"].shape[0],
        "style_dim": mapping[f"unshared.0.{last}.weight"].shape[0],
        "latent_dim": mapping["shared.0.weight"].shape[1],
        "size": 2 ** (halved + 2),
    }


def _fits(config: dict[str, Any], size: int) -> bool:
    """Whether a file of `size` bytes can hold the networks' weights."""
    try:
        with torch.device("meta"):
            codec = build_codec(config)
    except RuntimeError:  # of sizes that overflow
        return False
    named = codec.named_parameters()
    return sum(p.numel() for name, p in named if not name.startswith(("h_", "entropy_"))) <= size


def _numbers(pattern: str, state: Mapping[str, Tensor]) -> list[int]:
    return [int(match[1]) for match in (re.match(pattern, name) for name in state) if match]


def _unpacked(path: Path) -> int:
    with zipfile.ZipFile(path) as archive:
        return sum(entry.file_size for entry in archive.infolist())

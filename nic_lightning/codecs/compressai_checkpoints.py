"""Weight files of CompressAI, of its zoo and of its training programs, as configs and states of codecs here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nic_lightning.entropy.factorised import EntropyBottleneck
from nic_lightning.errors import RunError

_THEIRS, _OURS = "entropy_bottleneck.", "entropy_y."
_OLD_NAMES = re.compile(r"entropy_bottleneck\._(matri|bias|factor)(?:x|ces|es|s)?\.?(\d)$")
_NEW_NAMES = {"matri": "matrices", "bias": "biases", "factor": "factors"}
_ZOO = re.compile(r"bmshj2018-factorized-(prior|ms-ssim)-([1-8])-[0-9a-f]{8}(\.pth)?(\.tar)?")
_LAMBDAS = (0.0018, 0.0035, 0.0067, 0.013, 0.025, 0.0483, 0.0932, 0.18)
"""Of the zoo's qualities 1 to 8, for an MSE of images in [0, 255]."""
_TABLES = ("_offset", "_quantized_cdf", "_cdf_length")


def from_compressai(content: Mapping[Any, Any], file: Path) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
    """Codec config and state, tables included, of a CompressAI model; None where the content is none.

    `content` is the state dict itself, as in the zoo, or holds it as "state_dict", as CompressAI's programs save it.
    Names of all its releases are understood. Tables are kept; where there are none they are made from the quantiles as
    they are, as CompressAI makes them. The zoo's file names say quality and lambda, another file's stem is its label.

    Raises:
        RunError: a model of CompressAI for which there is no codec here, or one that is incomplete.
    """
    state = content.get("state_dict", content)
    if not isinstance(state, Mapping):
        return None
    state = {_name(key): value for key, value in state.items() if isinstance(key, str) and isinstance(value, Tensor)}
    if not any(key.startswith("g_a.") for key in state) or not any("_cdf_length" in key for key in state):
        return None
    rooms = {key.partition(".")[0] for key in state}
    if rooms != {"g_a", "g_s", "entropy_bottleneck"}:
        raise RunError(
            f"{file} holds a model of CompressAI with {', '.join(sorted(rooms - {'g_a', 'g_s'}))}; only its factorised "
            "priors can be loaded (bmshj2018-factorized, -relu)."
        )
    first, last = state.get("g_a.0.weight"), state.get("g_a.6.weight")
    if first is None or last is None or first.dim() != 4 or last.dim() != 4:
        raise RunError(f"{file} holds a model of CompressAI whose g_a is not that of its factorised priors.")
    config: dict[str, Any] = {
        "_target_": "nic_lightning.codecs.factorised_prior.FactorisedPrior",
        "width": first.shape[0],
        "latents": last.shape[0],
        "activation": "gdn" if "g_a.1.beta" in state else "relu",
        **_point(file),
    }
    ours = {k.replace(_THEIRS, _OURS, 1): v for k, v in state.items() if "_reparam." not in k}  # constants of GDN
    return config, ours | _completed(ours, last.shape[0], file)


def _name(key: str) -> str:
    """A key as the newest release writes it: without DataParallel's prefix, densities as lists of parameters."""
    key = key.removeprefix("module.")
    old = _OLD_NAMES.fullmatch(key)
    return f"{_THEIRS}{_NEW_NAMES[old[1]]}.{old[2]}" if old else key


def _point(file: Path) -> dict[str, Any]:
    zoo = _ZOO.fullmatch(file.name)
    if zoo is None:
        stem = re.sub(r"[^A-Za-z0-9_-]", "", file.name.partition(".")[0])
        return {"lmbda": None, "label": stem[:64] or "compressai"}
    known = zoo[1] == "prior"
    lmbda = round(_LAMBDAS[int(zoo[2]) - 1] * 255**2, 4) if known else None
    return {"lmbda": lmbda, "label": f"q{zoo[2]}" if known else f"ms-ssim-q{zoo[2]}"}


def _completed(state: Mapping[str, Tensor], channels: int, file: Path) -> dict[str, Tensor]:
    """What a bottleneck's state lacks: constants, which old releases do not store, and tables that were never made."""
    model = EntropyBottleneck(channels, filters=(3, 3, 3, 3))
    own = {f"{_OURS}{name}": value for name, value in model.state_dict().items()}
    constants = {k: v for k, v in own.items() if k not in state and k.endswith(("target", ".bound"))}
    if state.get(f"{_OURS}_cdf_length", torch.empty(0)).numel():
        return constants
    try:
        given = {**state, **constants}
        model.load_state_dict({k.removeprefix(_OURS): v for k, v in given.items() if k.startswith(_OURS)})
    except RuntimeError as error:
        raise RunError(f"{file} holds a model of CompressAI with a bottleneck of another kind.") from error
    model.update(update_quantiles=False)
    return constants | {f"{_OURS}{name}": getattr(model, name) for name in _TABLES}

"""Weight files of CompressAI, of its zoo and of its training programs, as configs and states of codecs here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from nic_lightning.entropy.factorised import EntropyBottleneck
from nic_lightning.entropy.gaussian import GaussianConditional
from nic_lightning.errors import RunError

_BOTTLENECK, _GAUSSIAN = "entropy_bottleneck.", "gaussian_conditional."
_OLD_NAMES = re.compile(r"entropy_bottleneck\._(matri|bias|factor)(?:x|ces|es|s)?\.?(\d)$")
_NEW_NAMES = {"matri": "matrices", "bias": "biases", "factor": "factors"}
_ZOO = re.compile(
    r"(?:bmshj2018-factorized(?:-prior)?|bmshj2018-hyperprior|mbt2018-mean)(-ms-ssim)?-([1-8])-[0-9a-f]{8}\..*"
)
_LAMBDAS = (0.0018, 0.0035, 0.0067, 0.013, 0.025, 0.0483, 0.0932, 0.18)
"""Of the zoo's qualities 1 to 8, for an MSE of images in [0, 255]."""
_FACTORISED = {"g_a", "g_s", "entropy_bottleneck"}
_HYPERPRIOR = _FACTORISED | {"h_a", "h_s", "gaussian_conditional"}
_MOST_CHANNELS = 1024
"""Of latents that tables are made for while a file is read."""
READ = "bmshj2018-factorized, bmshj2018-factorized-relu, bmshj2018-hyperprior and mbt2018-mean"
"""CompressAI's architectures that are read."""


def from_compressai(content: Mapping[Any, Any], file: Path) -> tuple[dict[str, Any], dict[str, Tensor], int] | None:
    """Codec config, state, and bytes of tables that were made for it, of a CompressAI model; None for other content.

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
    first, last = (state.get(f"g_a.{i}.weight") for i in (0, 6))
    if first is None or last is None or first.dim() != 4 or last.dim() != 4 or rooms not in (_FACTORISED, _HYPERPRIOR):
        raise RunError(f"{file} holds a model of CompressAI that is not read here, only {READ}.")
    width, latents = first.shape[0], last.shape[0]
    config: dict[str, Any] = {"width": width, "latents": latents, **_point(file)}
    ours = {k: v for k, v in state.items() if "_reparam." not in k}  # constants of GDN
    if rooms == _FACTORISED:
        target = "factorised_prior.FactorisedPrior"
        config |= {"activation": "gdn" if "g_a.1.beta" in state else "relu"}
        ours |= _completed(EntropyBottleneck(latents, filters=(3, 3, 3, 3)), _BOTTLENECK, ours, file)
        names = {_BOTTLENECK: "entropy_y."}
    else:
        target = "mean_scale.MeanScaleHyperprior"
        features = state.get("h_s.4.bias")
        config |= {"means": features is not None and features.numel() == 2 * latents}
        ours |= _completed(EntropyBottleneck(width, filters=(3, 3, 3, 3)), _BOTTLENECK, ours, file)
        ours |= _completed(GaussianConditional(), _GAUSSIAN, ours, file)
        names = {_BOTTLENECK: "entropy_z.", _GAUSSIAN: "entropy_y."}
    made = sum(v.nbytes for k, v in ours.items() if v is not state.get(k) and k.endswith("_quantized_cdf"))
    for theirs, own in names.items():
        ours = {k.replace(theirs, own, 1) if k.startswith(theirs) else k: v for k, v in ours.items()}
    return {"_target_": f"nic_lightning.codecs.{target}", **config}, ours, made


def _name(key: str) -> str:
    """A key as the newest release writes it: without DataParallel's prefix, densities as lists of parameters."""
    key = key.removeprefix("module.")
    old = _OLD_NAMES.fullmatch(key)
    return f"{_BOTTLENECK}{_NEW_NAMES[old[1]]}.{old[2]}" if old else key


def _point(file: Path) -> dict[str, Any]:
    zoo = _ZOO.fullmatch(file.name)
    if zoo is None:
        stem = re.sub(r"[^A-Za-z0-9_-]", "", file.name.partition(".")[0])
        return {"lmbda": None, "label": stem[:64] or "compressai"}
    lmbda = None if zoo[1] else round(_LAMBDAS[int(zoo[2]) - 1] * 255**2, 4)
    return {"lmbda": lmbda, "label": f"ms-ssim-q{zoo[2]}" if zoo[1] else f"q{zoo[2]}"}


def _completed(model: nn.Module, prefix: str, state: Mapping[str, Tensor], file: Path) -> dict[str, Tensor]:
    """What an entropy model's state lacks: constants, which old releases do not store, and tables never made."""
    given = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    own = model.state_dict()
    table = given.get("_cdf_length")
    made = table is not None and table.numel() > 0
    if not made:  # a Gaussian's scales are chosen when its tables are made
        given = {k: v for k, v in given.items() if k != "scale_table"}
    constants = {
        k: v for k, v in own.items() if k not in given and k.endswith(("target", ".bound", "_bound", "_table"))
    }
    if not made:
        if getattr(model, "channels", 0) > _MOST_CHANNELS:
            raise RunError(f"{file} has no tables, and its latents have more than {_MOST_CHANNELS} channels.")
        try:
            model.load_state_dict({**given, **constants})
        except RuntimeError as error:
            raise RunError(f"{file} holds a model of CompressAI with an entropy model of another kind.") from error
        if isinstance(model, EntropyBottleneck):
            model.update(update_quantiles=False)
        else:
            model.update()  # pyright: ignore[reportCallIssue]
        constants |= {name: getattr(model, name) for name in ("_offset", "_quantized_cdf", "_cdf_length")}
    return {f"{prefix}{name}": value for name, value in constants.items()}

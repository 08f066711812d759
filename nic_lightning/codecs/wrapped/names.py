"""Names of CompressAI's states, of any release, and of our own; which architecture and size a state is of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from torch import Tensor

from nic_lightning.codecs.wrapped.archs import ARCHS, Size

_OLD_DENSITY = re.compile(r"(.*entropy_bottleneck\.)_(matri|bias|factor)(?:x|ces|es|s)?\.?(\d)")
_NEW_DENSITY = {"matri": "matrices", "bias": "biases", "factor": "factors"}
_BOTTLENECK = "entropy_bottleneck."
_GROUP = re.compile(r"latent_codec\.y\.latent_codec\.y(\d+)\.(context_prediction|entropy_parameters)\.")
_FACTORISED = ((_BOTTLENECK, "entropy_y."),)
_OTHERS = (
    (_BOTTLENECK, "entropy_z."),
    ("gaussian_conditional.", "entropy_y."),
    ("context_prediction.", "context.prediction."),
    ("entropy_parameters.", "context.parameters_of."),
    ("scale_to_context.", "context.of_gain."),
    ("Gain", "gain"),
    ("QuantABCD.", "offsets."),
    ("gayn2zqstep.", "side_step."),
    ("lower_bound_zqstep.", "least_side_step."),
    ("latent_codec.hyper.entropy_bottleneck.", "entropy_z."),
    ("latent_codec.hyper.", ""),
    ("latent_codec.y.y.gaussian_conditional.", "entropy_y."),
    ("latent_codec.y.context_prediction.", "context.groups.0.prediction."),
    ("latent_codec.y.entropy_parameters.", "context.groups.0.parameters_of."),
    ("latent_codec.y.channel_context.y", "context.channels."),
)
"""How names begin, theirs and ours."""
_GROUP_GAUSSIAN = re.compile(r"latent_codec\.y\.latent_codec\.y\d+\.y\.gaussian_conditional\.")


def newest(key: str) -> str:
    """A name as the newest release has it, without DataParallel's prefix, and densities as lists of parameters."""
    key = key.removeprefix("module.").replace(".downsample.", ".skip.")
    old = _OLD_DENSITY.fullmatch(key)
    return f"{old[1]}{_NEW_DENSITY[old[2]]}.{old[3]}" if old else key


def is_constant(key: str) -> bool:
    """Whether a name is of a constant of GDN, which ours has no buffers for."""
    return "_reparam." in key


def ours(key: str, factorised: bool) -> str:
    """Our name of what has `key` in CompressAI's newest release; of a model with a factorised prior alone or not."""
    if factorised:
        return _renamed(key, _FACTORISED)
    key = _GROUP_GAUSSIAN.sub("entropy_y.", key)
    if group := _GROUP.match(key):
        part = "prediction" if group[2] == "context_prediction" else "parameters_of"
        return f"context.groups.{group[1]}.{part}.{key[group.end() :]}"
    return _renamed(key, _OTHERS)


def _renamed(key: str, table: Iterable[tuple[str, str]]) -> str:
    for theirs, own in table:
        if key.startswith(theirs):
            return own + key.removeprefix(theirs)
    return key


def arch_of_state(state: Mapping[str, Tensor]) -> str | None:
    """The architecture that a state with newest names is of, as far as names and shapes tell; None for another one."""
    rooms = {key.partition(".")[0] for key in state}
    if "latent_codec" in rooms:
        return _tree_of(state)
    if rooms == {"g_a", "g_s", "entropy_bottleneck"}:
        return "bmshj2018-factorized" if "g_a.1.beta" in state else "bmshj2018-factorized-relu"
    if not {"g_a", "g_s", "h_a", "h_s", "entropy_bottleneck", "gaussian_conditional"} <= rooms:
        return None
    means, y = state.get("h_s.4.bias"), state.get("g_a.6.bias")
    with_means = means is not None and y is not None and len(means) == 2 * len(y)
    if "Gain" in rooms:
        if "context_prediction" in rooms:
            return "mbt2018-vbr"
        return "mbt2018-mean-vbr" if with_means else "bmshj2018-hyperprior-vbr"
    if "context_prediction" in rooms:
        if "g_a.0.conv1.weight" not in state:
            return "mbt2018"
        return "cheng2020-attn" if "g_a.3.conv_a.0.conv.0.weight" in state else "cheng2020-anchor"
    return "mbt2018-mean" if with_means else "bmshj2018-hyperprior"


def _tree_of(state: Mapping[str, Tensor]) -> str | None:
    if "latent_codec.y.context_prediction.weight" in state:
        return "cheng2020-anchor-checkerboard"
    third = state.get("latent_codec.y.channel_context.y3.0.weight")
    groups = _groups_of(state)
    if third is None or third.dim() != 4 or len(groups) < 4:
        return None
    return "elic2022-official" if third.shape[1] == sum(groups[:3]) else "elic2022-chandelier"


def _groups_of(state: Mapping[str, Tensor]) -> tuple[int, ...]:
    found = []
    name = "latent_codec.y.latent_codec.y{}.context_prediction.weight".format
    while (kernel := state.get(name(len(found)))) is not None and kernel.dim() == 4:
        found.append(kernel.shape[1])
    return tuple(found)


def size_of_state(state: Mapping[str, Tensor], arch: str) -> Size | None:
    """Channels of a model by its state; None where a kernel that tells is missing."""
    last = state.get("g_a.13.weight" if ARCHS[arch].grouped else "g_a.6.weight")
    first = state.get("g_a.0.weight")
    if ARCHS[arch].square:
        first = last = state.get("g_a.0.conv1.weight")
    if first is None or last is None or first.dim() != 4 or last.dim() != 4:
        return None
    return Size(first.shape[0], last.shape[0], _groups_of(state) if ARCHS[arch].grouped else None)

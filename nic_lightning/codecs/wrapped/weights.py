"""Weight files of CompressAI, of its zoo and of its training programs, as arguments and states of codecs here."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nic_lightning.codecs.wrapped.archs import ARCHS, LAMBDAS, MOST_CHANNELS, STEPPED, Size
from nic_lightning.codecs.wrapped.names import arch_of_state, is_constant, newest, ours, size_of_state
from nic_lightning.codecs.wrapped.side_steps import side_steps
from nic_lightning.entropy.factorised import EntropyBottleneck
from nic_lightning.entropy.gaussian import GaussianConditional
from nic_lightning.errors import RunError

_ZOO = re.compile(r"(?:bmshj2018|mbt2018|cheng2020)[a-z_-]*?(-ms-ssim|-mse)?-([1-8])-[0-9a-f]{8}\..*")
TABLES = ("_offset", "_quantized_cdf", "_cdf_length")


@dataclass(frozen=True, eq=False)
class Weights:
    """What a file of CompressAI says: a model's architecture and size, and its state under our names."""

    arch: str
    size: Size
    state: dict[str, Tensor]
    """With tables, which are made where the file has none."""
    made: int
    """Bytes of the tables that were made."""
    side_steps: bool = False
    """Whether the bin width of z depends on the operating point."""


def state_of(content: Mapping[Any, Any]) -> dict[str, Tensor] | None:
    """A model's state with CompressAI's newest names; None for what is none.

    `content` is the state itself, as in the zoo, or holds it as "state_dict", as CompressAI's programs save it.
    """
    state = content.get("state_dict", content)
    if not isinstance(state, Mapping):
        return None
    state = {newest(key): value for key, value in state.items() if isinstance(key, str) and isinstance(value, Tensor)}
    ours_too = any(key.startswith("g_a.") for key in state) and any("_cdf_length" in key for key in state)
    return state if ours_too else None


def weights_of_state(state: Mapping[str, Tensor], source: object, arch: str | None = None) -> Weights:
    """What a state with newest names holds; `source` is what sentences call it, `arch` where it is known for sure.

    Tables are kept; where there are none they are made from the quantiles as they are, as CompressAI makes them.

    Raises:
        RunError: a model for which there is no codec here, or one that is incomplete.
    """
    arch = arch or arch_of_state(state)
    size = None if arch is None else size_of_state(state, arch)
    if arch is None or size is None:
        raise RunError(f"{source} holds a model of CompressAI that is not read here, only {', '.join(ARCHS)}.")
    factorised = ARCHS[arch].family.startswith("factorised.")
    renamed: dict[str, Tensor] = {}
    for key, value in ((key, value) for key, value in state.items() if not is_constant(key)):
        twin = renamed.setdefault(ours(key, factorised), value)
        if twin is not value and not torch.equal(twin, value):
            raise RunError(f"{source} has Gaussian tables that differ from group to group: {key} is no table of ours.")
    renamed.pop("QuantOffset", None)  # of the first variable-rate releases, without effect
    stepped = arch in STEPPED and any(key.startswith("side_step.") for key in renamed)
    made = _complete(renamed, size, factorised, stepped, source)
    return Weights(arch, size, renamed, made, stepped)


def _complete(state: dict[str, Tensor], size: Size, factorised: bool, stepped: bool, source: object) -> int:
    """Add what entropy models lack, in place; bytes of the tables that were made."""
    before = {key: value for key, value in state.items() if key.endswith("_quantized_cdf")}
    filters = (3, 3, 3, 3)
    if factorised:
        _complete_model(EntropyBottleneck(_bounded(size.latents, source), filters), "entropy_y.", state, source)
    else:
        channels = _bounded(size.width, source)
        steps = _steps_of(state, source) if stepped else (1.0,)
        for name in TABLES if stepped else ():  # CompressAI keeps those of one point at a time
            state["entropy_z." + name] = torch.empty(0, dtype=torch.int32)
        _complete_model(EntropyBottleneck(channels, filters, steps), "entropy_z.", state, source)
        _complete_model(GaussianConditional(), "entropy_y.", state, source)
    tables = {key: value for key, value in state.items() if key.endswith("_quantized_cdf")}
    return sum(value.nbytes for key, value in tables.items() if value is not before.get(key))


def _steps_of(state: Mapping[str, Tensor], source: object) -> tuple[float, ...]:
    """Bin widths of z at the eight gains."""
    try:
        steps = side_steps(state)
    except (KeyError, RuntimeError) as error:
        raise RunError(f"{source} has another network of the bin width of z than CompressAI's models.") from error
    if len(steps) != len(LAMBDAS) or not all(map(math.isfinite, steps)):
        raise RunError(f"{source} has no bin widths of z for eight gains, each a number.")
    return steps


def _bounded(channels: int, source: object) -> int:
    if channels > MOST_CHANNELS:
        raise RunError(f"{source} has latents of more than {MOST_CHANNELS} channels.")
    return channels


def _complete_model(model: nn.Module, prefix: str, state: dict[str, Tensor], source: object) -> None:
    """Constants, which old releases do not store, and tables where they were never made."""
    given = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    table = given.get("_cdf_length")
    made = table is not None and table.numel() > 0
    if not made:  # a Gaussian's scales are chosen when its tables are made
        given = {k: v for k, v in given.items() if k != "scale_table"}
    own = model.state_dict()
    ends = ("target", ".bound", "_bound", "_table")
    constants = {k: v for k, v in own.items() if k not in given and k.endswith(ends)}
    if not made:
        try:
            model.load_state_dict({**given, **constants})
        except RuntimeError as error:
            raise RunError(f"{source} holds a model of CompressAI with an entropy model of another kind.") from error
        if isinstance(model, EntropyBottleneck):
            model.update(update_quantiles=False)
        else:
            model.update()  # pyright: ignore[reportCallIssue]
        constants |= {name: getattr(model, name) for name in TABLES}
    state.update({prefix + name: value for name, value in constants.items()})


def point_of_file(file: Path) -> dict[str, Any]:
    """Lambda and label of the operating point by a file's name: quality and lambda of the zoo's files, or the stem."""
    zoo = _ZOO.fullmatch(file.name)
    if zoo is None:
        stem = re.sub(r"[^A-Za-z0-9_-]", "", file.name.partition(".")[0])
        return {"lmbda": None, "label": stem[:64] or "compressai"}
    structural = zoo[1] == "-ms-ssim"
    lmbda = None if structural else round(LAMBDAS[int(zoo[2]) - 1] * 255**2, 4)
    return {"lmbda": lmbda, "label": f"ms-ssim-q{zoo[2]}" if structural else f"q{zoo[2]}"}

"""Overrides of a stored config: read in Hydra's grammar, applied to a config without its groups, and written again."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from nic_lightning.config import CONF_DIR, compose
from nic_lightning.errors import UserError
from nic_lightning.targets import nearest

PATHS = frozenset({"data.root", "ckpt_path", "evaluation.lpips"})
"""Keys whose relative values mean the folder that the user is in, not that of the run's start."""
HARDWARE = frozenset(
    {"accelerator", "devices", "num_nodes", "strategy", "precision", "benchmark", "sync_batchnorm"},
)
"""What `trainer=NAME` changes of a stored trainer: where it computes; not how long, nor what it logs."""
_PLAIN = re.compile(r"[A-Za-z_][\w./:+@-]*|/[\w./:+@-]*", re.ASCII)
_CONSTANTS = ("null", "true", "false", "nan", "inf", "on", "off", "yes", "no")


def key_of(override: str) -> str:
    """The key of an override: "data.root" of "++data.root=/x"."""
    return override.split("=", 1)[0].lstrip("+~").strip()


def apply(config: Any, overrides: Sequence[str]) -> None:
    """Set the overrides in the composed `config`; raises UserError in one sentence for what cannot be set there."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    parser = OverridesParser.create()
    for text in overrides:
        try:
            override = parser.parse_override(text)
        except HydraException as error:
            raise UserError(f"'{text}' is not of the form key=value; quote values with special characters.") from error
        if override.is_delete() or override.is_sweep_override() or override.package is not None:
            raise UserError(f"'{text}': here an override sets one key to one value.")
        _set(config, text, override.key_or_group, override.value(), override.is_add() or override.is_force_add())


def _set(config: Any, text: str, key: str, value: Any, add: bool) -> None:
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    if key == "logger" and isinstance(value, list) and all(isinstance(name, str) for name in value):
        value = f"[{','.join(value)}]"
    if key in ("trainer", "logger") and isinstance(value, str):
        _set_group(config, key, value)
        return
    if "/" in key or (CONF_DIR / key).is_dir() or key.split(".")[0] == "hydra":
        raise UserError(f"'{text}' cannot be set for a run that is stored; of the groups, trainer and logger can.")
    if key in PATHS and isinstance(value, str):
        value = os.path.abspath(value)
    if key.split(".")[0] not in config or (not add and OmegaConf.select(config, key, default=_MISSING) is _MISSING):
        raise UserError(f"There is no key '{key}'{nearest(key, _keys(config))}.")
    try:
        OmegaConf.update(config, key, value, force_add=True)
    except (OmegaConfBaseException, AttributeError, TypeError) as error:
        raise UserError(f"'{text}' does not fit: {str(error).splitlines()[0]}.") from error


_MISSING = object()


def _set_group(config: Any, group: str, name: str) -> None:
    from omegaconf import OmegaConf, open_dict

    preset = compose("train", [f"{group}={name}"])
    with open_dict(config):
        if group == "logger":
            preset.name, preset.run_dir, preset.tags = config.name, config.run_dir, config.tags
            config.logger = preset.logger and OmegaConf.to_container(preset.logger, resolve=True)
            return
        for key in HARDWARE & config.trainer.keys():
            del config.trainer[key]
        for key in HARDWARE & preset.trainer.keys():
            config.trainer[key] = preset.trainer[key]


def _keys(config: Any, prefix: str = "") -> list[str]:
    from omegaconf import DictConfig

    found = []
    for key in config:
        child = config._get_node(key)
        found += [f"{prefix}{key}", *(_keys(child, f"{prefix}{key}.") if isinstance(child, DictConfig) else [])]
    return found


def changes(
    old: Mapping[str, Any], new: Mapping[str, Any], ignore: frozenset[str] = frozenset(), prefix: str = ""
) -> list[str]:
    """Overrides that turn the config `old` into `new`, keys of `ignore` left out."""
    found = []
    for key in [*old, *(k for k in new if k not in old)]:
        path = f"{prefix}{key}"
        if path in ignore:
            continue
        if key not in new:
            found.append(f"~{path}")
        elif isinstance(old.get(key), Mapping) and isinstance(new[key], Mapping):
            found += changes(old[key], new[key], ignore, f"{path}.")
        elif key not in old or old[key] != new[key]:
            found.append(f"{'' if key in old else '++'}{path}={to_text(new[key])}")
    return found


def to_text(value: Any) -> str:
    """A plain value in Hydra's grammar for overrides."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{to_text(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(to_text, value)) + "]"
    text = str(value)
    if _PLAIN.fullmatch(text) and text.lower() not in _CONSTANTS:
        return text
    return "'" + re.sub(r"(\\*)'", r"\1\1\\'", re.sub(r"\\+$", r"\g<0>\g<0>", text)) + "'"

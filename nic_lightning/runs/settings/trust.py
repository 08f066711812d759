"""Which classes the config of a run folder may name: the folder may come from anybody."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

from nic_lightning.errors import RunError
from nic_lightning.own_packages import is_own
from nic_lightning.signatures import TargetError, defining_module, importable, load_module

ROOMS = ("callbacks", "codecs", "data", "entropy", "layers", "losses", "metrics", "tasks")
_LOGGERS = tuple(
    f"nic_lightning.runs.loggers.{name}"
    for name in ("wandb.wandb_logger", "views.CsvLogger", "views.TensorBoardLogger")
)


def require_known_targets(config: Any) -> None:
    """Raise RunError where a `_target_` is neither a class of nic_lightning nor of the user's own packages.

    These are installed ones that say so, and those of NIC_CODEC_PACKAGES (`own_packages.py`).
    """
    for target in _targets(config):
        if is_own(target):
            _require_defined(target)
            continue
        if _is_ours(target):
            continue
        raise RunError(
            f"The run's config names {target[:100]!r}, which is no class of nic_lightning; if you trust it, "
            "put its package into the environment variable NIC_CODEC_PACKAGES."
        )


def _require_defined(target: str) -> None:
    """Raise RunError where a package of the user's own only imports it: my_lab.tasks.os.system runs anything.

    Of a package that is not there nothing can be executed: what builds the config will say so.
    """
    try:
        owner = defining_module(target)
    except TargetError as error:
        if importable(target.partition(".")[0]):
            raise RunError(f"The run's config names {target[:100]!r}: {error}.") from error
        return
    if owner is None or not is_own(owner):
        raise RunError(
            f"The run's config names {target[:100]!r}, which that package does not define itself: name what it imports "
            "by its own path, and define functions by def."
        )


def _targets(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if "_target_" in node:
            yield str(node["_target_"])
        node = list(node.values())
    for child in node if isinstance(node, list) else []:
        yield from _targets(child)


def _is_ours(target: str) -> bool:
    """Whether a class of that name is defined there, and not only imported: codecs.cae.os.system is not ours."""
    if target in _LOGGERS:
        return True
    name, _, attribute = target.rpartition(".")
    if not any(name.startswith(f"nic_lightning.{room}.") for room in ROOMS):
        return False
    module = load_module(name)
    return module is not None and any(isinstance(d, ast.ClassDef) and d.name == attribute for d in module.tree.body)

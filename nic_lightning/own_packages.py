"""Packages of a user's own: where their configs lie, and that their code may be imported. Neither torch nor Hydra here.

A package becomes one of these by an entry point of the group `nic_lightning.packages` in its pyproject.toml, once it is
installed, or by its name in the environment variable NIC_CODEC_PACKAGES. Its configs are in its folder conf/, by
groups as ours: conf/codec/foo.yaml is `codec=foo`.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import os
import sys
from pathlib import Path

GROUP = "nic_lightning.packages"
VARIABLE = "NIC_CODEC_PACKAGES"
CONF = "conf"


def own_packages() -> list[str]:
    """Names of NIC_CODEC_PACKAGES, separated by commas there, then those of installed packages; each once."""
    named = filter(None, (name.strip() for name in os.environ.get(VARIABLE, "").split(",")))
    return list(dict.fromkeys([*named, *_installed(tuple(sys.path))]))


def is_own(target: str) -> bool:
    """Whether a class or module belongs to one of the packages."""
    return any(target == name or target.startswith(f"{name}.") for name in own_packages())


def own_conf_dirs() -> tuple[Path, ...]:
    """Folders conf/ of the packages that have one. No package is imported."""
    tops = dict.fromkeys(name.partition(".")[0] for name in own_packages())
    return tuple(folder / CONF for top in tops for folder in _folders(top) if (folder / CONF).is_dir())


def _folders(package: str) -> list[Path]:
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return []
    return [Path(place).resolve() for place in (spec.submodule_search_locations if spec else None) or ()]


@functools.lru_cache(maxsize=8)
def _installed(places: tuple[str, ...]) -> tuple[str, ...]:
    """Modules that entry points name; reading those of all packages on `places` takes some 30 ms."""
    found = importlib.metadata.entry_points(group=GROUP)
    return tuple(sorted({entry.module for entry in found}))

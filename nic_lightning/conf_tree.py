"""Where the Hydra tree conf/ lies, and what its groups offer. Nothing here imports torch or Hydra."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nic_lightning.errors import UserError
from nic_lightning.own_packages import own_conf_dirs

PACKAGE = Path(__file__).resolve().parent
CONF_DIR = PACKAGE / "conf" if (PACKAGE / "conf").is_dir() else PACKAGE.parent / "conf"
"""The Hydra tree: inside an installed wheel, or beside the package in a checkout."""

FULL_ERROR = "HYDRA_FULL_ERROR"
LAUNCHERS = {"joblib": "joblib", "submitit_local": "slurm", "submitit_slurm": "slurm", "ray": "ray"}
"""Optional launchers of Hydra, and the extra of this package that brings each."""


class ConfigError(UserError):
    """A config that does not compose, or whose arguments do not fit."""


def options(group: str, config_dirs: Sequence[Path] = ()) -> list[str]:
    """Names that `group=` takes: the YAML files of <group> in conf/, in that of own packages, and in `config_dirs`."""
    folders = (CONF_DIR, *own_conf_dirs(), *config_dirs)
    return sorted({path.stem for folder in folders for path in (folder / group).glob("*.yaml")})


def places_of(group: str, name: str) -> list[Path]:
    """Files that `group=name` may mean: of conf/, then of own packages; Hydra takes the first."""
    paths = (folder / group / f"{name}.yaml" for folder in (CONF_DIR, *own_conf_dirs()))
    return [path for path in paths if path.is_file()]

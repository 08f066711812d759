"""Continue a run from its folder alone: the stored config is the truth, whatever conf/ says today.

The config that goes on is written to `resume.yaml` in the run folder, so that every rank of a distributed run, which
Lightning starts by the same command line, composes the same.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nic_lightning.config import TrainConfig, check_targets, lists_of_strings
from nic_lightning.errors import RunError, UserError
from nic_lightning.runs.index.index import Run, read_run
from nic_lightning.runs.machine.process import life, main_process, other_process
from nic_lightning.runs.record.files import read_inside, write_atomically
from nic_lightning.runs.record.record import to_yaml
from nic_lightning.runs.resume.folder import claim
from nic_lightning.runs.settings.identity import another_run
from nic_lightning.runs.settings.overrides import apply, changes, key_of
from nic_lightning.runs.settings.trust import require_known_targets
from nic_lightning.targets import with_present_names

NAME = "resume"
"""Name of the config that a continued run is composed from: <run>/resume.yaml."""
_MAX_ENVIRONMENT = 2**24
_SENTENCES = {"formatters": {"sentence": {"format": "%(message)s"}}, "handlers": {"console": {"formatter": "sentence"}}}
"""Of conf/train.yaml: the terminal shows what is said, train.log when and by whom, too."""
_OWN = frozenset({"run_dir", "fresh", "ckpt_path"})
"""Keys that follow from where the run lies and how far it is."""


@dataclass(frozen=True)
class Start:
    """A process to start: its command line, working folder and environment."""

    command: list[str]
    folder: Path
    environment: dict[str, str]


def prepare(folder: Path, extra: Sequence[str] = (), force: bool = False) -> Start | None:
    """Get the run in `folder` ready to go on with the `extra` overrides; None when it is finished already.

    Args:
        folder: the run folder, wherever it lies now.
        extra: `key=value`, whatever does not make another run of it: trainer.max_steps=30000, data.root=/path,
            trainer=ddp (then only where it computes is taken over from the preset), logger=none.
        force: continue a run whose process, on another host, cannot be seen from here.

    Raises:
        RunError: damaged, alive, an evaluation only, or made into another run by `extra`.
        UserError: an override that is wrong in itself.
    """
    folder = folder.resolve()
    run = read_run(folder)
    stored = _stored_config(run)
    _refuse_living(run, force)
    config = _composed(folder, stored, extra)
    if change := another_run(stored, config):
        raise RunError(
            f"{folder.name} cannot be continued so, it would be another run: {change}; for that one, give "
            f"nic-train another name, and init_from={folder} to begin with these weights."
        )
    if claim(folder, config, here=False) == "finished":
        return None
    _write(folder, config)
    # -m and not nic-train: the same package as this one, wherever its scripts lie.
    command = [sys.executable, "-m", "nic_lightning.train", "--config-dir", str(folder), "--config-name", NAME]
    return Start(command, _working_folder(folder), {**os.environ, "PYTHONSAFEPATH": "1"})


def recorded_overrides(folder: Path, config: Mapping[str, Any], given: Sequence[str], config_name: str) -> list[str]:
    """What overrides.yaml shall hold: what was `given`; for a continued run, what stands there and what changed.

    With them, nic-train composes the run's config from conf/ again.
    """
    if config_name != NAME:
        return list(given)
    run = read_run(folder)
    changed = changes(_with_schema(run.config or {}), config, ignore=_OWN | {"logger"})
    keys = {key_of(override) for override in changed}
    return [o for o in run.overrides if key_of(o) not in keys] + changed


def _stored_config(run: Run) -> dict[str, Any]:
    """The config of a run that trains, with the present names of what has moved since."""
    if run.config is None:
        raise RunError(f"{run.folder} cannot be continued: {'; '.join(run.problems)}")
    if run.status is None:
        raise RunError(f"{run.folder} cannot be continued: {'; '.join(run.problems)}")
    if not all(isinstance(run.config.get(group), dict) for group in ("task", "data", "trainer")):
        raise RunError(f"{run.folder} holds no training, so there is nothing to continue.")
    if "${" in str(run.config):
        raise RunError(f"{run.folder}/config.yaml is not as nic-train wrote it: it holds an interpolation, '${{'.")
    config = with_present_names(run.config)
    require_known_targets(config)
    return config


def _refuse_living(run: Run, force: bool) -> None:
    status = run.status or {}
    if not main_process():
        return  # rank 0 of this very start has looked
    if pid := other_process(status):
        raise RunError(f"{run.folder} is being trained by process {pid}; wait for it, or end it and start again.")
    if status.get("state") == "running" and life(status) == "elsewhere" and not force:
        host = str(status["process"].get("host"))[:100]
        raise RunError(
            f"{run.folder} was being trained on {host}, which cannot be seen from here; "
            "if nobody is at it any more, give --force."
        )


def _composed(folder: Path, stored: dict[str, Any], extra: Sequence[str]) -> dict[str, Any]:
    """The stored config with the types of the schema, keys that are newer than the run, and the `extra` overrides."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    for override in extra:
        if key_of(override) in ("run_dir", "fresh"):
            raise UserError(f"'{override}': nic resume continues a run in its own folder; nic-train starts another.")
    try:
        config: Any = OmegaConf.merge(OmegaConf.structured(TrainConfig), stored)
        apply(config, extra)
        lists_of_strings(config)
        if problems := check_targets(config):
            raise UserError(" ".join(problems))
        plain: Any = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise RunError(f"{folder} cannot be continued: {str(error).splitlines()[0]}.") from error
    is_job = _is_job(folder, stored)
    own = {"run_dir": str(folder.parent if is_job else folder), "fresh": False}
    given_checkpoint = any(key_of(override) == "ckpt_path" for override in extra)
    return {**plain, **own, "ckpt_path": plain["ckpt_path"] if given_checkpoint else None}


def _with_schema(stored: Mapping[str, Any]) -> dict[str, Any]:
    from omegaconf import OmegaConf

    plain: Any = OmegaConf.to_container(OmegaConf.merge(OmegaConf.structured(TrainConfig), stored))
    return plain


def _is_job(folder: Path, stored: Mapping[str, Any]) -> bool:
    """Whether the folder is a multirun's: its run_dir was that of the sweep."""
    name = Path(str(stored.get("run_dir"))).name
    return name == folder.parent.name != folder.name


def _write(folder: Path, config: Mapping[str, Any]) -> None:
    hydra = {
        "run": {"dir": str(folder).replace("${", "\\${")},
        "job": {"name": "train", "chdir": False},
        "job_logging": _SENTENCES,
        "output_subdir": None,
    }
    text = to_yaml({"defaults": ["schema", "_self_"], **config, "hydra": hydra})
    write_atomically(folder / f"{NAME}.yaml", text)


def _working_folder(folder: Path) -> Path:
    """Where the run was started, for relative paths in its config; this process's own when that is gone."""
    try:
        cwd = json.loads(read_inside(folder, "environment.json", _MAX_ENVIRONMENT)).get("cwd")
        there = Path(cwd) if isinstance(cwd, str) else Path.cwd()
        return there if there.is_dir() else Path.cwd()
    except (RunError, ValueError, AttributeError, RecursionError, OSError):
        return Path.cwd()

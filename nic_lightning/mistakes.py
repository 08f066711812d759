"""What users get wrong on Hydra's command line, as sentences. Nothing here imports torch."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from nic_lightning import conf_tree
from nic_lightning.conf_tree import FULL_ERROR, LAUNCHERS, ConfigError, options, places_of
from nic_lightning.errors import UserError, disk_error
from nic_lightning.targets import alternatives, nearest


def without_effect() -> list[str]:
    """Sentences about a command line that Hydra takes without a word, and that would train something else."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode
    from omegaconf import OmegaConf

    hydra = HydraConfig.get()
    given: Any = OmegaConf.to_container(hydra.overrides.task, resolve=False)
    keys = {override.lstrip("+").split("=")[0] for override in given}
    known = _top_level("schema") | _top_level("evaluate_schema") | _top_level("analyze_schema")
    added = {key for override in given for key in re.findall(r"^\++(\w+)=", override)} - known
    problems = [
        f"There is no key '{key}'{_nearest_key(key)}; the + added one that nothing reads."
        for key in sorted(added)
        if not (conf_tree.CONF_DIR / key).is_dir() and f"${{{key}" not in " ".join(given)
    ]
    swept = [str(key) for key in hydra.sweeper.get("params") or () if key not in keys]
    if swept and hydra.mode == RunMode.RUN:  # a job of a multirun has them on its command line
        problems.append(f"A sweep over {', '.join(swept)} is a multirun: add -m.")
    return problems


def ambiguous() -> list[str]:
    """Sentences about chosen names that several packages have: Hydra would take the first without a word."""
    from hydra.core.hydra_config import HydraConfig

    chosen = [(str(group), name) for group, name in HydraConfig.get().runtime.choices.items() if isinstance(name, str)]
    found = {f"{group}={name}": places_of(group, name) for group, name in chosen}
    return [
        f"{choice} may be {' or '.join(map(str, places))}: rename the one that is yours."
        for choice, places in found.items()
        if len(places) > 1
    ]


def _lightnings(error: BaseException) -> UserError | None:
    """What Lightning says of a trainer's settings that do not go together here; any of its other errors is a bug."""
    if type(error).__name__ != "MisconfigurationException":
        return None
    said = " ".join(str(error).split()).rstrip(".!")
    hint = " PyTorch sees no GPU here; trainer=cpu does without." if "gpu" in said.lower() else ""
    return ConfigError(f"Lightning cannot train with these settings: {said}.{hint} ({FULL_ERROR}=1 shows where.)")


def mistake(error: BaseException | None) -> UserError | None:
    """The `UserError` behind an error, or the sentence for the disk's: Hydra wraps what a constructor raises."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:  # under a debugger, OmegaConf's errors cause themselves
        if isinstance(error, UserError):
            return error
        if sentence := _lightnings(error):
            return sentence
        if sentence := disk_error(error):
            return sentence
        seen.append(error)
        error = error.__cause__
    return None


def leave_nothing() -> None:
    """Remove what Hydra made for a command of a single run that came to nothing."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    hydra = HydraConfig.get()
    if hydra.mode == RunMode.RUN:
        _leave_nothing(Path(hydra.runtime.output_dir), f"{hydra.job.name}.log")


def _leave_nothing(folder: Path, log: str) -> None:
    """Remove what Hydra made for a command that is refused, where nothing else is: its log, the folder, those around.

    Of these only what lies below where we are: `nic-evaluate` has its folder there, and makes no log.
    """
    here = Path.cwd()
    with suppress(OSError):  # something lies in the folder
        if os.listdir(folder) == [log] and not (folder / log).stat().st_size:
            (folder / log).unlink()
        while folder != here:
            folder.rmdir()
            folder = folder.parent
            if here not in folder.parents:
                return


def explained(error: Exception) -> Exception:
    """The sentence for a user's mistake as a `ConfigError`; any other error as it is."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    if isinstance(error, HydraException | OmegaConfBaseException):
        return ConfigError(_sentence(error))
    if isinstance(error, YAMLError):
        return ConfigError(f"A config is no YAML: {' '.join(str(error).split())}.")
    if isinstance(error, ValueError) and "Config group override must be a string" in str(error):
        groups = ", ".join(sorted(path.name for path in conf_tree.CONF_DIR.iterdir() if path.is_dir()))
        return ConfigError(
            f"A group ({groups}) takes the name of one of its files, as in logger=none; null is no name."
        )
    return error


def _sentence(error: BaseException) -> str:
    from hydra.errors import OverrideParseException

    text = f"{error}\n{error.__cause__ or ''}"
    if match := re.search(r"Could not (?:find|load) '([^']+)/([^'/]+)'", text):
        group, name = match.groups()
        if group == "hydra/launcher" and name in LAUNCHERS:
            return f"The launcher {name} is not installed: pip install 'nic_lightning[{LAUNCHERS[name]}]'."
        found = re.findall(r"^\t(\S+)$", text, re.MULTILINE) or options(group)
        return f"There is no {group} '{name}'{alternatives(name, found)}."
    if bad := re.search(r"Value '(.*)' of type '\w+' could not be converted to (\w+)\s+full_key: (\S+)", text):
        return f"{bad[3]} must be of type {bad[2].lower()}, not '{bad[1]}'."
    if bad := re.search(r"Value '(.*)' is not a valid (\w+).*\s+full_key: (\S+)", text):
        return f"{bad[3]} must be of type {bad[2]}, not '{bad[1]}'."
    if (match := re.search(r"Could not override '(\w+)'", text)) and (conf_tree.CONF_DIR / match[1]).is_dir():
        names = ", ".join(options(match[1]))
        return f"No {match[1]} is chosen yet, so put a + before it: +{match[1]}=NAME; there are: {names}."
    if match := re.search(r"Could not override '([^']+)'", text):
        return f"There is no key '{match[1]}'{_nearest_key(match[1])}; `--cfg job` lists the keys."
    if match := re.search(r"Error merging override (\S+)", text):
        return f"'{match[1]}' gives a value of another kind than this key takes; `--cfg job` shows what it holds."
    if match := re.search(r"Ambiguous value for argument '(([^'=]+)=[^']*)'", text):
        return f"'{match[1]}' has several values: {match[2]}=[a,b] is a list, and -m runs a job for each."
    if isinstance(error, OverrideParseException):
        return f"'{error.override}' is not of the form key=value; quote values with special characters."
    first = " ".join(line.strip() for line in str(error).splitlines() if line.strip())
    return first or type(error).__name__


def _nearest_key(key: str) -> str:
    """Suggest a key of the configs in `conf/`, whatever was composed."""
    from omegaconf import DictConfig, OmegaConf

    *parents, last = key.split(".")
    folder = conf_tree.CONF_DIR / parents[0] if parents else conf_tree.CONF_DIR
    keys = set() if parents else _top_level("schema")
    for path in folder.glob("*.yaml"):
        node = OmegaConf.select(OmegaConf.load(path), ".".join(parents[1:])) if parents[1:] else OmegaConf.load(path)
        keys |= {str(k) for k in node} if isinstance(node, DictConfig) else set()
    return nearest(last, keys)


def _top_level(schema: str) -> set[str]:
    """Keys of the top level that `config.register_schemas` registers with Hydra."""
    from hydra.core.config_store import ConfigStore

    return {str(key) for key in ConfigStore.instance().load(f"{schema}.yaml").node}

"""`nic check`: compose every config, check it against the code it names, and try every codec's files."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Any

import yaml
from cyclopts import Parameter

from nic_lightning import conf_tree
from nic_lightning.commands.options import ConfigDirs, Json, require_folders
from nic_lightning.config import ConfigError, check_targets, composing, options
from nic_lightning.mistakes import mistake

Compose = Callable[..., Any]
"""As `config.compose`."""
_PARTS = ("codec", "task", "optimizer", "schedule", "data", "trainer", "logger", "callbacks", "launch")
GROUPS = (*_PARTS, "sweep", "experiment")


def check(
    *,
    config_dirs: ConfigDirs = (),
    no_files: Annotated[bool, Parameter(name="--no-files")] = False,
    as_json: Json = False,
) -> int:
    """Compose every config, check it against the code that it names, and try every codec's files.

    Each learned codec writes and reads the file of a small image at every operating point. The exit code is 1 where
    something is wrong.

    Args:
        config_dirs: a folder of your own configs, such as codec/NAME.yaml, beside those of the package; may be repeated
        no_files: configs alone, within seconds; nothing is written or read
        as_json: print JSON

    Examples:
        nic check --no-files
        nic check --config-dir my_configs
    """
    require_folders(config_dirs)
    with composing() as compose:
        found = check_configs(config_dirs, compose)
        if not no_files:
            for name in options("codec", config_dirs):
                if not found[f"codec={name}"] and (problem := _file_problem(name, config_dirs, compose)):
                    found[f"codec={name}"] = [problem]
    problems = {name: sentences for name, sentences in found.items() if sentences}
    if as_json:
        print(json.dumps({"checked": list(found), "problems": problems}, indent=2))
    else:
        for name, sentences in problems.items():
            print("\n".join([name, *(f"  {sentence}" for sentence in sentences)]))
        print(f"{len(found)} configs checked, {len(problems)} with problems.")
    return 1 if problems else 0


def check_configs(config_dirs: Sequence[Path], compose: Compose) -> dict[str, list[str]]:
    """Problems by config: train.yaml with each option of each group, evaluate.yaml, analyze.yaml, and theirs.

    Options of different groups are composed together, since that takes as long as one does; those of a config with
    problems once more, each alone. Launch presets whose launcher is not installed are left out: they are extras.
    """
    found = {name: _problems(compose, name, []) for name in ("train", "evaluate", "analyze")}
    found |= {f"flow={name}": _problems(compose, "evaluate", [f"flow={name}"], config_dirs) for name in options("flow")}
    for name in options("network"):
        found[f"network={name}"] = _problems(compose, "analyze", [f"network={name}"], config_dirs)
    groups = {group: [f"{group}={name}" for name in options(group, config_dirs)] for group in GROUPS}
    if "launch" in groups:
        groups["launch"] = [choice for choice in groups["launch"] if _launcher_installed(choice.partition("=")[2])]
    alone = {group: groups.pop(group, []) for group in ("sweep", "experiment")}  # they choose options of other groups
    together = [[choice for choice in row if choice] for row in zip_longest(*groups.values())]
    for choices in [*together, *([choice] for choice in alone["experiment"])]:
        problems = _problems(compose, "train", choices, config_dirs)
        for choice in choices:
            several = problems and len(choices) > 1
            found[choice] = _problems(compose, "train", [choice], config_dirs) if several else problems
    return found | {choice: _sweep_problems(compose, choice.partition("=")[2]) for choice in alone["sweep"]}


def _file_problem(name: str, config_dirs: Sequence[Path], compose: Compose) -> str | None:
    """What is wrong with the files of a learned codec, which is untrained; None of a classic one."""
    codec_config: Any = compose("train", [f"codec={name}"], config_dirs).codec
    if str(codec_config.get("_target_")).startswith("nic_lightning.baselines."):
        return None
    from hydra.utils import instantiate

    from nic_lightning.codecs.learned import is_learned
    from nic_lightning.metrics.trial import fault

    try:
        codec = instantiate(codec_config, _convert_="all")
    except Exception as error:
        return str(mistake(error) or f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
    return fault(codec) if is_learned(codec) else None


def _sweep_problems(compose: Compose, name: str) -> list[str]:
    """The first job of a sweep has to compose, with the default codec or with another one."""
    if problems := _problems(compose, "train", [f"+sweep={name}"]):
        return problems
    job = _first_job(name)
    with_default = _problems(compose, "train", job)
    codecs = ([f"codec={codec}", *job] for codec in options("codec"))
    fits = not with_default or any(not _problems(compose, "train", other) for other in codecs)
    return [] if fits else with_default


def _first_job(sweep: str) -> list[str]:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    params = _preset("sweep", sweep).get("hydra", {}).get("sweeper", {}).get("params", {})
    swept = OverridesParser.create().parse_overrides([f"{key}={values}" for key, values in params.items()])
    return [f"{o.key_or_group}={next(o.sweep_string_iterator())}" for o in swept if o.is_sweep_override()]


def _launcher_installed(launch: str) -> bool:
    from hydra.core.config_store import ConfigStore
    from hydra.core.plugins import Plugins

    Plugins.instance()
    installed = ConfigStore.instance().list("hydra/launcher")
    entries = [entry for entry in _preset("launch", launch).get("defaults", []) if isinstance(entry, dict)]
    wanted = [name for entry in entries for group, name in entry.items() if group.endswith("hydra/launcher")]
    return all(name not in conf_tree.LAUNCHERS or f"{name}.yaml" in installed for name in wanted)


def _preset(group: str, name: str) -> dict[str, Any]:
    return yaml.safe_load(conf_tree.places_of(group, name)[0].read_text()) or {}


def _problems(compose: Compose, config_name: str, overrides: list[str], config_dirs: Sequence[Path] = ()) -> list[str]:
    try:
        return check_targets(compose(config_name, overrides, config_dirs), missing_ok=True)
    except ConfigError as error:
        return [str(error)]

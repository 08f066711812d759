"""`nic check`: compose every config and compare every `_target_` with its signature, without importing torch."""

from __future__ import annotations

import json

from nic_lightning.config import ConfigError, check_targets, compose, options

GROUPS = ("codec", "task", "data", "trainer", "logger", "experiment")


def check(as_json: bool = False) -> int:
    """Print what is wrong in which config; the exit code, 1 when anything is."""
    found = check_configs()
    problems = {name: sentences for name, sentences in found.items() if sentences}
    if as_json:
        print(json.dumps({"checked": list(found), "problems": problems}, indent=2))
    else:
        for name, sentences in problems.items():
            print("\n".join([name, *(f"  {sentence}" for sentence in sentences)]))
        print(f"{len(found)} configs checked, {len(problems)} with problems.")
    return 1 if problems else 0


def check_configs() -> dict[str, list[str]]:
    """Problems by config: train.yaml with each option of each group and each experiment, and evaluate.yaml."""
    cases = {"train": ("train", []), "evaluate": ("evaluate", [])}
    for group in GROUPS:
        for name in options(group):
            cases[f"{group}={name}"] = ("train", [f"{group}={name}"])
    return {name: _problems(config, overrides) for name, (config, overrides) in cases.items()}


def _problems(config_name: str, overrides: list[str]) -> list[str]:
    try:
        return check_targets(compose(config_name, overrides), missing_ok=True)
    except ConfigError as error:
        return [str(error)]

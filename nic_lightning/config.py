"""How configs are composed, and how the console scripts run Hydra.

Nothing here imports torch, and Hydra only inside functions: `nic --help`, `nic-train --cfg job` stay quick.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nic_lightning import conf_tree
from nic_lightning.conf_tree import CONF_DIR as CONF_DIR
from nic_lightning.conf_tree import FULL_ERROR, ConfigError
from nic_lightning.conf_tree import LAUNCHERS as LAUNCHERS
from nic_lightning.conf_tree import PACKAGE as PACKAGE
from nic_lightning.conf_tree import options as options
from nic_lightning.errors import UserError, readers_may_leave
from nic_lightning.late import load_late
from nic_lightning.machine import shows_gpu
from nic_lightning.mistakes import ambiguous, explained, leave_nothing, mistake, without_effect
from nic_lightning.own_packages import GROUP, own_conf_dirs
from nic_lightning.schemas import AnalyzeConfig, EvaluateConfig
from nic_lightning.schemas import TrainConfig as TrainConfig
from nic_lightning.targets import check_targets as check_targets
from nic_lightning.targets import make_lists

if TYPE_CHECKING:
    from omegaconf import DictConfig

_LONGEST_NAME = 100


def lists_of_strings(config: DictConfig) -> None:
    """Make lists of single strings in place, `evaluation.datasets=kodak`; `ConfigError` for what is neither."""
    if problems := make_lists(config, (TrainConfig, EvaluateConfig, AnalyzeConfig)):
        raise ConfigError(" ".join(problems))


def register_schemas() -> None:
    """Tell Hydra the types of the top level, as `schema` and `NAME_schema`, OmegaConf of `safe_name` and `by_device`.

    `${by_device:A,B}` is A on a machine that shows a GPU, B on others.
    """
    from hydra.core.config_store import ConfigStore
    from omegaconf import OmegaConf

    store = ConfigStore.instance()
    store.store(name="schema", node=TrainConfig)
    store.store(name="evaluate_schema", node=EvaluateConfig)
    store.store(name="analyze_schema", node=AnalyzeConfig)
    _search_own_packages()
    OmegaConf.register_new_resolver("safe_name", safe_name, replace=True)
    OmegaConf.register_new_resolver("by_device", lambda gpu, cpu: gpu if shows_gpu() else cpu, replace=True)


def _search_own_packages() -> None:
    """Let Hydra look for configs in conf/ of own packages, too, behind ours."""
    from hydra.core.config_search_path import ConfigSearchPath
    from hydra.core.plugins import Plugins
    from hydra.plugins.search_path_plugin import SearchPathPlugin

    if any(known.__name__ == "OwnPackages" for known in Plugins.instance().discover(SearchPathPlugin)):
        return

    class OwnPackages(SearchPathPlugin):
        def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
            for folder in own_conf_dirs():
                search_path.append(provider=GROUP, path=f"file://{folder}")

    Plugins.instance().register(OwnPackages)


def safe_name(text: str) -> str:
    """`text` as the name of a folder: as it is if it is short and plain, else made so, with a hash of the whole."""
    if re.fullmatch(r"[\w.=,+\[\]-]*", text) and len(text.encode()) <= _LONGEST_NAME:
        return text
    kept = re.sub(r"[^\w.=,+\[\]-]+", "_", text).encode()[: _LONGEST_NAME - 9].decode(errors="ignore")
    return f"{kept}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def quoted(text: str) -> str:
    """`text` as a value on Hydra's command line."""
    return "'" + re.sub(r"(\\*)('|$)", lambda found: 2 * found[1] + found[2].replace("'", "\\'"), text) + "'"


def compose(
    config_name: str = "train", overrides: list[str] | None = None, config_dirs: Sequence[Path] = ()
) -> DictConfig:
    """Compose a config as the console script would, with `config_dirs` beside conf/, as with its --config-dir.

    Raises `ConfigError` where the script prints a sentence.
    """
    with composing() as one:
        return one(config_name, overrides, config_dirs)


@contextmanager
def composing() -> Iterator[Callable[..., DictConfig]]:
    """Hydra, started once to compose many configs: gives a function that takes and raises what `compose` does.

    The state of a run of Hydra that composes further configs is put back at the end.
    """
    import hydra
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.singleton import Singleton

    register_schemas()
    outer = Singleton.get_state()
    GlobalHydra.instance().clear()
    try:
        with hydra.initialize_config_dir(str(conf_tree.CONF_DIR), version_base="1.3"):
            yield _compose
    finally:
        Singleton.set_state(outer)


def _compose(
    config_name: str = "train", overrides: list[str] | None = None, config_dirs: Sequence[Path] = ()
) -> DictConfig:
    import hydra

    places = ",".join(quoted(f"file://{folder.absolute()}") for folder in config_dirs)
    try:
        config = hydra.compose(config_name, [*(overrides or []), *([f"hydra.searchpath=[{places}]"] * bool(places))])
        lists_of_strings(config)
    except Exception as error:
        raise explained(error) from error
    return config


def run_hydra(task: Callable[[DictConfig], Any], config_name: str) -> None:
    """Run `task` with the config of the command line: Hydra's own front door, with sentences for users.

    What a user got wrong (a key, a value, a name, a missing folder) ends in one sentence on stderr and exit
    code 2, and so does a full disk; anything else is a bug and keeps its traceback. HYDRA_FULL_ERROR=1, set by
    the user, brings all tracebacks.
    """
    with readers_may_leave():
        _run_hydra(task, config_name)


def _run_hydra(task: Callable[[DictConfig], Any], config_name: str) -> None:
    import hydra

    load_late()
    warnings.filterwarnings("ignore", "`torch.jit", FutureWarning)  # CompressAI's, when imported
    register_schemas()
    bugs: list[Exception] = []
    full = os.environ.get(FULL_ERROR)
    run = hydra.main(str(conf_tree.CONF_DIR), config_name, version_base="1.3")(_checked(task, full, bugs))
    if full == "1":
        run()
        return
    try:
        with _environment(FULL_ERROR, "1"):  # otherwise Hydra prints its own mixture of message and traceback
            run()
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        sentence = error if error in bugs else mistake(error) or explained(error)
        if not isinstance(sentence, UserError):
            raise
        print(sentence, file=sys.stderr)
        sys.exit(sentence.exit_code)


def _checked(
    task: Callable[[DictConfig], Any], full_error: str | None, bugs: list[Exception]
) -> Callable[[DictConfig], Any]:
    """`task` behind `check_targets`; what it raises and no user can help goes to `bugs` as well."""

    def run(config: DictConfig) -> Any:
        from hydra.core.hydra_config import HydraConfig
        from hydra.types import RunMode

        with _environment(FULL_ERROR, full_error):  # processes that the task starts see what the user set
            try:
                lists_of_strings(config)
                problems = ambiguous() or check_targets(config) or without_effect()
                if problems:
                    raise ConfigError(" ".join(problems))
                with readers_may_leave():  # here, since Hydra would tell of the error first
                    return task(config)
            except Exception as error:
                sentence = mistake(error)
                if sentence is None or full_error == "1":
                    bugs.append(error)
                    leave_nothing()
                    raise
                # In a multirun the other jobs go on; Hydra raises the first error at the end.
                if HydraConfig.get().mode == RunMode.MULTIRUN:
                    raise sentence from error
                leave_nothing()
                print(sentence, file=sys.stderr)
                sys.exit(sentence.exit_code)

    return run


@contextmanager
def _environment(name: str, value: str | None) -> Iterator[None]:
    before = os.environ.get(name)
    _set_environment(name, value)
    try:
        yield
    finally:
        _set_environment(name, before)


def _set_environment(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value

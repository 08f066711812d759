"""What finds flow, by its name in conf/flow: our pipeline with its settings, or a peer. Starts without torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Protocol

from numpy.typing import NDArray

from nic_lightning.config import ConfigError, check_targets, compose, quoted
from nic_lightning.mistakes import mistake


class Found(Protocol):
    """What a matcher finds of a frame."""

    @property
    def flow(self) -> NDArray[Any]:
        """(H, W, 2) in pixels, NaN where unknown."""
        ...

    @property
    def stages(self) -> dict[str, NDArray[Any]]:
        """Flow after earlier stages, by name, of any scale; may be empty."""
        ...


class Matcher(Protocol):
    """Finds the flow from a frame to the next."""

    settings: dict[str, Any]
    """Plain values that tell this matcher from others."""

    def run(
        self, previous: NDArray[Any] | None, current: NDArray[Any], next: NDArray[Any], after: NDArray[Any] | None
    ) -> Found:
        """Flow from `current` to `next`; frames are RGB (H, W, 3), uint8 or float in [0, 1]."""
        ...

    def sequence(self, frames: Iterable[NDArray[Any]]) -> Iterator[Found]:
        """Flow from each frame to the next, as `run` gives it."""
        ...


class _Configured:
    """A matcher with the settings that made it."""

    def __init__(self, inner: Any, settings: dict[str, Any]) -> None:
        self._inner = inner
        self.settings = settings

    def run(self, previous: Any, current: Any, next: Any, after: Any) -> Any:
        return self._inner.run(previous, current, next, after)

    def sequence(self, frames: Iterable[Any]) -> Iterator[Any]:
        if hasattr(self._inner, "sequence"):
            yield from self._inner.sequence(frames)
            return
        for current, following in pairwise(frames):  # peers look at no others
            yield self._inner.run(None, current, following, None)


def matcher(name: str, settings: Sequence[str] = (), weights: str | None = None) -> Matcher:
    """The matcher of conf/flow/<name>.yaml.

    Args:
        name: file of conf/flow without its suffix.
        settings: "key=value" each, as on Hydra's command line.
        weights: file of weights, short for the setting "weights".

    Raises:
        UserError: no such file, key or value, or weights that are missing.
    """
    for setting in settings:
        if "=" not in setting:
            raise ConfigError(f"A setting is KEY=VALUE, such as ratio=1, not {setting!r}.")
    overrides = [f"flow={name}", *(f"flow.{setting}" for setting in settings)]
    if weights is not None:
        overrides.append(f"flow.weights={quoted(weights)}")
    config = compose("evaluate", overrides)
    problems = check_targets(config)
    if problems:
        raise ConfigError(" ".join(problems))
    return build(config.flow)


def same_settings(before: Any, now: Any) -> bool:
    """Whether two `Matcher.settings` find the same flow; what is left out of a refinement has its default."""
    return _completed(before) == _completed(now)


def _completed(settings: Any) -> Any:
    refinement = settings.get("refinement") if isinstance(settings, Mapping) else None
    if not isinstance(refinement, Mapping):
        return settings
    from nic_lightning.flow.refinement import DEFAULTS

    return {**settings, "refinement": {**DEFAULTS, **refinement}}


def build(config: Any) -> Matcher:
    """The matcher of a composed `flow` config."""
    from hydra.utils import instantiate
    from omegaconf import OmegaConf

    try:
        made = instantiate(config, _convert_="all")
    except Exception as error:  # Hydra wraps what a constructor raises
        raise mistake(error) or error from error
    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    if not hasattr(made, "run"):  # the settings of our own pipeline
        from nic_lightning.flow.pipeline import Pipeline

        made = Pipeline(made)
    return _Configured(made, {str(key): value for key, value in plain.items()})

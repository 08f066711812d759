"""CompressAI's image models as codecs: one class for all, which makes one of the architecture's family."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from nic_lightning.codecs.base import OperatingPoint, single_point
from nic_lightning.codecs.learned import LearnedCodec
from nic_lightning.codecs.loading import find_checkpoint, misfit, read_checkpoint
from nic_lightning.codecs.wrapped.archs import ARCHS, DEFAULT_QUALITY, STEPPED, Size, arch_of, lambda_of, size_of
from nic_lightning.codecs.wrapped.names import is_constant, newest, ours
from nic_lightning.codecs.wrapped.networks import model_of, take_own_gdn
from nic_lightning.codecs.wrapped.weights import TABLES, Weights, point_of_file, state_of, weights_of_state
from nic_lightning.errors import RunError, UserError

DEFAULT = "mbt2018-mean"


class CompressaiCodec(LearnedCodec):
    """Networks of a model of CompressAI (BSD-3-Clause-Clear), with the entropy models, files and tables of this house.

        x ─ g_a ─ y ─ latents' coding of the family ─ y_hat ─ g_s ─ x_hat

    CompressAI is imported when a codec is made, and only its networks run: neither its `forward`, which of mbt2018 and
    cheng2020 rounds another way than its files do, nor its `compress`. Families: `factorised`, `hyperprior`, `serial`
    (context pixel by pixel), `tree` (checkerboards and groups of channels), `variable` and `variable_serial`.

    Sizes are the zoo's for the quality unless they are given, and so is lambda. Of `weights` all of that is taken.

    Args:
        arch: name of the architecture, as in CompressAI's zoo and registry.
        quality: 1 to 8 (1 to 6 for cheng2020); None: 3, or that of the weights. Variable-rate models have none.
        width: channels of the transforms, N.
        latents: channels of y, M; cheng2020 has one number for both.
        lmbda: weight of the distortion in training.
        label: of the operating point; q and quality where neither it nor lambda is given.
        weights: file of the zoo or of CompressAI's training programs, read when the codec is made for the first time.
        groups: channels of each group of latents of elic2022.
        side_steps: of bmshj2018-hyperprior-vbr and mbt2018-mean-vbr: the bin width of z depends on the rate, too, as in
            the zoo's files (`vr_entbttlnck`).

    Raises:
        UserError: there is no such architecture, quality or size, or the weights are of another one.
    """

    files = ("weights",)

    def __new__(cls, arch: str = DEFAULT, *_: Any, **__: Any) -> Self:
        """An instance of the architecture's family; families are imported when they are used."""
        if cls is not CompressaiCodec:
            return super().__new__(cls)
        module, name = arch_of(arch).family.split(".")
        return super().__new__(getattr(importlib.import_module(f"{__package__}.{module}"), name))

    def __init__(
        self,
        arch: str = DEFAULT,
        quality: int | None = None,
        width: int | None = None,
        latents: int | None = None,
        lmbda: float | None = None,
        label: str | None = None,
        weights: str | None = None,
        groups: Sequence[int] | None = None,
        side_steps: bool = False,
    ):
        found = None if weights is None else read_weights(weights, arch)
        size = size_of(arch, quality, width, latents, groups) if found is None else size_of_weights(found)
        if found is not None:
            require_size(size, width, latents, groups)
            side_steps = found.side_steps
        if side_steps and arch not in STEPPED:
            raise UserError(f"codec.side_steps is true; {arch} has one bin width of z: leave it out.")
        point = point_of(arch, quality, lmbda, label, weights, size.width)
        model = model_of(arch, size, side_steps)
        theirs = model.state_dict()
        take_own_gdn(model)
        self.take(model, point)
        self.arch, self.size, self.side_steps = arch, size, side_steps
        self._theirs = {key: value if is_constant(key) else None for key, value in theirs.items()}
        self.comes_trained = found is not None
        if found is not None:
            self._load(found.state, f"codec.weights={weights}")

    def take(self, model: Any, point: OperatingPoint | None) -> None:
        """Begin as a module, with the networks of a model; what of it is not taken is forgotten."""
        raise NotImplementedError

    @property
    def name(self) -> str:
        """The architecture's."""
        return self.arch

    def config_to_keep(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """The config with the size and the point of the weights, and without their file."""
        point = self.operating_points[0]
        one = len(self.operating_points) == 1
        return super().config_to_keep(config) | {
            "width": self.size.width,
            "latents": self.size.latents,
            "groups": None if self.size.groups is None else list(self.size.groups),
            "quality": None,
            "lmbda": point.lmbda if one else None,
            "label": point.label if one else None,
            "side_steps": self.side_steps,
        }

    def compressai_state(self) -> dict[str, Tensor]:
        """State of CompressAI's model, with its names in its order, for its `load_state_dict` and `from_state_dict`.

        Tables of z whose bin width depends on the rate are left out, empty: there CompressAI makes them anew for each
        rate, by `update(force=True, scale=...)`.
        """
        state, factorised = self.state_dict(), self._factorised
        found = {
            key: state[ours(newest(key), factorised)] if constant is None else constant
            for key, constant in self._theirs.items()
        }
        stepped = TABLES if self.side_steps else ()
        return found | {f"entropy_bottleneck.{name}": torch.empty(0, dtype=torch.int32) for name in stepped}

    def load_compressai(self, state: Mapping[str, Tensor]) -> None:
        """Take the state of CompressAI's model of the same architecture and size; tables are made where it has none.

        Raises UserError for a state that does not fit.
        """
        renamed = {newest(key): value for key, value in state.items()}
        self._load(weights_of_state(renamed, "The state", self.arch).state, "The state")

    def _load(self, state: Mapping[str, Tensor], source: str) -> None:
        problem = misfit(self.state_dict(), state)
        if problem is not None:
            raise UserError(f"{source} does not fit {self.arch} of this size: {problem}.")
        self.load_state_dict(state)

    @property
    def _factorised(self) -> bool:
        return ARCHS[self.arch].family.startswith("factorised.")


def read_weights(file: str, arch: str) -> Weights:
    """What a weight file holds; raises UserError where it is of another architecture."""
    arch_of(arch)
    path = find_checkpoint(file)
    state = state_of(read_checkpoint(path))
    if state is None:
        raise RunError(f"codec.weights={file} holds no model of CompressAI; a run or an export is given as run=RUN.")
    found = weights_of_state(state, path)
    if found.arch != arch:
        raise UserError(f"codec.weights={file} holds {found.arch} and not {arch}: give codec.arch={found.arch}.")
    return found


def size_of_weights(found: Weights) -> Size:
    """Size of a file's model; raises UserError for one that is too large to be built."""
    return size_of(found.arch, None, found.size.width, found.size.latents, found.size.groups)


def require_size(size: Size, width: int | None, latents: int | None, groups: Sequence[int] | None) -> None:
    """Raise UserError where the arguments say another size than the weights have."""
    own = {"width": size.width, "latents": size.latents, "groups": None if size.groups is None else list(size.groups)}
    for (name, value), given in zip(own.items(), (width, latents, groups), strict=True):
        if given is not None and value != (list(given) if isinstance(given, Sequence) else given):
            raise UserError(f"codec.{name} is {given}, and that of codec.weights is {value}: leave it out.")


def point_of(
    arch: str, quality: int | None, lmbda: float | None, label: str | None, weights: str | None, width: int
) -> OperatingPoint | None:
    """The operating point of the arguments, else of the weights' file name, else of quality 3; None of all rates."""
    given = not (quality is lmbda is label is None)
    if ARCHS[arch].qualities == 0:
        lambda_of(arch, quality)
        if given:
            raise UserError(
                f"codec.lmbda is {lmbda} and codec.label {label}; {arch} has eight lambdas: leave them out."
            )
        return None
    if weights is not None and not given:
        return single_point(**point_of_file(Path(weights)), width=width)
    if lmbda is None and (quality is not None or label is None):
        label = label or f"q{quality or DEFAULT_QUALITY}"
        lmbda = lambda_of(arch, quality)
    return single_point(lmbda, label, width)

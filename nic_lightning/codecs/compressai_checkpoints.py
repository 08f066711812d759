"""Weight files of CompressAI, of its zoo and of its training programs, as configs and states of codecs here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from nic_lightning.codecs.wrapped.archs import ARCHS
from nic_lightning.codecs.wrapped.weights import point_of_file, state_of, weights_of_state

_OWN = {
    "bmshj2018-factorized": ("factorised_prior.FactorisedPrior", {"activation": "gdn"}),
    "bmshj2018-factorized-relu": ("factorised_prior.FactorisedPrior", {"activation": "relu"}),
    "bmshj2018-hyperprior": ("mean_scale.MeanScaleHyperprior", {"means": False}),
    "mbt2018-mean": ("mean_scale.MeanScaleHyperprior", {"means": True}),
}
"""Architectures that codecs of this project's own parts have; the others wrap CompressAI's networks."""


def from_compressai(content: Mapping[Any, Any], file: Path) -> tuple[dict[str, Any], dict[str, Tensor], int] | None:
    """Codec config, state, and bytes of tables that were made for it, of a CompressAI model; None for other content.

    `content` is the state dict itself, as in the zoo, or holds it as "state_dict", as CompressAI's programs save it.
    Names of all its releases are understood. Tables are kept; where there are none they are made from the quantiles as
    they are, as CompressAI makes them. The zoo's file names say quality and lambda, another file's stem is its label.

    Raises:
        RunError: a model of CompressAI for which there is no codec here, or one that is incomplete.
    """
    state = state_of(content)
    if state is None:
        return None
    found = weights_of_state(state, file)
    config: dict[str, Any] = {"width": found.size.width, "latents": found.size.latents}
    if ARCHS[found.arch].qualities:  # others have a point for each of their rates
        config |= point_of_file(file)
    if found.arch in _OWN:
        target, arguments = _OWN[found.arch]
        config |= arguments
    else:
        target = "wrapped.codec.CompressaiCodec"
        groups = None if found.size.groups is None else list(found.size.groups)
        config |= {"arch": found.arch, "groups": groups, "side_steps": found.side_steps}
    return {"_target_": f"nic_lightning.codecs.{target}", **config}, found.state, found.made

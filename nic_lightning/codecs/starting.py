"""Where training begins: the weights of another codec (`init_from`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nic_lightning.codecs.exporting import is_export
from nic_lightning.codecs.learned import LearnedCodec
from nic_lightning.codecs.loading import config_of, find_checkpoint, load_codec, misfit, reason, weights_of
from nic_lightning.errors import UserError
from nic_lightning.zoo import source_of


def start_from(codec: LearnedCodec, source: str | None) -> None:
    """Give `codec` the weights of another run, of a .ckpt file, of an export folder or of a model of the zoo.

    A codec with `adopt_codec` is given the loaded codec, tables included; one with `adopt`, its state. Raises UserError
    where they do not fit, and where nothing is given (None) to a codec that needs a trained start.
    """
    adopt_codec, adopt = getattr(codec, "adopt_codec", None), getattr(codec, "adopt", None)
    if source is None:
        if adopt_codec or adopt:
            kind = "codec" if adopt_codec else "autoencoder"
            raise UserError(f"codec {codec.name} starts from a trained {kind}; give init_from=RUN.")
        return
    if adopt_codec:
        adopt_codec(load_codec(source))
        return
    path = source_of(source)
    state = load_codec(path).state_dict() if is_export(path) else weights_of(find_checkpoint(path))
    try:
        (adopt or codec.load_state_dict)(state)
    except RuntimeError as error:
        raise UserError(
            f"init_from={source} does not fit this codec: {misfit(codec.state_dict(), state) or reason(error)}."
        ) from error


def base_of(codec: Mapping[str, Any] | None, init_from: str | None) -> dict[str, Any] | None:
    """The config of what a codec wraps, as `init_from` has it; None where the codec's config wraps none (`base`).

    A codec of the same class as the one in `init_from` wraps what that one does.
    """
    own = (codec or {}).get("base")
    if not (init_from and isinstance(own, Mapping) and "_target_" in own):
        return None
    assert codec is not None
    found = config_of(init_from)
    found = found.get("base") if isinstance(found, dict) and found.get("_target_") == codec["_target_"] else found
    if not isinstance(found, dict) or not isinstance(found.get("_target_"), str):
        raise UserError(f"init_from={init_from} names no codec that could be wrapped.")
    return found

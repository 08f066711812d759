"""Where training begins: the weights of another codec (`init_from`)."""

from __future__ import annotations

from pathlib import Path

from nic_lightning.codecs.exporting import is_export
from nic_lightning.codecs.learned import LearnedCodec
from nic_lightning.codecs.loading import find_checkpoint, load_codec, misfit, read_checkpoint, reason
from nic_lightning.errors import UserError


def start_from(codec: LearnedCodec, source: str | None) -> None:
    """Give `codec` the weights of another run, of a .ckpt file or of an export folder.

    Raises UserError where they do not fit, and where nothing is given (None) to a codec that needs a trained start.
    """
    adopt = getattr(codec, "adopt", None)
    if source is None:
        if adopt:
            raise UserError(f"codec {codec.name} starts from a trained autoencoder; give init_from=RUN.")
        return
    if is_export(Path(source)):
        state = load_codec(source).state_dict()
    else:
        state = read_checkpoint(find_checkpoint(source)).get("state_dict", {})
        state = {k.removeprefix("codec."): v for k, v in state.items() if k.startswith("codec.")}
    try:
        (adopt or codec.load_state_dict)(state)
    except RuntimeError as error:
        raise UserError(
            f"init_from={source} does not fit this codec: {misfit(codec.state_dict(), state) or reason(error)}."
        ) from error

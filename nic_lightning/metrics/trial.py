"""A codec's files are tried before it is trained: a small input, written, read and decoded at every operating point."""

from __future__ import annotations

import copy
import traceback

import torch
from torch import Tensor

from nic_lightning.codecs.base import OperatingPoint
from nic_lightning.codecs.learned import LearnedCodec
from nic_lightning.errors import UserError
from nic_lightning.media.base import medium_of
from nic_lightning.metrics.evaluation import evaluate_codec

SPREAD = 4.0
"""Standard deviation that the latents are given: those of an untrained codec are nearly all rounded to 0."""


def try_files(codec: LearnedCodec) -> None:
    """Raise UserError where the codec's files do not bring back what was sent; any other error gets a note.

    A copy of the codec is tried, on the CPU, and the random state is put back: training does not feel it. Nothing is
    tried of a codec that makes no files, or of one half of a codec.
    """
    if not codec.makes_files or getattr(codec, "side", "both") != "both":
        return
    medium = medium_of(codec)
    sample = medium.handler().sample()
    if sample is None:
        return
    points = list(codec.operating_points)
    done: list[OperatingPoint] = []

    def note(name: str, point: OperatingPoint) -> None:
        done.append(point)

    tried = _spread(copy.deepcopy(codec)).eval()
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        try:
            tried.update_tables()
            evaluate_codec(tried, [(f"a small {medium.name}", sample)], "trial", on_item=note)
        except UserError as error:
            raise UserError(f"The codec's files were tried, and do not work: {error}") from error
        except Exception as error:
            at = f" at point {points[len(done)].label}" if len(done) < len(points) else ""
            tried_on = f"the file of a small {medium.name}{at}"
            error.add_note(f"Codec {codec.name} was to write and read {tried_on}, as a trial.")
            raise


def fault(codec: LearnedCodec) -> str | None:
    """What `try_files` finds, as a sentence that names the place of an error; None where files work."""
    try:
        try_files(codec)
    except UserError as error:
        return str(error)
    except Exception as error:  # of the method's author, who wants to know where
        place = traceback.extract_tb(error.__traceback__)[-1]
        said = " ".join(str(error).split())[:300]
        note = " ".join(getattr(error, "__notes__", []))
        return f"{type(error).__name__}: {said} ({place.filename}:{place.lineno}). {note}"
    return None


def _spread(codec: LearnedCodec) -> LearnedCodec:
    analysis = codec.analysis

    def spread(x: Tensor, point: OperatingPoint) -> Tensor:
        y = analysis(x, point)
        return y * (SPREAD / y.std().clamp_min(1e-6))

    codec.analysis = spread
    return codec

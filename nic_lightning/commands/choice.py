"""Which operating point `nic compress` takes for an image: by its label, by a target, within a budget."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor

from nic_lightning.analysis.budget import Budget, parse_macs
from nic_lightning.codecs.base import OperatingPoint
from nic_lightning.codecs.choosing import (
    Choice,
    about_default,
    default_point,
    file_at,
    file_for,
    has_tasks,
)
from nic_lightning.codecs.fitting import largest_within
from nic_lightning.codecs.learned import LearnedCodec
from nic_lightning.codecs.quality import point_of_quality
from nic_lightning.errors import UserError

__all__ = ["Choice", "chooser"]


def chooser(
    codec: LearnedCodec,
    *,
    point: str | None = None,
    max_macs: str | None = None,
    max_latency_ms: float | None = None,
    mode: str | None = None,
    quality: int | None = None,
    max_bytes: int | None = None,
    **targets: float | None,
) -> Callable[[Tensor], Choice]:
    """Function that chooses for an input (1, ...); raises UserError for wishes that make no sense.

    `quality` is 1 to 100 (`codecs/quality.py`), `max_bytes` what the file may take at most (`codecs/fitting.py`).
    `targets` are those of the codec's medium, by name: of images `bpp` and `psnr`.
    A budget alone takes the costliest point within it, together with a target the one that meets the target best.
    Without any wish it is the codec's default point, and the choice says so.
    """
    budget = _budget(codec, "point" if point else "quality" if quality else None, max_macs, max_latency_ms)
    searched = max_bytes is not None or any(target is not None for target in targets.values())
    if (searched or budget) and has_tasks(codec):
        raise UserError(f"Codec {codec.name} has one rate for each task, set in training: give --mode alone.")
    named = _named(codec, point, mode, quality)
    chosen = None if searched or budget else named or _default(codec)
    note = about_default(codec) if chosen is not None and named is None else None
    if quality is not None and len(codec.operating_points) == 1:
        note = "The codec has one operating point, at any quality."

    def choose(x: Tensor) -> Choice:
        points, message = budget.points(x) if budget else (None, note)
        if searched:
            if max_bytes is not None:
                found = largest_within(codec, x, max_bytes, points)
            else:
                found = file_for(codec, x, points=points, **targets)
            return replace(found, message=" ".join(filter(None, (message, found.message))))
        used = chosen or points[-1]  # pyright: ignore[reportOptionalSubscript]
        return file_at(codec, x, used, message)

    return choose


def _budget(
    codec: LearnedCodec, named_by: str | None, max_macs: str | None, max_latency_ms: float | None
) -> Budget | None:
    if max_macs is None and max_latency_ms is None:
        return None
    if named_by is not None:
        raise UserError(f"--{named_by} leaves nothing to --max-macs and --max-latency-ms; give one or the other.")
    return Budget(codec, None if max_macs is None else parse_macs(max_macs), max_latency_ms)


def _named(codec: LearnedCodec, label: str | None, mode: str | None, quality: int | None) -> OperatingPoint | None:
    """The operating point of a label, a mode or a quality; None without any."""
    if quality is not None:
        return point_of_quality(codec, quality)
    if mode is not None:
        return _of_mode(codec, mode)
    return None if label is None else codec.point(label)


def _of_mode(codec: LearnedCodec, mode: str) -> OperatingPoint:
    modes = {p.mode: p for p in codec.operating_points if p.mode is not None}
    if mode not in modes:
        known = f"it has {', '.join(modes)}" if modes else "leave --mode out"
        raise UserError(f"Codec {codec.name} has no mode {mode!r}; {known}.")
    return modes[mode]


def _default(codec: LearnedCodec) -> OperatingPoint:
    if has_tasks(codec) and len(codec.operating_points) > 1:
        labels = ", ".join(p.label for p in codec.operating_points)
        raise UserError(f"Choose what the file is for with --mode ({labels}).")
    return default_point(codec)

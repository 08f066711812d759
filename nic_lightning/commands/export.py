"""`nic export`: a trained codec as a folder of its own."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

from nic_lightning.codecs.exporting import DESCRIPTION, WEIGHTS, export_codec
from nic_lightning.codecs.learned import LearnedCodec
from nic_lightning.codecs.loading import load_with_config
from nic_lightning.codecs.narrowing import NarrowableCodec
from nic_lightning.codecs.scalable import ScalableAutoencoder
from nic_lightning.codecs.stargan_release import read_release
from nic_lightning.codecs.translation import I2ICodec
from nic_lightning.errors import UserError


def export(
    run: Path,
    out: Path,
    *,
    width: int | None = None,
    half: str | None = None,
    domains: list[str] | None = None,
    onnx: bool = False,
    points: list[str] | None = None,
    overwrite: bool = False,
) -> None:
    """Write the codec of `run` to the folder `out`; with `onnx`, its transforms at `points` (default: all) too.

    With `width`, only what the widths of a slimmable codec up to that one use; with `half`, what the "sender" or the
    "receiver" of a translation codec needs, or the "receiver" of a scalable one. With `domains`, `run` is a released
    checkpoint of StarGAN v2.
    """
    if points and not onnx:
        raise UserError("--point chooses what --onnx exports; give --onnx too.")
    codec, config = load_with_config(run) if domains is None else read_release(run, domains)
    if width is not None:
        codec, config = narrowed(codec, config, width)
    if half is not None:
        codec, config = halved(codec, config, half)
    if onnx and isinstance(codec, I2ICodec):
        raise UserError(f"Codec {codec.name} has no ONNX files: its synthesis takes a style, too; leave --onnx out.")
    chosen = [codec.point(label) for label in points or [p.label for p in codec.operating_points]] if onnx else []
    # As an exception, the signal leaves nothing half-written.
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        export_codec(codec, config, out, onnx_points=chosen, overwrite=overwrite)
    finally:
        signal.signal(signal.SIGTERM, before)
    size = (out / WEIGHTS).stat().st_size
    print(f"{out}: {WEIGHTS} ({size:,} bytes) and {DESCRIPTION}, fingerprint {codec.fingerprint().hex()}")


def narrowed(codec: LearnedCodec, config: dict[str, Any], width: int) -> tuple[LearnedCodec, dict[str, Any]]:
    """A slimmable codec up to `width`, and the config that builds it; raises UserError for another codec or width."""
    if not isinstance(codec, NarrowableCodec):
        raise UserError(f"Codec {codec.name} has no widths: --width is for slimmable codecs, such as codec=slimmable.")
    slim = codec.narrowed(width).requires_grad_(False)
    return slim, {"_target_": config["_target_"], **slim.plain_arguments()}


def halved(codec: LearnedCodec, config: dict[str, Any], half: str) -> tuple[LearnedCodec, dict[str, Any]]:
    """One side of a codec, and the config that builds it; raises UserError for a codec that has no sides."""
    if isinstance(codec, ScalableAutoencoder):
        receiver = codec.half_of(half).requires_grad_(False)
        return receiver, {"_target_": config["_target_"], **receiver.plain_arguments()}
    if not isinstance(codec, I2ICodec):
        raise UserError(
            f"Codec {codec.name} has no halves: --half is for translation codecs, such as codec=i2icodec, and scalable."
        )
    return codec.half_of(half), {**config, "side": half}

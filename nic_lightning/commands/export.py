"""`nic export`: a trained codec as a folder of its own: safetensors, JSON, ONNX, a C header."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from nic_lightning.commands.options import Out, Overwrite, comma_separated
from nic_lightning.errors import UserError
from nic_lightning.runs.index.labels import require_labels, require_source

if TYPE_CHECKING:
    from nic_lightning.codecs.learned import LearnedCodec


def export(
    run: Annotated[Path, Parameter(name="RUN")],
    /,
    *,
    out: Out,
    width: Annotated[int | None, Parameter(metavar="W")] = None,
    onnx: bool = False,
    points: Annotated[tuple[str, ...], Parameter(name="--point", metavar="LABEL")] = (),
    c_header: bool = False,
    half: Literal["sender", "receiver"] | None = None,
    float16: bool = False,
    domains: Annotated[list[str] | None, Parameter(metavar="A,B,...", converter=comma_separated, n_tokens=1)] = None,
    overwrite: Overwrite = False,
) -> None:
    """Write a codec for use by nic_lightning.load_codec(DIR), nic compress --run DIR, and others.

    Args:
        run: run folder, checkpoint file or export folder
        out: folder to make
        width: of a slimmable codec: only what the widths up to this one use; of a scalable one, the first layers
        onnx: also g_a and g_s as ONNX, a pair of files a point, checked with onnxruntime; hyper transforms are left
            out, because decoding needs them in float64, for which onnxruntime has no convolutions; of point clouds
            points to symbols, and symbols to log probabilities
        points: only this point as ONNX; may be repeated
        c_header: also the encoder of a point-cloud codec, micro or lite, as a header of C99 without allocation, for a
            sensor: float points to the bytes of files
        half: of a translation or point-cloud codec: what only encodes, or only decodes; the halves understand one
            another's files; of a scalable one: receiver, what only decodes
        float16: weights rounded to half precision, in half the bytes, integer tables made anew; computed is in float32
            as before, and files are those of the rounded codec
        domains: RUN is a released checkpoint of StarGAN v2, ..._nets_ema.ckpt, of these domains, sorted as folders are
        overwrite: replace an export that exists

    Examples:
        nic export runs/first -o exported
        nic export runs/first -o exported --float16
        nic export runs/first -o exported --onnx --point 512
        nic export runs/point_cloud_micro_small -o sensor --c-header --half sender
    """
    require_source(run)
    require_labels(run, points or None)
    from nic_lightning.codecs.exporting import DESCRIPTION, WEIGHTS, export_codec
    from nic_lightning.codecs.loading import load_with_config
    from nic_lightning.codecs.stargan_release import read_release

    if points and not onnx:
        raise UserError("--point chooses what --onnx exports; give --onnx too.")
    codec, config = load_with_config(run) if domains is None else read_release(run, domains)
    if float16:  # before parts are taken, which carry the fingerprint of the whole
        _round(codec)
    if width is not None:
        codec, config = narrowed(codec, config, width)
    if half is not None:
        codec, config = halved(codec, config, half)
    if onnx:
        codec.require_onnx()
    chosen = [codec.point(label) for label in points or [p.label for p in codec.operating_points]] if onnx else []
    # As an exception, the signal leaves nothing half-written.
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        export_codec(codec, config, out, onnx_points=chosen, c_header=c_header, float16=float16, overwrite=overwrite)
    finally:
        signal.signal(signal.SIGTERM, before)
    size = (out / WEIGHTS).stat().st_size
    print(f"{out}: {WEIGHTS} ({size:,} bytes) and {DESCRIPTION}, fingerprint {codec.fingerprint().hex()}")


def _round(codec: LearnedCodec) -> None:
    from nic_lightning.codecs.half_precision import round_to_float16

    kept = round_to_float16(codec)
    if kept:
        print(f"Kept as float32, since float16 has no such numbers: {', '.join(kept)}", file=sys.stderr)


def narrowed(codec: LearnedCodec, config: dict[str, Any], width: int) -> tuple[LearnedCodec, dict[str, Any]]:
    """A slimmable codec up to `width`, and the config that builds it; raises UserError for another codec or width."""
    slim = codec.narrowed(width).requires_grad_(False)
    return slim, slim.config_of(config)


def halved(codec: LearnedCodec, config: dict[str, Any], half: str) -> tuple[LearnedCodec, dict[str, Any]]:
    """One side of a codec, and the config that builds it; raises UserError for a codec that has no sides."""
    part = codec.half_of(half).requires_grad_(False)
    return part, part.config_of(config)

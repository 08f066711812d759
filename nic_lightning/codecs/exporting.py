"""A codec as a folder of its own, for use without Lightning, Hydra and W&B, and for other programs.

It holds codec.safetensors, with every tensor of the codec's state: weights, quantiles, integer CDF tables; codec.json,
with the schema, the version of nic_lightning, class and arguments, operating points, the fingerprint as in the header
of .nic files and the SHA-256 of codec.safetensors; and where asked for, ONNX files (`codecs/to_onnx.py`, of clouds
`codecs/cloud_onnx.py`) and the encoder as a C header (`codecs/c_header.py`).
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load, save
from torch import Tensor

from nic_lightning import __version__
from nic_lightning.codecs import c_header as headers
from nic_lightning.codecs.base import OperatingPoint
from nic_lightning.codecs.half_precision import compacted, expanded
from nic_lightning.codecs.learned import LearnedCodec
from nic_lightning.errors import RunError

WEIGHTS, DESCRIPTION = "codec.safetensors", "codec.json"
SCHEMA = 1
MAX_WEIGHTS, MAX_HEADER, MAX_DESCRIPTION = 1 << 31, 1 << 22, 1 << 20
"""Bytes that are read at most: of codec.safetensors, of the list of tensors in it, of codec.json."""
_KEYS = {"schema", "nic_lightning", "codec", "operating_points", "fingerprint", "sha256"}


@dataclass(frozen=True)
class Export:
    """What an export folder claims; whether weights fit the class that it names is for `load_codec` to find out."""

    config: object
    state: dict[str, Tensor]
    size: int
    """Bytes that the weights take, as float32 where the file has float16."""
    fingerprint: str
    points: object


def export_codec(
    codec: LearnedCodec,
    config: object,
    out: Path,
    *,
    onnx_points: Sequence[OperatingPoint] = (),
    c_header: bool = False,
    float16: bool = False,
    overwrite: bool = False,
    report: Callable[[str], None] = print,
) -> None:
    """Write `codec`, built from the plain `config`, to the folder `out`, which appears whole or not at all.

    Tables are written as they are. With `float16`, so are tensors of float32 that float16 holds exactly, in half the
    bytes, such as `half_precision.round_to_float16` makes; what is loaded has float32 again.

    `report` gets a sentence for each point of `onnx_points` that was exported and checked, and one for the C header.
    Raises RunError when `out` exists (with `overwrite`: when it holds anything but an export) or cannot be written,
    UserError when an ONNX file does not compute what the codec does, or the codec has no C header.
    """
    header = codec.c_header() if c_header else None
    if onnx_points:
        from nic_lightning.codecs import cloud_onnx, to_onnx

        to_onnx.require_packages()
        export_point: Any = (cloud_onnx if codec.medium == "cloud" else to_onnx).export_point
    with new_folder(out, overwrite) as folder:
        state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in codec.state_dict().items()}
        weights = save(compacted(state) if float16 else state)
        description = {
            "schema": SCHEMA,
            "nic_lightning": __version__,
            "codec": config,
            "operating_points": describe_points(codec),
            "fingerprint": codec.fingerprint().hex(),
            "sha256": hashlib.sha256(weights).hexdigest(),
        }
        (folder / WEIGHTS).write_bytes(weights)
        (folder / DESCRIPTION).write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
        for point in onnx_points:
            report(export_point(codec, point, folder))
        if header is not None:
            (folder / headers.NAME).write_text(header.text, encoding="utf-8")
            report(f"{headers.NAME}: {header.constants:,} bytes of constants, {header.variables:,} of the stack")


def describe_points(codec: LearnedCodec) -> list[dict[str, Any]]:
    """Operating points as they stand in codec.json."""
    return [{k: v for k, v in asdict(point).items() if v is not None} for point in codec.operating_points]


@contextmanager
def new_folder(target: Path, overwrite: bool = False) -> Iterator[Path]:
    """A temporary sibling of `target` that takes its name at the end, and is removed on an error.

    What kill -9 leaves behind lies hidden beside `target`: .NAME.MARK.partial; and .NAME.MARK.replaced, the old folder,
    if it came between the two renames of a replacement.
    """
    target = Path(target).absolute()
    _require_free(target, overwrite)
    mark = secrets.token_hex(4)
    temporary, old = (target.with_name(f".{target.name}.{mark}.{kind}") for kind in ("partial", "replaced"))
    try:
        temporary.mkdir(parents=True)
        yield temporary
        _require_free(target, overwrite)  # exporting takes time, in which somebody else may have written there
        if target.exists():
            target.rename(old)
        try:
            temporary.rename(target)
        except BaseException:
            if old.exists():
                old.rename(target)
            raise
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise RunError(f"{target} cannot be written: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _require_free(target: Path, overwrite: bool) -> None:
    if not os.path.lexists(target):
        return
    if target.is_symlink() or not target.is_dir():
        raise RunError(f"{target} exists and is not a folder; give another name.")
    if not overwrite:
        raise RunError(f"{target} exists; give another folder, or --overwrite to replace an export.")
    own = WEIGHTS, DESCRIPTION, headers.NAME
    foreign = sorted(p.name for p in target.iterdir() if p.name not in own and p.suffix != ".onnx")
    if foreign:
        raise RunError(f"{target} holds more than an export ({foreign[0]}) and is not replaced; give another folder.")


def is_export(folder: Path) -> bool:
    """Whether `folder` was written by `export_codec`, or claims so."""
    return os.path.lexists(folder / DESCRIPTION)


def read_export(folder: Path) -> Export:
    """Content of an export folder, of which nothing is trusted; raises RunError with one sentence.

    Memory is bounded by the size of the weights' file, and that by MAX_WEIGHTS. What it has as float16 is float32 here.
    """
    description = _read_description(folder)
    file = folder / WEIGHTS
    data = _read(file, MAX_WEIGHTS)
    if hashlib.sha256(data).hexdigest() != description["sha256"]:
        raise RunError(f"{file} is cut or altered: its SHA-256 is not the one in {DESCRIPTION}.")
    if int.from_bytes(data[:8], "little") > MAX_HEADER:
        raise RunError(f"{file} lists more tensors than any codec has.")
    try:
        state = expanded(load(data))
    except Exception as error:  # of a foreign file; the package raises errors of its own and KeyError
        raise RunError(f"{file} is not a safetensors file: {' '.join(str(error).split())[:200]}") from error
    size = max(len(data), sum(tensor.nbytes for tensor in state.values()))  # at most twice the file
    return Export(description["codec"], state, size, description["fingerprint"], description["operating_points"])


def require_same(codec: LearnedCodec, export: Export) -> None:
    """Raise RunError unless the loaded codec is the exported one: its fingerprint and its operating points."""
    if codec.fingerprint().hex() != export.fingerprint:
        raise RunError(f"its fingerprint is {codec.fingerprint().hex()}, not the one in {DESCRIPTION}.")
    if describe_points(codec) != export.points:
        raise RunError(f"its operating points are not those in {DESCRIPTION}.")


def _read_description(folder: Path) -> dict[str, Any]:
    file = folder / DESCRIPTION
    try:
        found = json.loads(_read(file, MAX_DESCRIPTION).decode())
    except (ValueError, RecursionError) as error:
        raise RunError(f"{file} is not JSON: it is cut or altered.") from error
    schema = found.get("schema") if isinstance(found, dict) else None
    if type(schema) is not int:
        raise RunError(f"{file} was not written by nic export.")
    if schema != SCHEMA:
        raise RunError(f"{file} has schema {schema}; this nic_lightning reads {SCHEMA}: install another version.")
    if found.keys() != _KEYS:
        names = ", ".join(sorted(map(str, found.keys() ^ _KEYS)))[:200]
        raise RunError(f"{file} is altered: it lacks or should not have {names}.")
    return found


def _read(file: Path, limit: int) -> bytes:
    try:
        if file.is_symlink():
            raise RunError(f"{file} is a link, which is not followed; copy the file there.")
        if not file.is_file():
            raise RunError(f"{file} is missing; give a folder that nic export wrote.")
        with file.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            data = stream.read(limit + 1) if size <= limit else b""
    except OSError as error:
        raise RunError(f"{file} cannot be read: {error.strerror}.") from error
    if size > limit or len(data) > limit:
        raise RunError(f"{file} is longer than {limit:,} bytes and was not read.")
    return data

"""A codec from a run folder, a checkpoint or an export folder, without Lightning, Hydra or W&B."""

from __future__ import annotations

import importlib
import inspect
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nic_lightning.codecs import exporting
from nic_lightning.codecs.compressai_checkpoints import from_compressai
from nic_lightning.codecs.learned import LearnedCodec
from nic_lightning.codecs.room import Room
from nic_lightning.errors import RunError, UserError
from nic_lightning.own_packages import is_own, own_packages
from nic_lightning.zoo import no_source, source_of

_ARGUMENT_TYPES = (int, float, str, bool, type(None))


_TEMPORARY = 4
"""How many times its weights a codec may allocate while it is built: initial values are made in several steps."""
_TRUSTED: set[str] = set()
_LEGACY = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"
"""How torch.save began before 1.6: a pickled magic number."""


def trust(target: str) -> None:
    """Let this process load codecs of the class `target`, which the user has just had it build from a config."""
    _TRUSTED.add(target)


def foreign_package(target: str) -> str | None:
    """The top package of a class that is neither ours nor of `own_packages`; None of a class that is."""
    module = target.rpartition(".")[0]
    return None if _known(module) else target.partition(".")[0]


def _known(module: str) -> bool:
    """Whether codecs of it are loaded: it is ours, or of a package of the user's own."""
    return module == "nic_lightning.codecs" or module.startswith("nic_lightning.codecs.") or is_own(module)


def load(name_or_path: str | Path) -> LearnedCodec:
    """Codec that is ready to `encode` and `decode`: on the CPU, in evaluation mode.

    `name_or_path` is the name of a model of the zoo, such as `nic zoo list` shows, a run folder of `nic-train`, a .ckpt
    file, a folder that `nic export` wrote, or a weight file of CompressAI; a path that exists goes before a name.
    Nothing in it is executed; see `load_codec`. Raises RunError, one sentence, where there is no codec, or a damaged
    one.
    """
    return load_codec(name_or_path)


def load_codec(path: str | Path) -> LearnedCodec:
    """Codec on the CPU in evaluation mode with the CDF tables that were stored.

    `path` is a run folder, the name of a model of the zoo, a .ckpt file, a folder that `nic export` wrote, or a weight
    file of CompressAI (of a factorised prior). Nothing in it is executed: tensors and plain values only, and the named
    class must be a `LearnedCodec` of nic_lightning.codecs or of a package of the user's own (`own_packages.py`): an
    installed one that says so, or one of the environment variable NIC_CODEC_PACKAGES (separated by commas). Raises
    RunError with the reason when that is not what the files hold.
    """
    return load_with_config(path)[0]


def load_with_config(path: str | Path) -> tuple[LearnedCodec, dict[str, Any]]:
    """`load_codec`, and the plain config that the codec was built from."""
    source = source_of(path)
    export = exporting.read_export(source) if exporting.is_export(source) else None
    if export is None:
        source = find_checkpoint(source)
        config, state, made = _codec_of(read_checkpoint(source), source)
        size = source.stat().st_size + made
    else:
        config, state, size = export.config, export.state, export.size
    try:
        codec = _built_in_room(config, state, size)
        codec.load_state_dict(state)
        for model in codec.entropy_models():
            _ = model.tables  # refuses damaged ones
        codec.eval().requires_grad_(False)
        if export is not None:
            exporting.require_same(codec, export)
    except UserError as error:
        raise RunError(f"{source} cannot be loaded: {error}") from error
    except Exception as error:  # a constructor may raise anything when its arguments come from a foreign file
        raise RunError(f"{source} does not fit the codec that it names: {reason(error)}") from error
    assert isinstance(config, dict)
    return codec, config


def config_of(path: str | Path) -> object:
    """The plain config that the codec of a run, checkpoint or export was built from, as it stands there, unchecked."""
    source = source_of(path)
    if exporting.is_export(source):
        return exporting.read_export(source).config
    source = find_checkpoint(source)
    return _codec_of(read_checkpoint(source), source)[0]


def _codec_of(checkpoint: dict[str, Any], file: Path) -> tuple[object, dict[str, Tensor], int]:
    """Codec's config and state, tables included, and bytes of tables that the file has not."""
    foreign = None if "codec" in checkpoint else from_compressai(checkpoint, file)
    if foreign is not None:
        return foreign
    description, state = checkpoint.get("codec"), checkpoint.get("state_dict")
    tables = description.get("tables", {}) if isinstance(description, dict) else None
    if not isinstance(description, dict) or not isinstance(state, dict) or not isinstance(tables, dict):
        if "lambdas" in checkpoint:  # as tasks/flow_features.py adds them
            raise RunError(
                f"{file} holds features of optical flow and no codec: nic flow FRAMES -o DIR --weights {file} uses "
                f"them, nic-evaluate flow=timcflow flow.weights={file} measures them."
            )
        raise RunError(f"{file} holds no codec; give a checkpoint that nic-train wrote.")
    return description.get("config"), _weights(checkpoint) | tables, 0


def weights_of(file: Path) -> dict[str, Tensor]:
    """State of the codec in a checkpoint, or in a weight file of CompressAI, to begin training with, unchecked."""
    checkpoint = read_checkpoint(file)
    foreign = None if "codec" in checkpoint else from_compressai(checkpoint, file)
    return foreign[1] if foreign is not None else _weights(checkpoint)


def _weights(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """A codec's state; where there is a moving average of its weights, with that."""
    state, description = (checkpoint.get(name) for name in ("state_dict", "codec"))
    average = description.get("weights") if isinstance(description, dict) else None
    state = {k: v for k, v in state.items() if isinstance(k, str)} if isinstance(state, dict) else {}
    state = {k.removeprefix("codec."): v for k, v in state.items() if k.startswith("codec.")}
    return state | (average if isinstance(average, dict) else {})


def _built_in_room(config: object, state: dict[str, Any], size: int) -> LearnedCodec:
    """The codec; UserError if it, or the file's tensors, are larger than the file's `size` in bytes can fill."""
    with Room(_TEMPORARY * size + 2**20):
        codec = build_codec(config)
    needed = sum(t.numel() for t in codec.state_dict().values())
    if needed > size or any(t.numel() > size for t in state.values()):
        raise UserError("it asks for more memory than its weights take.")
    return codec


def find_checkpoint(path: str | Path) -> Path:
    """Checkpoint of a run folder (checkpoints/last.ckpt, or the newest), or the file itself."""
    path = Path(path)
    if path.is_dir():
        last = path / "checkpoints" / "last.ckpt"
        if last.is_file():
            return last
        found = sorted((path / "checkpoints").glob("*.ckpt"), key=lambda p: p.stat().st_mtime)
        if found:
            return found[-1]
        raise RunError(f"{path} holds no checkpoint; give a run folder of nic-train (with checkpoints/last.ckpt).")
    if not path.is_file():
        raise RunError(no_source(path))
    return path


def read_checkpoint(file: Path) -> dict[str, Any]:
    """Content of a checkpoint, tensors on the CPU; raises RunError when it is damaged or holds code."""
    try:
        if not legacy(file):
            with zipfile.ZipFile(file) as archive:
                unpacked = sum(entry.file_size for entry in archive.infolist())
            if unpacked > file.stat().st_size:  # torch.save does not compress; a bomb does
                raise RunError(f"{file} is not a checkpoint of nic-train: it unpacks to more than its own size.")
        checkpoint = torch.load(file, map_location="cpu", weights_only=True)
    except RunError:
        raise
    except Exception as error:  # on damaged bytes, the unpickler and the archive's reader raise nearly anything
        raise RunError(f"{file} is not an intact checkpoint: {reason(error)}") from error
    if not isinstance(checkpoint, dict):
        raise RunError(f"{file} is not a checkpoint of nic-train.")
    return checkpoint


def legacy(file: Path) -> bool:
    """Whether a file is of the format that torch.save wrote before 1.6: weights from those days are still in use."""
    with file.open("rb") as opened:
        return opened.read(len(_LEGACY)) == _LEGACY


def reason(error: Exception) -> str:
    """What an error says, in one line; torch puts a headline above what it found."""
    text = "it is damaged" if isinstance(error, KeyError) else str(error)  # a bare key says nothing
    lines = [line.strip() for line in text.splitlines() if line.strip()] or [type(error).__name__]
    return lines[1 if lines[0].endswith(":") and len(lines) > 1 else 0][:300]


def misfit(own: Mapping[str, Tensor], other: Mapping[str, Any]) -> str | None:
    """The first tensor by which another state does not fit, in words; None where it fits. CDF tables have any size."""
    for name in sorted({*own, *other}):
        if name not in other:
            return f"{name} is missing there"
        if name not in own:
            return f"{name} has no place here"
        shapes = tuple(own[name].shape), tuple(other[name].shape)
        if shapes[0] != shapes[1] and name.rpartition(".")[2] not in ("_quantized_cdf", "_cdf_length", "_offset"):
            return f"{name} is {'x'.join(map(str, shapes[1]))} there and {'x'.join(map(str, shapes[0]))} here"
    return None


def build_codec(config: object) -> LearnedCodec:
    """Codec of a plain config {"_target_": class path, argument: value}; raises UserError for anything else.

    Arguments that a class names in `nested` are configs of codecs themselves, checked in the same way.
    """
    kind, arguments = _checked(config, nested=True)
    return kind(**arguments)


def _checked(config: object, nested: bool) -> tuple[type[LearnedCodec], dict[str, Any]]:
    """Class and arguments of a plain config; `nested`: an argument may be such a config, too."""
    if not isinstance(config, dict) or not isinstance(config.get("_target_"), str):
        raise UserError("its codec config names no class.")
    kind = _class_of(config["_target_"])
    arguments = {k: v for k, v in config.items() if not k.startswith("_")}
    for name, value in arguments.items():
        if nested and name in kind.nested:
            _checked(value, nested=False)
        elif not _is_plain(value):
            raise UserError("its codec arguments are not plain values.")
        elif name in kind.files and value is not None:
            raise UserError(f"its codec config names a file, {name}, which is for command lines alone.")
    return kind, arguments


def _class_of(target: str) -> type[LearnedCodec]:
    module, _, name = target.rpartition(".")
    if target not in _TRUSTED and foreign_package(target) is not None:
        known = ", ".join(["nic_lightning.codecs", *own_packages()])
        raise UserError(
            f"its codec {target} is outside {known}; if you trust it, put its package into the "
            "environment variable NIC_CODEC_PACKAGES."
        )
    try:
        kind = getattr(importlib.import_module(module), name, None)
    except ImportError as error:
        raise UserError(f"its codec {target} cannot be imported: {error}.") from error
    if not (inspect.isclass(kind) and issubclass(kind, LearnedCodec)):
        raise UserError(f"{target} is not a learned codec.")
    return kind


def _is_plain(value: object) -> bool:
    return isinstance(value, _ARGUMENT_TYPES) or (isinstance(value, list) and all(map(_is_plain, value)))

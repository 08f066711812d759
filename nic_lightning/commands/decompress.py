"""`nic decompress`: .nic files to PNG images."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Group, Parameter

from nic_lightning import bitstream
from nic_lightning.codecs.receiver import DECLARED, ReceiverOption
from nic_lightning.commands.each import each, none_is_usable, read_file, require_free
from nic_lightning.commands.options import Out, Overwrite
from nic_lightning.metrics.names import safe_name
from nic_lightning.runs.index.labels import require_source


def _with_receiver_options(command: Callable[..., int]) -> Callable[..., int]:
    """Put what codecs declare in the place of a command's `**receiver`; cyclopts reads signature and annotations."""
    signature = inspect.signature(command)
    own = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    for title, options in DECLARED.items():
        group = Group(title)
        for option in options:
            flag = option.type is bool
            kind = option.type if flag else option.type | None
            command.__annotations__[option.name] = Annotated[
                kind, Parameter(help=option.help, metavar=option.metavar, group=group)
            ]
            own.append(inspect.Parameter(option.name, inspect.Parameter.KEYWORD_ONLY, default=False if flag else None))
    command.__signature__ = signature.replace(parameters=own)  # pyright: ignore[reportFunctionMemberAccess]
    return command


@_with_receiver_options
def decompress(
    files: Annotated[list[Path], Parameter(name="FILE")],
    /,
    *,
    run: Annotated[Path, Parameter(metavar="RUN")],
    out: Out,
    overwrite: Overwrite = False,
    **receiver: Any,
) -> int:
    """Write a PNG for each .nic file; one that cannot be decoded is named, and the others go on.

    Args:
        files: what nic compress wrote with the same codec
        run: run folder, checkpoint file or export
        out: folder to write into
        overwrite: replace files that exist
        **receiver: what the codec declares that only a receiver has

    Examples:
        nic decompress files/photo.nic --run runs/first -o decoded
        nic decompress cat.nic --run runs/translation --domain dog --samples 4 -o dogs
    """
    require_source(run)
    if none_is_usable(files, lambda path: bitstream.unpack(read_file(path))):
        return 2
    from nic_lightning.codecs.loading import load_codec
    from nic_lightning.media.image.png import save_png

    options = [option for declared in DECLARED.values() for option in declared]
    wishes = {option.name: _value(option, receiver.get(option.name)) for option in options}
    decoding = load_codec(run).decoding(**wishes)

    def one(source: Path, target: Path) -> str:
        made = decoding.of(read_file(source))
        targets = [target.with_name(f"{source.stem}{_ending(words)}") for words in made.endings]
        for path in targets:
            require_free(path, overwrite)
        lines = []
        for path, x_hat in zip(targets, made.images, strict=True):
            save_png(x_hat[0], path)
            lines.append(f"{path}: {x_hat.shape[-2]}x{x_hat.shape[-1]}{made.note}")
        return "\n".join(lines)

    return each(files, out, _ending(decoding.ending), one, overwrite)


def _value(option: ReceiverOption, given: Any) -> Any:
    """What `decoding` takes for a value of the command line."""
    if option.type is not Path or given is None:
        return given
    from nic_lightning.data.domains import read_reference

    return partial(read_reference, given)


def _ending(words: tuple[str, ...]) -> str:
    return "".join(f".{safe_name(word)}" for word in words) + ".png"

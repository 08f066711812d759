"""`nic decompress`: .nic files to PNG images, or what else codecs give back."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Group, Parameter

from nic_lightning import bitstream
from nic_lightning.codecs.receiver import DECLARED, ReceiverOption
from nic_lightning.commands.file_by_file import each, none_is_usable, read_file, require_free
from nic_lightning.commands.options import Option, Out, Overwrite, takes
from nic_lightning.media.base import medium_of
from nic_lightning.metrics.names import safe_name
from nic_lightning.runs.index.labels import require_source


def _receiver_options() -> list[Option]:
    """What codecs declare, in groups."""
    found = []
    for title, options in DECLARED.items():
        group = Group(title)
        for option in options:
            flag = option.type is bool
            kind = option.type if flag else option.type | None
            parameter = Parameter(help=option.help, metavar=option.metavar, group=group)
            found.append(Option(option.name, Annotated[kind, parameter], False if flag else None))
    return found


@takes(_receiver_options())
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

    Of point clouds it is the probabilities of the classes as JSON; where the codec makes points, a PLY file, too.

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
    if none_is_usable(files, lambda path: bitstream.look(read_file(path))):
        return 2
    from nic_lightning.codecs.loading import load_codec

    options = [option for declared in DECLARED.values() for option in declared]
    wishes = {option.name: _value(option, receiver.get(option.name)) for option in options}
    codec = load_codec(run)
    decoding, handler = codec.decoding(**wishes), medium_of(codec).handler()

    def one(source: Path, target: Path) -> str:
        made = decoding.of(read_file(source))
        targets = [target.with_name(f"{source.stem}{_words(words)}{handler.ending}") for words in made.endings]
        for path in targets:
            require_free(path, overwrite)
        lines = []
        for path, x_hat in zip(targets, made.images, strict=True):
            for further in handler.beside(x_hat, path):
                require_free(further, overwrite)
            handler.write(x_hat, path)
            lines.append(f"{path}: {handler.size_label(x_hat)}{made.note}")
        return "\n".join(lines)

    return each(files, out, f"{_words(decoding.ending)}{handler.ending}", one, overwrite)


def _value(option: ReceiverOption, given: Any) -> Any:
    """What `decoding` takes for a value of the command line."""
    if option.type is not Path or given is None:
        return given
    from nic_lightning.data.domains import read_reference

    return partial(read_reference, given)


def _words(words: tuple[str, ...]) -> str:
    return "".join(f".{safe_name(word)}" for word in words)

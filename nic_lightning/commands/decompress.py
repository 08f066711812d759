"""`nic decompress`: .nic files to PNG images, or what else codecs give back."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Group, Parameter

from nic_lightning import bitstream
from nic_lightning.codecs.receiver import DECLARED, ReceiverOption
from nic_lightning.commands.file_by_file import each, none_is_usable, read_file, require_free, require_other
from nic_lightning.commands.models import Makers
from nic_lightning.commands.options import Option, OutOrBeside, Overwrite, takes
from nic_lightning.media.base import medium_of
from nic_lightning.media.handling import Handler
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
    run: Annotated[Path | None, Parameter(metavar="RUN")] = None,
    out: OutOrBeside = None,
    overwrite: Overwrite = False,
    **receiver: Any,
) -> int:
    """Write a PNG for each .nic file; one that cannot be decoded is named, and the others go on.

    Without --run each file is decoded by the model of the zoo that wrote it. Without --out the result of photo.nic is
    photo.png beside it, or photo.decoded.png where there is a photo.png, which may be the original and is left alone.
    Of point clouds it is the probabilities of the classes as JSON; where the codec makes points, a PLY file, too.

    Args:
        files: what nic compress wrote with the same codec
        run: run folder, checkpoint file, export, or the name of a model of the zoo
        out: folder to write into (default: beside each file)
        overwrite: replace files that exist; beside the file NAME.decoded.png, and never NAME.png
        **receiver: what the codec declares that only a receiver has

    Examples:
        nic decompress photo.nic
        nic decompress files/photo.nic --run runs/first -o decoded
        nic decompress cat.nic --run runs/translation --domain dog --samples 4 -o dogs
    """
    if run is not None:
        require_source(run)
    if none_is_usable(files, lambda path: bitstream.look(read_file(path))):
        return 2
    options = [option for declared in DECLARED.values() for option in declared]
    wishes = {option.name: _value(option, receiver.get(option.name)) for option in options}
    makers, written = Makers(run), set[Path]()
    if run is not None:
        makers.of(b"").decoding(**wishes)  # what is wrong with a run or its options is said once, and not of each file

    def one(source: Path, target: Path) -> str:
        data = read_file(source)
        codec = makers.of(data)
        handler, decoding = medium_of(codec).handler(), codec.decoding(**wishes)
        beside = out is None or out.resolve() == source.parent.resolve()
        stem = _free_stem(source, decoding.ending, handler) if beside else source.stem

        def named(words: tuple[str, ...]) -> Path:
            return target.with_name(f"{stem}{_words(words)}{handler.ending}")

        require_other(named(decoding.ending), written)
        require_free(named(decoding.ending), overwrite)  # before it is decoded
        made = decoding.of(data)
        targets = [named(words) for words in made.endings]
        for path in targets:
            require_free(path, overwrite)
        lines = []
        for path, x_hat in zip(targets, made.images, strict=True):
            for further in handler.beside(x_hat, path):
                require_free(further, overwrite)
            handler.write(x_hat, path)
            lines.append(f"{path}: {handler.size_label(x_hat)}{made.note}")
        written.update(targets)
        return "\n".join(lines)

    return each(files, out, "", one, overwrite, own_names=True)


def _free_stem(source: Path, ending: tuple[str, ...], handler: Handler) -> str:
    """What results beside a file are called: as the file, or NAME.decoded where something of that name is there."""
    suffixes = [f"{_words(ending)}{handler.ending}"]
    suffixes += [handler.original_ending] if handler.original_ending is not None else []
    taken = any(source.with_name(f"{source.stem}{suffix}").exists() for suffix in suffixes)
    return f"{source.stem}.decoded" if taken else source.stem


def _value(option: ReceiverOption, given: Any) -> Any:
    """What `decoding` takes for a value of the command line."""
    if option.type is not Path or given is None:
        return given
    from nic_lightning.data.domains import read_reference

    return partial(read_reference, given)


def _words(words: tuple[str, ...]) -> str:
    return "".join(f".{safe_name(word)}" for word in words)

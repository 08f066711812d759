"""`nic decompress`: .nic files to PNG images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Group, Parameter

from nic_lightning import bitstream
from nic_lightning.commands.each import each, none_is_usable, read_file, require_free
from nic_lightning.commands.options import Out, Overwrite
from nic_lightning.runs.labels import require_source

if TYPE_CHECKING:
    from torch import Tensor

_STYLE = Group("Files of a translation codec (codec=i2icodec, codec=ui2icodec)")


def decompress(
    files: Annotated[list[Path], Parameter(name="FILE")],
    /,
    *,
    run: Annotated[Path, Parameter(metavar="RUN")],
    out: Out,
    layers: Annotated[int | None, Parameter(metavar="K")] = None,
    progressive: bool = False,
    domain: Annotated[str | None, Parameter(metavar="NAME", group=_STYLE)] = None,
    reference: Annotated[Path | None, Parameter(metavar="IMAGE", group=_STYLE)] = None,
    seed: Annotated[int | None, Parameter(metavar="N", group=_STYLE)] = None,
    samples: Annotated[int | None, Parameter(metavar="K", group=_STYLE)] = None,
    overwrite: Overwrite = False,
) -> int:
    """Write a PNG for each .nic file; one that cannot be decoded is named, and the others go on.

    Args:
        files: what nic compress wrote with the same codec
        run: run folder, checkpoint file or export
        out: folder to write into
        layers: of layered files (codec=scalable): only the first K
        progressive: one PNG for each layer: NAME.layers1.png, ...
        domain: translate into this domain; autoencoded files have none
        reference: in the style of this image of the domain, about square
        seed: in random styles that follow from N (default: 0)
        samples: K random styles: NAME.DOMAIN.1.png, NAME.DOMAIN.2.png, ...
        overwrite: replace files that exist

    Examples:
        nic decompress files/photo.nic --run runs/first -o decoded
        nic decompress cat.nic --run runs/translation --domain dog --samples 4 -o dogs
    """
    require_source(run)
    if none_is_usable(files, lambda path: bitstream.unpack(read_file(path))):
        return 2
    from nic_lightning.codecs.loading import load_codec
    from nic_lightning.codecs.scalable import ScalableAutoencoder
    from nic_lightning.commands.styles import styles_of, translate

    codec = load_codec(run)
    styles = styles_of(codec, domain=domain, reference=reference, seed=seed, samples=samples)
    if styles is not None:
        return translate(codec, files, out, styles, overwrite)

    def one(source: Path, target: Path) -> str:
        data = read_file(source)
        if layers is not None:
            data = bitstream.truncate(data, layers)
        encoded, point = codec.unpack(data)  # refuses it before an image is written
        if not progressive:
            return _write_image(codec.decompress(encoded, point), target)
        counts = range(1, bitstream.count_layers(bitstream.unpack(data)) + 1)
        assert isinstance(codec, ScalableAutoencoder)
        targets = [target.with_name(f"{source.stem}.layers{count}.png") for count in counts]
        for path in targets:
            require_free(path, overwrite)
        pictures = codec.refinements(encoded, point)
        return "\n".join(_write_image(x_hat, path) for x_hat, path in zip(pictures, targets, strict=True))

    return each(files, out, ".layers1.png" if progressive else ".png", one, overwrite)


def _write_image(x_hat: Tensor, target: Path) -> str:
    from nic_lightning.metrics.evaluation import save_png

    save_png(x_hat[0], target)
    return f"{target}: {x_hat.shape[-2]}x{x_hat.shape[-1]}"

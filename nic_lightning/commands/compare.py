"""`nic compare`: a photograph beside JPEG, WebP and AVIF of the same size, as a page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from nic_lightning.commands.file_by_file import require_free
from nic_lightning.commands.models import default_for
from nic_lightning.commands.options import Overwrite, whole_numbers
from nic_lightning.errors import UserError
from nic_lightning.media.base import DEFAULT, find_medium, medium_of
from nic_lightning.runs.index.labels import require_source
from nic_lightning.runs.index.owner import refuse_record
from nic_lightning.runs.record.files import write_atomically

MOST = 6


def compare(
    photo: Annotated[Path, Parameter(name="PHOTO")],
    /,
    *,
    out: Annotated[Path, Parameter(name=("--out", "-o"), metavar="FILE")],
    run: Annotated[Path | None, Parameter(metavar="RUN")] = None,
    qualities: Annotated[tuple[int, ...], Parameter(metavar="A,B,...", converter=whole_numbers, n_tokens=1)] = (
        15,
        50,
        85,
    ),
    overwrite: Overwrite = False,
) -> None:
    """Write a page that shows a photograph at several rates, beside JPEG, WebP and AVIF with files as large.

    The page is one file that opens without a network: two pictures under a slider, sizes, PSNR and MS-SSIM. Of a
    large photograph it shows a window of the middle, at full resolution; numbers are of the whole.

    Args:
        photo: an image, as nic compress takes it
        out: HTML file to write
        run: run folder, checkpoint file, export, or the name of a model of the zoo (default: the zoo's for images)
        qualities: of the codec, from 1 to 100
        overwrite: replace the page if it exists

    Examples:
        nic compare photo.jpg -o page.html
        nic compare photo.jpg --run runs/modulated --qualities 10,30,60,90 -o page.html

    Raises:
        UserError: there is no such photograph or codec, or the codec is not one of images.
    """
    if not 1 <= len(qualities) <= MOST or not all(1 <= quality <= 100 for quality in qualities):
        raise UserError(f"--qualities are 1 to {MOST} whole numbers from 1 to 100, such as 15,50,85.")
    require_free(out, overwrite)
    refuse_record(out)
    find_medium(DEFAULT).look(photo)
    if run is not None:
        require_source(run)
    source = default_for([photo]).folder if run is None else run
    from nic_lightning.codecs.loading import load_codec
    from nic_lightning.media.image.memory import to_pixels
    from nic_lightning.metrics.side_by_side import CLASSIC, side_by_side
    from nic_lightning.report.page.photo import photo_page

    codec = load_codec(source)
    codec.require_files()
    medium = medium_of(codec)
    if medium.name != DEFAULT or codec.translates:
        raise UserError(f"nic compare is for codecs that give back an image; codec {codec.name} does not.")
    x, changes = medium.handler().read(photo)
    name = str(source.name if run is None else run)
    notes = [f"By {name}, codec {codec.name}.", *(f"{change[0].upper()}{change[1:]}." for change in changes)]
    rates = list(side_by_side(codec, name, x, sorted(set(qualities))))
    page = photo_page(f"{photo.name} beside {', '.join(CLASSIC)}", to_pixels(x[0]), rates, notes)
    write_atomically(out, page)
    print(f"{out}: {len(page) / 1e6:.1f} MB, {len(rates)} rates of {photo}")

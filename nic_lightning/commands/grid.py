"""`nic grid`: pictures of translations, of one run or of several."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from nic_lightning.commands.file_by_file import require_free
from nic_lightning.commands.options import Out, Overwrite
from nic_lightning.errors import UserError
from nic_lightning.metrics.names import safe_name
from nic_lightning.runs.index.index import read_run
from nic_lightning.runs.index.labels import require_source

if TYPE_CHECKING:
    from nic_lightning.codecs.translation import I2ICodec
    from nic_lightning.metrics.grids import Picture
    from nic_lightning.metrics.translation import TranslationEvaluator

MAX_SOURCES = 64


def grid(
    runs: Annotated[list[Path], Parameter(name="RUN")],
    /,
    *,
    images: Annotated[str, Parameter(metavar="DIR")],
    out: Out,
    sources: Annotated[int, Parameter(metavar="N")] = 4,
    seed: Annotated[int, Parameter(metavar="N")] = 0,
    overwrite: Overwrite = False,
) -> None:
    """Draw pictures of translations, as PNG files.

    Of one run: its outputs in random styles and in those of references, latent_DOMAIN and reference_DOMAIN. Of several:
    what each makes of the same images in the same style, and at what rate, rate_DOMAIN. Sources are the first images of
    each other domain; the reference of several runs is the first of DOMAIN. With -o RUN/figures/translation the report
    shows them.

    Args:
        runs: run folder, checkpoint file or export
        images: folder that holds a folder for each domain
        out: folder to write into
        sources: source images
        seed: of the random styles
        overwrite: replace files that exist

    Examples:
        nic grid runs/translation --images data/afhq/val -o runs/translation/figures/translation

    Raises:
        UserError: a run does not translate, or runs differ in domains or size.
        DataError: the images are missing.
    """
    for run in runs:
        require_source(run)
    from nic_lightning.callbacks.translation_evaluation import grids, save_picture, system_of
    from nic_lightning.data.domains import DomainFolders
    from nic_lightning.metrics.translation import TranslationEvaluator

    if not 1 <= sources <= MAX_SOURCES:
        raise UserError(f"--sources is {sources}; it can be 1 to {MAX_SOURCES}.")
    codecs = [_translation(run) for run in runs]
    first = codecs[0]
    for run, codec in zip(runs, codecs, strict=True):
        if (codec.domains, codec.size) != (first.domains, first.size):
            known = f"{', '.join(first.domains)} at {first.size} pixels"
            raise UserError(f"{run} and {runs[0]} do not compare: only the latter translates among {known}.")
    folders = DomainFolders(images, domains=list(first.domains), least=1)
    evaluator = TranslationEvaluator(folders, folders, first.size, seed=seed)
    systems = [system_of(codec, name) for codec, name in zip(codecs, _names(runs), strict=True)]
    made = grids(systems[0], evaluator, sources) if len(runs) == 1 else dict(_levers(systems, evaluator, sources))
    paths = [out / f"{safe_name(title)}.png" for title in made]
    for path in paths:
        require_free(path, overwrite)
    for path, picture in zip(paths, made.values(), strict=True):
        save_picture(picture, path)
        print(path)


def _levers(systems: list, evaluator: TranslationEvaluator, count: int) -> Iterator[tuple[str, Picture]]:
    import torch

    from nic_lightning.callbacks.translation_evaluation import images_of
    from nic_lightning.metrics.grids import lever_grid

    for target, domain in enumerate(evaluator.domains):
        others = [d for d in range(len(evaluator.domains)) if d != target]
        sources = images_of(evaluator, others, -(-count // len(others)))[:count]
        reference = images_of(evaluator, [target], 1)[0]
        with torch.no_grad():
            picture = lever_grid(systems, sources, reference, domain)
        yield f"rate_{domain}", picture


def _translation(run: Path) -> I2ICodec:
    from nic_lightning.codecs.loading import load_codec
    from nic_lightning.codecs.translation import as_translation

    problem = f"The codec of {run} does not translate; nic grid is for codec=i2icodec and codec=ui2icodec."
    return as_translation(load_codec(run), problem)


def _names(runs: Sequence[Path]) -> list[str]:
    """What the columns are called: with the paths of runs that share a name."""
    names = [_name(run) for run in runs]
    return [str(run) if names.count(name) > 1 else name for run, name in zip(runs, names, strict=True)]


def _name(run: Path) -> str:
    if not run.is_dir():
        return run.stem
    found = read_run(run)
    return str((found.config or {}).get("name") or found.name)

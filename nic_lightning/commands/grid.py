"""`nic grid`: pictures of what one translation codec makes of images, or of what several do at their rates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from nic_lightning.callbacks.translation_evaluation import grids, images_of, save_picture, system_of
from nic_lightning.codecs.loading import load_codec
from nic_lightning.codecs.translation import I2ICodec
from nic_lightning.commands.each import require_free
from nic_lightning.data.domains import DomainFolders
from nic_lightning.errors import UserError
from nic_lightning.metrics.grids import Picture, lever_grid
from nic_lightning.metrics.names import safe_name
from nic_lightning.metrics.translation import TranslationEvaluator
from nic_lightning.runs.index.index import read_run

MAX_SOURCES = 64


def grid(runs: list[Path], images: str, out: Path, *, sources: int, seed: int, overwrite: bool) -> None:
    """Write PNGs into `out`: of one run latent_DOMAIN and reference_DOMAIN, of several rate_DOMAIN.

    `images` is a folder of domains; sources are the first of each other domain, the reference of the last the first
    of DOMAIN.

    Raises:
        UserError: a run does not translate, or runs differ in domains or size.
        DataError: the images are missing.
    """
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


@torch.no_grad()
def _levers(systems: list, evaluator: TranslationEvaluator, count: int) -> Iterator[tuple[str, Picture]]:
    for target, domain in enumerate(evaluator.domains):
        others = [d for d in range(len(evaluator.domains)) if d != target]
        sources = images_of(evaluator, others, -(-count // len(others)))[:count]
        reference = images_of(evaluator, [target], 1)[0]
        yield f"rate_{domain}", lever_grid(systems, sources, reference, domain)


def _translation(run: Path) -> I2ICodec:
    codec = load_codec(run)
    if not isinstance(codec, I2ICodec):
        raise UserError(f"The codec of {run} does not translate; nic grid is for codec=i2icodec and codec=ui2icodec.")
    return codec


def _names(runs: Sequence[Path]) -> list[str]:
    """What the columns are called: with the paths of runs that share a name."""
    names = [_name(run) for run in runs]
    return [str(run) if names.count(name) > 1 else name for run, name in zip(runs, names, strict=True)]


def _name(run: Path) -> str:
    if not run.is_dir():
        return run.stem
    found = read_run(run)
    return str((found.config or {}).get("name") or found.name)

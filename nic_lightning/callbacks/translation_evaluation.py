"""Measure a codec that translates, and others that compress before or after it; keep what was found in its run."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nic_lightning.baselines.translation import (
    CompressThenTranslate,
    TranslateThenCompress,
    TranslationCodec,
    TranslationSystem,
    Uncompressed,
    coded,
)
from nic_lightning.callbacks.chosen import classic_codecs, points_of
from nic_lightning.callbacks.results_table import Row
from nic_lightning.codecs.base import ImageCodec, OperatingPoint
from nic_lightning.codecs.learned import is_learned
from nic_lightning.codecs.loading import load_codec
from nic_lightning.codecs.translation import I2ICodec, as_translation
from nic_lightning.data.domains import DomainFolders, resized
from nic_lightning.errors import UserError
from nic_lightning.media.image.memory import to_tensor
from nic_lightning.metrics.extractors import load_extractor
from nic_lightning.metrics.grids import Picture, latent_grid, reference_grid
from nic_lightning.metrics.lpips import load_lpips
from nic_lightning.metrics.names import safe_name
from nic_lightning.metrics.translation import TranslationEvaluator
from nic_lightning.runs.record.files import write_atomically
from nic_lightning.runs.record.translation import GRIDS, Unfinished, write_translation
from nic_lightning.zoo import source_of

_TRIED = 4
"""Source images of each domain whose rates choose a codec's point."""
_COLUMNS = 6
"""Styles in a picture, beside the sources."""


@dataclass(frozen=True)
class TranslationWishes:
    """What `translation` in conf/evaluate.yaml says, with data root and weights of LPIPS."""

    train: str | None
    validation: str | None
    extractors: Sequence[str] = ()
    through: Sequence[str] = ()
    outputs: int = 10
    batch_size: int = 32
    limit: int | None = None
    seed: int = 0
    sources: int = 4
    root: str | None = None
    lpips: str | None = None


def translate_into_run(
    codec: ImageCodec,
    folder: Path,
    name: str,
    wishes: TranslationWishes,
    *,
    device: str = "cpu",
    progress: Callable[[str, str, str, str], None] | None = None,
) -> list[Row]:
    """Rows of `codec`, of each codec of `through` before and after it, and of real images; into `folder`.

    Before and after, its networks translate content that is neither rounded nor coded.
    They are written to translation.json, those of each system when it is done, and pictures of the codec to
    figures/translation. One that was stopped goes on where it was: what the same codecs and wishes measured is kept.
    `progress` is that of `TranslationEvaluator`.

    Raises:
        UserError: the codec does not translate, or a wish makes no sense.
        DataError: folders or weights are missing.
    """
    codec = as_translation(codec, f"Codec {codec.name} does not translate: leave translation.validation out.")
    own = system_of(codec, name)
    if wishes.train is None or wishes.validation is None:
        raise UserError("Translations are compared with real images: give translation.train and .validation, both.")
    train, validation = (
        DomainFolders(part, wishes.root, list(codec.domains), least=1) for part in (wishes.train, wishes.validation)
    )
    evaluator = TranslationEvaluator(
        train,
        validation,
        codec.size,
        extractors=[load_extractor(one) for one in wishes.extractors],
        lpips=load_lpips(wishes.lpips),
        outputs=wishes.outputs,
        seed=wishes.seed,
        batch_size=wishes.batch_size,
        limit=wishes.limit,
        device=device,
        progress=progress,
    )
    codec.to(device).eval()
    systems = [own, *_through(own, wishes.through, evaluator)]
    about = {"train": wishes.train, "validation": wishes.validation, "size": codec.size, "seed": wishes.seed}
    unfinished = evaluator.memory = Unfinished(folder, _origin(systems, wishes, evaluator))
    rows: list[Row] = []
    for measured in (*(partial(evaluator.evaluate, system) for system in systems), evaluator.real):
        rows += [row | about for row in measured()]
        write_translation(folder, rows)
    _save(grids(own, evaluator, wishes.sources), folder)
    unfinished.done()
    return rows


def _origin(
    systems: Sequence[TranslationSystem], wishes: TranslationWishes, evaluator: TranslationEvaluator
) -> list[Any]:
    """What rows follow from, as plain values."""
    codecs = [codec for one in systems for codec in (one.networks, getattr(one, "codec", None))]
    prints = [codec.fingerprint().hex() for codec in codecs if is_learned(codec)]
    folders = (evaluator.train, evaluator.validation)
    counts = [len(images) for one in folders for images in one.images]
    wanted = {key: list(value) if isinstance(value, Sequence) else value for key, value in asdict(wishes).items()}
    return [prints, counts, evaluator.lpips is not None, wanted]


def draw_into_run(codec: ImageCodec, folder: Path, name: str, images: str, root: str | None = None) -> dict[str, Path]:
    """Pictures of a codec's translations of `images`, a folder of domains, by name, in figures/translation.

    Raises UserError for a codec that does not translate.
    """
    codec = as_translation(codec, f"Codec {codec.name} does not translate: there is nothing to draw.")
    folders = DomainFolders(images, root, list(codec.domains), least=1)
    return _save(grids(system_of(codec.eval(), name), TranslationEvaluator(folders, folders, codec.size), 4), folder)


def _save(made: Mapping[str, Picture], folder: Path) -> dict[str, Path]:
    paths = {title: folder / GRIDS / f"{safe_name(title)}.png" for title in made}
    for title, path in paths.items():
        save_picture(made[title], path)
    return paths


def system_of(codec: I2ICodec, name: str) -> TranslationSystem:
    """A codec through real files; one that was trained without rounding has none, it is plain StarGAN v2.

    Raises UserError for a half, which cannot do both.
    """
    if codec.side != "both":
        raise UserError(f"{name} is the {codec.side}'s half of a codec; its translations are measured with both.")
    return TranslationCodec(codec, name) if codec.makes_files else Uncompressed(codec, name)


@torch.no_grad()
def grids(system: TranslationSystem, evaluator: TranslationEvaluator, count: int) -> dict[str, Picture]:
    """Pictures into each domain, `latent_<domain>` and `reference_<domain>`, of the first sources of the others."""
    made = {}
    for target, domain in enumerate(evaluator.domains):
        others = [d for d in range(len(evaluator.domains)) if d != target]
        sources = images_of(evaluator, others, -(-count // len(others)))[:count]
        if not len(sources):
            continue
        made[f"latent_{domain}"] = latent_grid(system, sources, domain, _COLUMNS, evaluator.seed)
        references = images_of(evaluator, [target], _COLUMNS)
        made[f"reference_{domain}"] = reference_grid(system, sources, references, domain)
    return made


def images_of(evaluator: TranslationEvaluator, domains: Sequence[int], count: int) -> Tensor:
    """The first validation images of some domains, (N, 3, size, size) in [0, 1]."""
    found = []
    for domain in domains:
        images = evaluator.validation.images[domain]
        found += [to_tensor(resized(images.pixels(i), evaluator.size)) for i in range(min(count, len(images)))]
    empty = torch.zeros(0, 3, evaluator.size, evaluator.size)
    return (torch.stack(found) if found else empty).to(evaluator.device)


def save_picture(picture: Picture, path: Path) -> None:
    """A PNG, whole or not at all."""
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    write_atomically(path, buffer.getvalue())


def _through(own: TranslationSystem, names: Sequence[str], evaluator: TranslationEvaluator) -> list[TranslationSystem]:
    """Each codec NAME or NAME@POINT, classic or the run of a learned one, before and after translation."""
    systems: list[TranslationSystem] = []
    for text in names:
        name, _, label = text.partition("@")
        codec = load_codec(name) if source_of(name).is_dir() else classic_codecs([name])[0]
        point = (points_of(codec, [label]) or [])[0] if label else _nearest(codec, own, evaluator)
        for made in (
            CompressThenTranslate(own.networks, codec, point),
            TranslateThenCompress(own.networks, codec, point),
        ):
            if any(made.name == other.name for other in systems):  # another run of the same codec and point
                made.name = f"{made.name} ({text})"
            systems.append(made)
    return systems


def _nearest(codec: ImageCodec, own: TranslationSystem, evaluator: TranslationEvaluator) -> OperatingPoint:
    """The point whose files of a few source images are nearest in rate to those of the translation codec."""
    images = images_of(evaluator, range(len(evaluator.domains)), _TRIED)
    sent = [own.send(x).bits for x in images.split(1)]
    if None in sent:
        raise UserError(f"{own.name} makes no files whose rate could be met: name a point, such as {codec.name}@POINT.")
    target = sum(filter(None, sent))
    points = [p for p in codec.operating_points if not is_learned(codec) or codec.reconstructs(p)]
    if not points:
        raise UserError(f"Codec {codec.name} does not reconstruct images; name another one in translation.through.")
    spent = {p: 8 * sum(len(coded(codec, x, p)) for x in images.split(1)) for p in points}
    return min(points, key=lambda p: abs(math.log(spent[p] / target)))

"""Translation measured as in StarGAN v2: each domain into each other one, in drawn styles and those of references.

Choi et al. 2020, appendix C; thesis section 4.5. For each ordered pair of domains every validation image of the source
is translated in 10 styles. Outputs, 8 bits, are compared with all training images of the target; outputs as they are
give the diversity. Where this differs from the released evaluation: sources are not shuffled, noise and references
follow from (seed, task, image, output), so that neither batch size, order nor the number of ranks changes a value; and
references are dealt out evenly, also where there are fewer than a batch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from nic_lightning.baselines.translation import Sent, TranslationSystem
from nic_lightning.data.domains import DomainFolders, resized
from nic_lightning.errors import UserError
from nic_lightning.media.image.memory import to_tensor
from nic_lightning.metrics.diversity import LpipsDiversity
from nic_lightning.metrics.judge import FeatureJudge
from nic_lightning.metrics.lpips import LpipsAlex
from nic_lightning.metrics.over_ranks import summed

OUTPUTS = 10
GUIDES = ("latent", "reference")
REAL = "real images"
"""Stands for a system in the rows that compare validation images with training images."""
_FEW = 1000
"""Fewer outputs or images than that, and a note says so; StarGAN v2 has 5,000 outputs a task or more."""
Row = dict[str, Any]


class Memory(Protocol):
    """Rows of an evaluation that was stopped."""

    def find(self, *task: str | None) -> Row | None:
        """The row of a task (system, guide, source, target), if it was measured."""
        ...

    def keep(self, row: Row) -> None:
        """A task was measured."""
        ...


@dataclass
class TranslationEvaluator:
    """Rows of a table of translations for any system, one for each task and guide.

    Real images are looked at once, when the first system is measured. A row has the task (`system`, `guide`, `source`,
    `target`), how many images it is of (`images`, `outputs`, `real`), `bpp`, `lpips_diversity`, and for each extractor
    `fid_`, `kid_` and `accuracy_` with its name; `note` says what to doubt. The evaluator is no module and must not be
    put into one: it holds networks that no checkpoint needs.

    Args:
        train: real images to compare with.
        validation: sources and references, of the same domains.
        size: side in pixels to which all images are resized.
        extractors: as `metrics/extractors.py` has them; each counts apart, under its own name.
        lpips: as `load_lpips` gives it; None leaves the diversity out.
        outputs: styles for each source image, 2 or more.
        seed: noise and references follow from it.
        batch_size: images that a network sees at once.
        limit: source images of each domain; None: all.
        device: where networks run.
        rank, ranks: image i of a domain is measured by rank i modulo ranks; all ranks get all rows.
        progress: called with system, guide, source and target after each task that is measured.
        memory: tasks that it knows are not measured again.
    """

    train: DomainFolders
    validation: DomainFolders
    size: int
    extractors: Sequence[nn.Module] = ()
    lpips: LpipsAlex | None = None
    outputs: int = OUTPUTS
    seed: int = 0
    batch_size: int = 32
    limit: int | None = None
    device: str | torch.device = "cpu"
    rank: int = 0
    ranks: int = 1
    progress: Callable[[str, str, str, str], None] | None = None
    memory: Memory | None = None
    _judges: list[FeatureJudge] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.train.domains != self.validation.domains:
            theirs = ", ".join(self.validation.domains)
            raise UserError(f"Training images are of {', '.join(self.train.domains)}, validation images of {theirs}.")
        if self.outputs < 2 or self.batch_size < 1:
            raise UserError(f"{self.outputs} outputs in batches of {self.batch_size}: give 2 and 1 at least.")
        self.domains = self.train.domains
        self._diversity = LpipsDiversity(self.lpips).to(self.device) if self.lpips is not None else None

    def evaluate(self, system: TranslationSystem, guides: Sequence[str] = GUIDES) -> list[Row]:
        """Rows of a system. Raises UserError where its domains or its size are others."""
        networks = system.networks.to(self.device).eval()
        if list(networks.domains) != self.domains or networks.size != self.size:
            raise UserError(
                f"{system.name} translates among {', '.join(networks.domains)} at {networks.size} pixels; the images "
                f"are of {', '.join(self.domains)} at {self.size}."
            )
        rows, sender, styles = [], _Sender(self, system), cache(partial(self._reference_styles, system))
        for target, name in enumerate(self.domains):
            for source, origin in enumerate(self.domains):
                for guide in guides if source != target else ():
                    row = self._known(system.name, guide, origin, name)
                    if row is None:
                        task = _Task(self, sender, self._settled(), guide, source, target, styles(target))
                        row = self._keep(task.row())
                        if self.progress is not None:
                            self.progress(system.name, guide, origin, name)
                    rows.append(row)
        return rows

    def real(self) -> list[Row]:
        """How far validation images are from training images of their own domain: what no translation can beat."""
        return [
            self._known(REAL, None, name, name) or self._keep(self._real(domain, name))
            for domain, name in enumerate(self.domains)
        ]

    def _real(self, domain: int, name: str) -> Row:
        judges = self._settled()
        for pixels in self._batches(self.validation, domain, None):
            for judge in judges:
                judge.add(pixels.to(self.device), domain)
        count = len(self.validation.images[domain])
        row = {"system": REAL, "guide": None, "source": name, "target": name, "images": count, "outputs": count}
        return self._completed(row, judges, domain)

    def _known(self, *task: str | None) -> Row | None:
        return None if self.memory is None else self.memory.find(*task)

    def _keep(self, row: Row) -> Row:
        if self.memory is not None:
            self.memory.keep(row)
        return row

    def count(self, domain: int) -> int:
        """Source images of a domain."""
        there = len(self.validation.images[domain])
        return there if self.limit is None else min(self.limit, there)

    def indices(self, domain: int) -> range:
        """Source images that are this rank's."""
        return range(self.rank, self.count(domain), self.ranks)

    def _completed(self, row: Row, judges: list[FeatureJudge], target: int) -> Row:
        notes = []
        for judge in judges:
            values, doubts = judge.result(target)
            row |= values
            notes += doubts
        row["real"] = len(self.train.images[target])
        if row["outputs"] < _FEW:
            notes.append(f"{row['outputs']} outputs are few: published values are of 5,000 and more.")
        if self.train.folder.resolve() == self.validation.folder.resolve():
            notes.append("Sources are among the real images that outputs are compared with.")
        return row | {"note": " ".join(notes) or None}

    def _settled(self) -> list[FeatureJudge]:
        if not self._judges:
            judges = [FeatureJudge(one, len(self.domains), self.device) for one in self.extractors]
            for domain in range(len(self.domains) if judges else 0):
                for pixels in self._batches(self.train, domain, None):
                    for judge in judges:
                        judge.add_real(pixels.to(self.device), domain)
            for judge in judges:
                judge.settle()
            self._judges = judges
        return self._judges

    def _batches(self, folders: DomainFolders, domain: int, count: int | None) -> Iterator[Tensor]:
        """This rank's images of a domain, uint8 (N, 3, size, size)."""
        images = folders.images[domain]
        indices = range(self.rank, len(images) if count is None else count, self.ranks)
        for start in range(0, len(indices), self.batch_size):
            pictures = [resized(images.pixels(i), self.size) for i in indices[start : start + self.batch_size]]
            yield torch.stack([torch.from_numpy(p.copy()) for p in pictures]).permute(0, 3, 1, 2)

    @torch.no_grad()
    def _reference_styles(self, system: TranslationSystem, target: int) -> Tensor:
        """Styles (n, style_dim) of all validation images of a domain, the same on all ranks."""
        images, name, found = self.validation.images[target], self.domains[target], []
        for start in range(0, len(images), self.batch_size):
            part = range(start, min(start + self.batch_size, len(images)))
            batch = torch.stack([to_tensor(resized(images.pixels(i), self.size)) for i in part])
            found.append(system.networks.reference_styles(name, batch.to(self.device)))
        return torch.cat(found)


class _Sender:
    """What a system sends for each source image; files are made once, anything larger for each task anew."""

    def __init__(self, evaluator: TranslationEvaluator, system: TranslationSystem) -> None:
        self.evaluator, self.system = evaluator, system
        self._files: dict[tuple[int, int], Sent] = {}

    def send(self, domain: int, index: int) -> Sent:
        """The image `index` of a domain."""
        if (domain, index) in self._files:
            return self._files[domain, index]
        pixels = self.evaluator.validation.images[domain].pixels(index)
        sent = self.system.send(to_tensor(resized(pixels, self.evaluator.size))[None].to(self.evaluator.device))
        if isinstance(sent.content, bytes):
            self._files[domain, index] = sent
        return sent


@dataclass
class _Task:
    """All source images of a domain into another one, guided in one way."""

    evaluator: TranslationEvaluator
    sender: _Sender
    judges: list[FeatureJudge]
    guide: str
    source: int
    target: int
    references: Tensor

    def row(self) -> Row:
        """Translate and measure."""
        own, bits, files = self.evaluator, 0, 0
        for index in own.indices(self.source):
            sent = self.sender.send(self.source, index)
            outputs, spent = self._outputs(sent, self._styles(index))
            bits += (sent.bits or 0) + (spent or 0)
            files += (sent.bits is not None) + (0 if spent is None else own.outputs)
            if own._diversity is not None:
                own._diversity.update(outputs)
            pixels = to_8_bits(outputs)
            for judge in self.judges:
                for part in pixels.split(own.batch_size):
                    judge.add(part, self.target)
        return self._row(bits, files)

    def _row(self, bits: int, files: int) -> Row:
        own = self.evaluator
        count = own.count(self.source)
        row: Row = {"system": self.sender.system.name, "guide": self.guide}
        row |= {"source": own.domains[self.source], "target": own.domains[self.target]}
        row |= {"images": count, "outputs": count * own.outputs}
        total, number = summed(bits, files)
        row["bpp"] = total / number / own.size**2 if number else None
        if own._diversity is not None:
            row["lpips_diversity"] = float(own._diversity.compute())
            own._diversity.reset()
        return own._completed(row, self.judges, self.target)

    def _outputs(self, sent: Sent, styles: Tensor) -> tuple[Tensor, int | None]:
        parts = [self.sender.system.receive(sent, part) for part in styles.split(self.evaluator.batch_size)]
        spent = [part.bits for part in parts if part.bits is not None]
        return torch.cat([part.images for part in parts]).float(), sum(spent) if spent else None

    def _styles(self, index: int) -> Tensor:
        """Styles (outputs, style_dim) of one source image."""
        own, networks = self.evaluator, self.sender.system.networks
        if self.guide == "reference":
            first = index * own.outputs
            chosen = [self._reference(first + k) for k in range(own.outputs)]
            return self.references[chosen]
        key = f"{own.seed}/{own.domains[self.source]}/{own.domains[self.target]}/{index}"
        noise = [torch.randn(networks.latent_dim, generator=generator(f"{key}/{k}")) for k in range(own.outputs)]
        labels = torch.full((own.outputs,), self.target, device=own.device)
        with torch.no_grad():
            return networks.mapping(torch.stack(noise).to(own.device), labels)

    def _reference(self, place: int) -> int:
        """Which reference the output at `place` gets: all of them in turn, shuffled anew each time round."""
        count = len(self.references)
        turn = f"{self.evaluator.seed}/{self.source}/{self.target}/turn {place // count}"
        return int(torch.randperm(count, generator=generator(turn))[place % count])


def to_8_bits(images: Tensor) -> Tensor:
    """uint8 images, rounded, of images that may leave [0, 1]."""
    return images.clamp(0, 1).mul(255).round().byte()


def generator(key: str) -> torch.Generator:
    """Random numbers that follow from the key, on any device and rank."""
    digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") % 2**63)

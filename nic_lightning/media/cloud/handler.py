"""Point clouds: files to tensors (1, P, 3) and back, and how far a decision is from the truth."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nic_lightning.media.cloud import ply
from nic_lightning.media.cloud.chamfer import chamfer_distance
from nic_lightning.media.cloud.files import list_clouds, read_cloud, read_clouds
from nic_lightning.media.cloud.result import CloudResult, Labelled
from nic_lightning.media.cloud.sampling import normalised
from nic_lightning.media.cloud.shape import Refused, UnreadableCloud
from nic_lightning.media.handling import Handler, Inputs, Measure
from nic_lightning.media.writing import write_whole

SAMPLE_POINTS = 77


class CloudHandler(Handler):
    """Clouds as codecs take them, (1, P, 3) float32, mean 0, farthest point at 1; results are `CloudResult`s."""

    ending = ".json"
    original_ending = ".ply"

    def read(self, path: Path) -> tuple[Tensor, tuple[str, ...]]:
        """A file of any kind that `read_cloud` takes."""
        points, done = read_cloud(path)
        return torch.from_numpy(points)[None], done

    def several(self, path: Path) -> Inputs | None:
        """The clouds of a folder, or of a file that holds many."""
        if path.is_dir():
            files = list_clouds(path)
            return Inputs(len(files), ((file.stem, self.read(file)[0]) for file in files))
        clouds = read_clouds(path)
        return None if clouds is None else Inputs(len(clouds), _each(path, clouds))

    def write(self, decoded: CloudResult | Tensor, path: Path) -> None:
        """Class probabilities as JSON, reconstructions as PLY beside it; points (1, P, 3) as PLY."""
        if isinstance(decoded, Tensor):
            write_whole(path, ply.written(decoded[0].cpu().numpy()))
            return
        said = [_said(decoded, row) for row in range(len(decoded.log_probabilities))]
        write_whole(path, (json.dumps(said[0] if len(said) == 1 else said, indent=1) + "\n").encode())
        for points, place in zip(
            decoded.points if decoded.points is not None else (), self.beside(decoded, path), strict=True
        ):
            write_whole(place, ply.written(points.cpu().numpy()))

    def beside(self, decoded: CloudResult | Tensor, path: Path) -> list[Path]:
        """NAME.ply for each reconstruction; of several NAME.0000.ply and so on."""
        if isinstance(decoded, Tensor) or decoded.points is None:
            return []
        count = len(decoded.points)
        return [path.with_name(f"{path.stem}{f'.{k:04d}' if count > 1 else ''}.ply") for k in range(count)]

    def units(self, x: Tensor) -> int:
        """Points."""
        return x.shape[-2]

    def divisor(self, x: Tensor) -> int:
        """Rates are bits per cloud."""
        return 1

    def compare(
        self, original: Labelled | Tensor, decoded: CloudResult, measures: Mapping[str, Measure]
    ) -> dict[str, float | None]:
        """Whether the most probable class is the true one, the cost of that in nats, and the Chamfer distance."""
        points, label = (original, None) if isinstance(original, Tensor) else (original.points, original.label)
        scores = decoded.log_probabilities[0]
        known = label is not None and label < len(scores)
        chamfer = None
        if decoded.points is not None:
            chamfer = float(chamfer_distance(points.to(decoded.points), decoded.points))
        return {
            "accuracy": float(int(scores.argmax()) == label) if label is not None else None,
            "cross_entropy": -float(scores[label]) if known else None,
            "chamfer": chamfer,
        }

    def quality(self, key: str, original: Labelled | Tensor, decoded: CloudResult) -> float:
        """NaN where it is not known: nobody said the class of a file's cloud."""
        value = self.compare(original, decoded, {})[key]
        return float("nan") if value is None else value

    def verdict(self, decoded: CloudResult) -> str:
        """The most probable class: "chair, 93 %"."""
        chances = decoded.log_probabilities[0].exp()
        return f"{decoded.name(int(chances.argmax()))}, {100 * float(chances.max()):.0f} %"

    def batched(self, content: Tensor) -> Tensor:
        """(1, P, 3) of (P, 3)."""
        return content if content.dim() == 3 else content[None]

    def sample(self) -> Tensor:
        """Points around an ellipsoid."""
        return self.example(1, SAMPLE_POINTS)

    def example(self, height: int, width: int, n: int = 1, seed: int = 0) -> Tensor:
        """Clouds (n, height * width, 3): points around ellipsoids, each of a shape of its own."""
        generator = torch.Generator().manual_seed(seed)
        around = torch.randn(n, height * width, 3, generator=generator)
        around = around * (0.2 + torch.rand(n, 1, 3, generator=generator))
        return around / around.norm(dim=2).amax(dim=1).clamp_min(1e-3)[:, None, None]

    def size_label(self, x: CloudResult | Tensor) -> str:
        """What was decided, of several clouds how many there are; of a cloud its points."""
        if isinstance(x, Tensor):
            return f"{x.shape[-2]:,} points"
        return self.verdict(x) if len(x.log_probabilities) == 1 else f"{len(x.log_probabilities):,} clouds"

    def fits(self, x: Tensor, decoded: CloudResult) -> bool:
        """Whether there is a decision for each cloud."""
        return len(decoded.log_probabilities) == len(x)

    def parts(self, decoded: CloudResult) -> tuple[Tensor, ...]:
        """Log probabilities, and the points of a reconstruction."""
        return (decoded.log_probabilities,) if decoded.points is None else (decoded.log_probabilities, decoded.points)


def _each(path: Path, clouds: Any) -> Iterator[tuple[str, Tensor]]:
    for number, cloud in enumerate(clouds):
        try:
            points: np.ndarray = normalised(cloud)
        except Refused as error:
            raise UnreadableCloud(path, f"of its cloud {number}: {error}") from error
        yield f"{path.stem}_{number:05d}", torch.from_numpy(points)[None]


def _said(decoded: CloudResult, row: int) -> dict[str, Any]:
    """A decision as plain values."""
    chances = decoded.log_probabilities[row].exp().tolist()
    best = max(range(len(chances)), key=chances.__getitem__)
    return {
        "class": decoded.name(best),
        "probability": chances[best],
        "probabilities": {decoded.name(number): chance for number, chance in enumerate(chances)},
    }

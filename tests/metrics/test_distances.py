from __future__ import annotations

import pytest
import torch
from torch import nn

from nic_lightning.baselines.pillow import Jpeg
from nic_lightning.metrics.distances import Distances
from nic_lightning.metrics.evaluation import evaluate_codec
from nic_lightning.metrics.fid import PatchFid


class Means(nn.Module):
    num_features = 3
    extractor_name = "means"

    def forward(self, pixels):
        return pixels.double().mean((2, 3))


class Spreads(Means):
    extractor_name = "spreads"

    def forward(self, pixels):
        return pixels.double().std((2, 3))


def test_they_are_those_of_every_point_on_its_own():
    generator = torch.Generator().manual_seed(0)
    images = [(f"{i}", torch.rand(3, 520, 300, generator=generator) * (0.3 + 0.1 * i)) for i in range(3)]
    codec, extractors = Jpeg([5, 50]), [Means(), Spreads()]
    distances = Distances(codec.operating_points, extractors)
    evaluate_codec(codec, images, "noise", distances=distances)
    rows = distances.rows("jpeg", "noise")
    assert [(row["label"], row["name"]) for row in rows] == [
        (label, f"fid256_{name}") for label in ("q5", "q50") for name in ("means", "spreads")
    ]
    assert {(row["codec"], row["dataset"], row["patches"]) for row in rows} == {("jpeg", "noise", 6)}
    values = iter(rows)
    for point in codec.operating_points:
        for extractor in extractors:
            alone = PatchFid(extractor)
            for _, image in images:
                alone.update(image[None], real=True)
                alone.update(codec.decompress(codec.compress(image[None], point), point), real=False)
            assert next(values)["value"] == pytest.approx(float(alone.compute()))


def test_rates_are_of_the_images_that_have_a_patch():
    generator = torch.Generator().manual_seed(0)
    sizes = {"large": (256, 300), "small": (255, 300)}
    images = [(name, torch.rand(3, *size, generator=generator)) for name, size in sizes.items()]
    codec = Jpeg([5, 50])
    distances = Distances(codec.operating_points, [Means()])
    rows = evaluate_codec(codec, images, "noise", distances=distances)
    large = {row["label"]: row["bpp"] for row in rows if row["item"] == "large"}
    found = distances.rows("jpeg", "noise")
    assert {row["label"]: row["bpp"] for row in found} == large
    assert {(row["images"], row["images_in_all"]) for row in found} == {(1, 2)}
    alone = Distances(codec.operating_points, [Means()])
    evaluate_codec(codec, images[1:], "noise", distances=alone)
    assert {row["bpp"] for row in alone.rows("jpeg", "noise")} == {None}


def test_without_extractors_there_is_nothing():
    distances = Distances(Jpeg([50]).operating_points, [])
    distances.add(Jpeg([50]).operating_points[0], torch.zeros(1, 3, 256, 256), torch.zeros(1, 3, 256, 256), 1.0)
    assert distances.rows("jpeg", "x") == []

"""Translations, measured for systems that are known to the last digit."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nic_lightning.baselines.pillow import Jpeg
from nic_lightning.baselines.translation import (
    CompressThenTranslate,
    TranslateThenCompress,
    TranslationCodec,
    Uncompressed,
)
from nic_lightning.codecs.translation import TRANSLATE, UI2ICodec
from nic_lightning.data.domains import DomainFolders
from nic_lightning.errors import UserError
from nic_lightning.metrics.fid import Fid
from nic_lightning.metrics.kid import Kid
from nic_lightning.metrics.lpips import LpipsAlex, heads
from nic_lightning.metrics.translation import REAL, TranslationEvaluator, to_8_bits
from tests.metrics.painter import COLOURS, COUNTS, SIZE, Colour, Networks, Painter, write_faces
from tests.metrics.ranks import on_two_ranks


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, DomainFolders]:
    return write_faces(tmp_path_factory.mktemp("faces"))


def evaluator(folders, **arguments) -> TranslationEvaluator:
    arguments = {"extractors": [Colour()], "outputs": 4} | arguments
    return TranslationEvaluator(folders["train"], folders["val"], SIZE, **arguments)


def test_every_image_of_each_domain_into_each_other_one(folders):
    painter = Painter()
    rows = evaluator(folders).evaluate(painter)
    tasks = [(row["source"], row["target"], row["guide"]) for row in rows]
    pairs = [(a, b, g) for a, b in itertools.permutations(COLOURS, 2) for g in ("latent", "reference")]
    assert sorted(tasks) == sorted(pairs)
    assert len(painter.seen) == 4 * sum(COUNTS.values()) * 2 * 2
    for row in rows:
        images, real = COUNTS[row["source"]], 3 * COUNTS[row["target"]]
        assert (row["images"], row["outputs"], row["real"]) == (images, 4 * images, real)
        assert row["bpp"] == 136 / SIZE**2
        assert row["accuracy_colour"] == 1.0
        assert f"{4 * images} outputs are few" in row["note"]


def test_accuracy_counts_what_looks_like_another_domain(folders):
    rows = evaluator(folders, outputs=10).evaluate(Painter(right=7), guides=["latent"])
    found = {(row["source"], row["target"]): row["accuracy_colour"] for row in rows}
    assert found["red", "green"] == pytest.approx(0.7)
    assert found["red", "blue"] == 1.0
    real = evaluator(folders).real()
    assert [(row["system"], row["source"], row["accuracy_colour"]) for row in real] == [
        (REAL, name, 1.0) for name in COLOURS
    ]


def test_distances_are_those_of_all_outputs(folders):
    """Against the metrics fed by hand."""
    painter, own = Painter(), evaluator(folders)
    row = own.evaluate(painter, guides=["latent"])[0]
    assert (row["source"], row["target"]) == ("green", "blue")
    fid, again, styles = Fid(Colour()), Painter(), painter.seen[:12]
    made = torch.cat([again.receive(None, style[None]).images for style in styles])
    fid.update(made, real=False)
    images = folders["train"].images[0]
    for i in range(len(images)):
        small = Image.fromarray(images.pixels(i)).resize((SIZE, SIZE), Image.Resampling.BILINEAR)
        fid.update(torch.from_numpy(np.array(small)).permute(2, 0, 1)[None] / 255, real=True)
    assert row["fid_colour"] == pytest.approx(fid.result().value, rel=1e-6)
    kid = Kid()
    kid.update(Colour()(to_8_bits(made)), real=False)
    kid.update(torch.cat([Colour()(pixels) for pixels in own._batches(folders["train"], 0, None)]), real=True)
    assert row["kid_colour"] == pytest.approx(kid.compute(), rel=1e-6)


@pytest.fixture(scope="module")
def codec() -> UI2ICodec:
    torch.manual_seed(0)
    made = UI2ICodec(list(COLOURS), 8, 32, 2, 12, 4, style_dim=6, latent_dim=4, size=SIZE)
    made.update_tables()
    return made.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def lpips() -> LpipsAlex:
    torch.manual_seed(0)
    model = LpipsAlex()
    model.load_state_dict(model.state_dict() | heads())
    return model.eval().requires_grad_(False)


def test_values_depend_on_the_seed_alone(folders, codec, lpips):
    """Not on the batch size, nor on which tasks or images are measured beside."""
    system = TranslationCodec(codec)
    first = evaluator(folders, lpips=lpips, batch_size=32, limit=2).evaluate(system)
    second = evaluator(folders, lpips=lpips, batch_size=3, limit=2).evaluate(system)
    for one, other in zip(first, second, strict=True):
        for key, value in one.items():
            wanted = pytest.approx(value, rel=1e-4, abs=1e-6) if isinstance(value, float) else value
            assert other[key] == wanted, key
    other = evaluator(folders, lpips=lpips, limit=2, seed=1).evaluate(system, guides=["latent"])
    assert other[0]["lpips_diversity"] != pytest.approx(first[0]["lpips_diversity"], rel=1e-3)
    assert all(row["lpips_diversity"] > 1e-5 for row in first)
    wanted = next(row for row in first if row["guide"] == "reference")
    alone = evaluator(folders, lpips=lpips, limit=2).evaluate(system, guides=["reference"])[0]
    assert alone["lpips_diversity"] == pytest.approx(wanted["lpips_diversity"], rel=1e-6)


def test_references_are_dealt_out_evenly(folders):
    """The green domain has three of them for four outputs of each image."""
    painter = Painter()
    own = evaluator(folders)
    own.evaluate(painter, guides=["reference"])
    into_green = [tuple(style.tolist()) for style in painter.seen if int(style[0]) == 1]
    uses = [into_green.count(style) for style in set(into_green)]
    assert len(uses) == 3
    assert sum(uses) == 4 * (COUNTS["blue"] + COUNTS["red"])
    assert max(uses) - min(uses) <= 2  # at most one a task


def test_rates_of_the_systems(folders, codec):
    """Compression before translation has a file for each source, after it one for each output, the codec one."""
    jpeg = Jpeg([20], optimize=True)
    point = jpeg.operating_points[0]
    own = evaluator(folders, limit=2)
    systems = {
        "codec": TranslationCodec(codec),
        "plain": Uncompressed(codec),
        "cbt": CompressThenTranslate(codec, jpeg, point),
        "cat": TranslateThenCompress(codec, jpeg, point),
    }
    rows = {name: own.evaluate(system, guides=["latent"])[0] for name, system in systems.items()}
    assert {row["images"] for row in rows.values()} == {2}
    sources = [own.validation.images[1].pixels(i) for i in range(2)]
    sources = [np.array(Image.fromarray(p).resize((SIZE, SIZE), Image.Resampling.BILINEAR)) for p in sources]
    x = torch.from_numpy(np.stack(sources)).permute(0, 3, 1, 2) / 255
    pixels = 2 * SIZE**2
    lengths = [len(codec.pack(codec.compress(one, TRANSLATE), TRANSLATE)) for one in x.split(1)]
    assert rows["codec"]["bpp"] == 8 * sum(lengths) / pixels
    assert rows["plain"]["bpp"] is None
    assert rows["cbt"]["bpp"] == 8 * sum(map(len, jpeg.compress(x, point).strings[0])) / pixels
    styles = [codec.random_styles("blue", 4, seed=s) for s in (0, 1)]
    outputs = [
        Uncompressed(codec).receive(Uncompressed(codec).send(one), s) for one, s in zip(x.split(1), styles, strict=True)
    ]
    cat = TranslateThenCompress(codec, jpeg, point)
    received = [cat.receive(cat.send(one), s) for one, s in zip(x.split(1), styles, strict=True)]
    for plain, coded in zip(outputs, received, strict=True):
        files = jpeg.compress(plain.images, point)
        assert coded.bits == 8 * sum(map(len, files.strings[0]))
        torch.testing.assert_close(coded.images, jpeg.decompress(files, point))
    assert rows["cat"]["bpp"] > rows["codec"]["bpp"] / 100
    assert {row["system"] for row in rows.values()} == {"ui2icodec", "uncompressed", "cbt jpeg_optimized q20",
                                                        "cat jpeg_optimized q20"}  # fmt: skip


class Blank(Jpeg):
    """Files of a known size, 100 bytes for the first, 101 for the second and so on, that decode to black."""

    made = 0

    def pack(self, encoded, point):
        self.made += 1
        return bytes(99 + self.made)

    def unpack(self, data):
        return None, self.operating_points[0]

    def decompress(self, encoded, point):
        return torch.zeros(1, 3, SIZE, SIZE)


def test_files_are_counted_once(folders, codec):
    """With two sources, four outputs, two guides and two targets."""
    for kind, files, in_all in ((CompressThenTranslate, 2, 3 * 2), (TranslateThenCompress, 2 * 4, 12 * 2 * 4)):
        fake = Blank([50])
        first = evaluator(folders, limit=2).evaluate(kind(codec, fake, fake.operating_points[0]))[0]
        assert first["bpp"] == 8 * np.mean([100 + i for i in range(files)]) / SIZE**2
        assert fake.made == in_all


def test_what_does_not_fit_is_told(folders, codec):
    class Others(Networks):
        domains = ("blue", "red")

    painter = Painter()
    painter.networks = Others()
    with pytest.raises(UserError, match="painter translates among blue, red at 32 pixels"):
        evaluator(folders).evaluate(painter)
    with pytest.raises(UserError, match="give 2 and 1 at least"):
        evaluator(folders, outputs=1)


def test_rounding_to_8_bits_has_no_bias():
    values = torch.rand(1_000_000, generator=torch.Generator().manual_seed(0))
    assert abs(float((to_8_bits(values).double() - 255 * values.double()).mean())) < 0.01
    assert to_8_bits(torch.tensor([-3.0, 0.4999 / 255, 0.5001 / 255, 1.7])).tolist() == [0, 0, 1, 255]


@pytest.mark.slow
def test_ranks_of_unequal_counts_agree_with_one_process(folders, tmp_path: Path):
    """The green domain gives them two images and one."""

    def measure(rank: int, ranks: int = 2) -> list[dict]:
        torch.manual_seed(0)
        return evaluator(folders, lpips=LpipsAlex().eval(), rank=rank, ranks=ranks).evaluate(Painter())

    alone = measure(0, 1)
    for rows in on_two_ranks(measure, tmp_path):
        for one, other in zip(alone, rows, strict=True):
            for key, value in one.items():
                wanted = pytest.approx(value, rel=1e-6, abs=1e-9) if isinstance(value, float) else value
                assert other[key] == wanted, key

"""Codecs of a cloud's geometry before a classifier: Draco itself, G-PCC through a stand-in for tmc3."""

from __future__ import annotations

import random
import stat
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from nic_lightning.baselines.draco import Draco
from nic_lightning.baselines.geometry import MAX_POINTS, GeometryCodec, on_grid
from nic_lightning.baselines.gpcc import Gpcc
from nic_lightning.baselines.still import MissingCodec
from nic_lightning.codecs.base import Encoded, ImageCodec
from nic_lightning.codecs.cae import CompressiveAutoencoder
from nic_lightning.codecs.point_cloud import PointCloudCodec
from nic_lightning.errors import BitstreamError, DataError, UserError
from nic_lightning.media.base import find_medium

TMC3 = """
import os, struct, sys, time, zlib
a = dict(x.removeprefix("--").split("=", 1) for x in sys.argv[1:])
wish = os.environ.get("STAND_IN", "")
if wish == "sleep": time.sleep(600)
if wish == "fail": print("the last words"); sys.exit(3)
def unit(kind, body): return bytes([kind]) + struct.pack(">I", len(body)) + body
if a["mode"] == "0":
    assert a["disableAttributeCoding"] == a["positionQuantizationScale"] == "1", a
    data = open(a["uncompressedDataPath"], "rb").read()
    open(a["compressedStreamPath"], "wb").write(unit(0, b"sps") + unit(2, zlib.compress(data)))
else:
    data = open(a["compressedStreamPath"], "rb").read()
    cloud = zlib.decompress(data[13:])
    if wish == "many": cloud += bytes(4_000_000)
    open(a["reconstructedDataPath"], "wb").write(cloud)
"""
"""Takes the arguments of tmc3 and codes in its own way; it says nothing about G-PCC."""


@pytest.fixture(autouse=True)
def stand_in(tmp_path, monkeypatch) -> None:
    program = tmp_path / "tmc3"
    program.write_text(f"#!{sys.executable}\n{TMC3}")
    program.chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.fixture(scope="module")
def classifier() -> PointCloudCodec:
    torch.manual_seed(0)
    codec = PointCloudCodec("micro", 3, points=32).eval()
    codec.update_tables()
    return codec


@pytest.fixture(params=[Draco, Gpcc])
def codec(request, classifier) -> GeometryCodec:
    codec = request.param(bits=[2, 9])
    codec.accompany(classifier)
    return codec


def clouds(count: int = 1, points: int = 200, seed: int = 0) -> torch.Tensor:
    return find_medium("cloud").handler().example(1, points, n=count, seed=seed)


def test_grid_moves_points_by_half_a_step_at_most_and_drops_equal_ones():
    points = clouds()[0].numpy()
    for bits in (1, 3, 10):
        moved = on_grid(points, bits)
        step = 2 / (2**bits - 1)
        nearest = np.abs(points[:, None] - moved[None]).max(axis=2).min(axis=1)
        assert nearest.max() <= step / 2 + 1e-6  # float32 input
        assert len(np.unique(moved, axis=0)) == len(moved) <= min(len(points), 8**bits)
        assert np.array_equal(on_grid(moved, bits), moved)


def test_the_receiver_gets_the_points_of_the_grid_and_classifies_them(codec, classifier):
    assert isinstance(codec, ImageCodec)
    x = clouds()
    sizes = []
    for point in codec.operating_points:
        data = codec.pack(codec.compress(x, point), point)
        result = codec.decompress(*codec.unpack(data))
        sent = on_grid(classifier.pad(x)[0].numpy(), int(point.quality or 0))
        assert result.points.shape == (1, len(sent), 3)
        assert len(sent) <= 32
        centred = sent - sent.mean(axis=0)
        centred /= np.linalg.norm(centred, axis=1).max()
        found = result.points[0].numpy()
        order = [np.lexsort(np.round(p, 4).T) for p in (found, centred)]
        assert np.abs(found[order[0]] - centred[order[1]]).max() < 1e-5  # float32 in the file
        place = classifier.operating_points[0]
        with torch.no_grad():
            expected = classifier.synthesis(classifier.analysis(torch.from_numpy(centred)[None].float(), place), place)
        assert torch.allclose(result.log_probabilities, expected, atol=1e-3)
        sizes.append(len(data))
    assert sizes[0] < sizes[1]


def test_a_batch_is_what_its_clouds_are(codec):
    x, point = clouds(3), codec.operating_points[0]
    several = codec.decompress(codec.compress(x, point), point)
    alone = [codec.decompress(codec.compress(cloud, point), point) for cloud in x.split(1)]
    assert torch.equal(several.log_probabilities, torch.cat([result.log_probabilities for result in alone]))
    with pytest.raises(UserError, match="one cloud, not 3"):
        codec.pack(codec.compress(x, point), point)


def test_a_cloud_that_falls_together_is_classified(codec):
    x = torch.full((1, 5, 3), 0.4)
    point = codec.operating_points[0]
    assert codec.decompress(codec.compress(x, point), point).log_probabilities.shape == (1, 3)


def test_classifiers_named_by_the_user_stay(classifier, codec):
    codec.accompany(PointCloudCodec("lite", 4))
    assert codec.classifier is classifier


def test_what_cannot_classify_is_refused():
    with pytest.raises(UserError, match="classifier of clouds, and cae is none"):
        Draco().accompany(CompressiveAutoencoder(4, 1.0))
    bare, point = Draco(), Draco().operating_points[0]
    with pytest.raises(UserError, match=r"codec\.classifier=RUN"):
        bare.decompress(bare.compress(clouds(), point), point)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"bits": []}, "distinct whole"),
        ({"bits": [3, 3]}, "distinct whole"),
        ({"bits": [2.5]}, "distinct whole"),
        ({"bits": [0]}, "1 to 16 bits"),
        ({"bits": [17]}, "1 to 16 bits"),
        ({"points": 0}, "1 to 65536 points"),
    ],
)
def test_settings_that_make_no_sense(arguments, sentence):
    with pytest.raises(UserError, match=sentence):
        Draco(**arguments)


def test_no_cloud_is_refused(codec):
    with pytest.raises(DataError, match=r"not \(1, 3, 8, 8\)"):
        codec.compress(torch.zeros(1, 3, 8, 8), codec.operating_points[0])


def refusal(codec: GeometryCodec, data: bytes) -> str | None:
    try:
        codec.decompress(*codec.unpack(data))
    except BitstreamError as error:
        return str(error)
    return None


def test_foreign_and_damaged_files_end_in_a_sentence(codec):
    point = codec.operating_points[0]
    data = codec.pack(codec.compress(clouds(), point), point)
    assert refusal(codec, data) is None
    for foreign in (b"", b"hello", bytes(100), b"DRACO" + bytes(40), data[: len(data) // 2], data[:14]):
        assert refusal(codec, foreign), foreign
    draw = random.Random(0)
    for _ in range(60 if isinstance(codec, Draco) else 5):
        changed = bytearray(data)
        changed[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        said = refusal(codec, bytes(changed))  # other points, or a sentence; nothing else is raised
        assert said is None or "\n" not in said


def test_draco_files_that_claim_many_points():
    codec, point = Draco(), Draco().operating_points[0]
    data = bytearray(codec.pack(codec.compress(clouds(), point), point))
    for claimed in (0, -1, MAX_POINTS + 1, 2**31 - 1):
        data[11:15] = claimed.to_bytes(4, "little", signed=True)
        with pytest.raises(BitstreamError, match="claims"):
            codec.unpack(bytes(data))


def test_tmc3_is_bounded(monkeypatch, classifier):
    codec = Gpcc(timeout_s=0.5)
    codec.accompany(classifier)
    point = codec.operating_points[0]
    encoded = codec.compress(clouds(), point)
    monkeypatch.setenv("STAND_IN", "fail")
    with pytest.raises(UserError, match=r"tmc3 failed with exit code 3: the last words\.$"):
        codec.compress(clouds(), point)
    monkeypatch.setenv("STAND_IN", "many")
    with pytest.raises(BitstreamError, match="more than 65536 points take"):
        codec.decompress(encoded, point)
    monkeypatch.setenv("STAND_IN", "sleep")
    with pytest.raises(BitstreamError, match=r"longer than 0\.5 s"):
        codec.decompress(Encoded(encoded.strings, encoded.shape), point)


def test_a_missing_program_says_where_it_is_from(tmp_path):
    (Path(tmp_path) / "tmc3").unlink()
    with pytest.raises(MissingCodec, match="mpeg-pcc-tmc13"):
        Gpcc()

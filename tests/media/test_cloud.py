"""Files of point clouds and meshes: what is read, alike whatever the format, and what is refused in a sentence."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch

from nic_lightning.errors import DataError
from nic_lightning.media.base import find_medium, look_at
from nic_lightning.media.cloud import ply
from nic_lightning.media.cloud.chamfer import chamfer_distance
from nic_lightning.media.cloud.files import read_cloud, require_cloud
from nic_lightning.media.cloud.result import CloudResult, Labelled
from nic_lightning.media.cloud.sampling import fixed_subset, normalised, sample_surface
from nic_lightning.media.cloud.shape import Shape
from tests.media import clouds
from tests.media.clouds import ball, write

BOX = clouds.CORNERS


def read_bytes(tmp_path: Path, content: str | bytes, name: str = "a.off") -> np.ndarray:
    return read_cloud(write(tmp_path / name, content), count=500, seed=3)[0]


@pytest.fixture
def expected(tmp_path: Path) -> np.ndarray:
    """Of a box in the plainest form."""
    return read_bytes(tmp_path, clouds.off())


@pytest.mark.parametrize(
    "text",
    [
        clouds.off("OFF8 6 0"),
        clouds.off("OFF8 6"),
        clouds.off("# a box\n\nOFF # of Geomview\n\n8 6 0 # counts"),
        clouds.off(colour=" 255 0 0"),
        clouds.off().replace("OFF", "COFF").replace("0 2 3\n", "0 2 3 9 9 9 255\n"),
        clouds.off().replace("\n", "\r\n"),
        clouds.ply("ascii"),
        clouds.ply("<"),
        clouds.ply(">"),
    ],
)
def test_a_mesh_is_the_same_in_every_form(text, tmp_path, expected):
    found = read_bytes(tmp_path, text)
    assert found.shape == (500, 3)
    assert np.array_equal(found, expected)


def test_points_without_faces_are_taken_as_they_are(tmp_path):
    np.save(tmp_path / "a.npy", BOX)
    np.save(tmp_path / "colours.npy", np.hstack([BOX, BOX]))
    rows = [" ".join(map(str, row)) for row in BOX]
    write(tmp_path / "a.xyz", "// a box\n" + "\n".join(rows))
    write(tmp_path / "b.txt", "\n".join(row.replace(" ", ", ") + ", 9 # corner" for row in rows))
    write(tmp_path / "a.ply", clouds.ply("<", faces=False))
    write(tmp_path / "b.ply", ply.written(BOX))
    write(tmp_path / "a.off", "OFF 8 0 0\n" + "\n".join(rows))
    for path in sorted(tmp_path.iterdir()):
        require_cloud(path)
        points, done = read_cloud(path)
        assert np.array_equal(points, normalised(BOX)), path.name
        assert done == ()


def test_sampling_follows_from_the_seed_and_fills_the_area(tmp_path):
    path = write(tmp_path / "a.off", clouds.off())
    first, again, other = (read_cloud(path, 4000, seed)[0] for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert np.abs(first.astype(np.float64).mean(axis=0)).max() < 1e-6  # float32's last digit is 6e-8
    assert abs(np.linalg.norm(first, axis=1).max() - 1) < 1e-6
    flat = Shape(np.array([[0, 0, 0], [2.0, 0, 0], [0, 1, 0], [5, 5, 5]]), np.array([[0, 1, 2], [3, 3, 3]]))
    points = sample_surface(flat, 20_000, 0)
    # The mean of a triangle's points is its centre; standard deviation of a coordinate 2/sqrt(18)/sqrt(20000) = 0.0033.
    assert np.allclose(points.mean(axis=0), [2 / 3, 1 / 3, 0], atol=0.015)
    assert (points[:, 0] / 2 + points[:, 1] <= 1 + 1e-12).all()
    lower = (points[:, 1] < 0.5).mean()  # three quarters of the area; standard deviation 0.003
    assert abs(lower - 0.75) < 0.015


BAD = {
    "empty.off": ("", "an empty file"),
    "no_points.off": ("OFF 0 0 0\n", "it has no points"),
    "one.xyz": ("1 2 3\n", "one point"),
    "same.xyz": ("1 2 3\n1 2 3\n", "all in one place"),
    "nan.xyz": ("1 2 3\nnan 0 0\n", "NaN or infinite"),
    "nan.off": (clouds.off().replace("1 2 3\n", "1 inf 3\n", 1), "NaN or infinite"),
    "huge.xyz": ("1e308 0 0\n-1e308 0 0\n", "too far apart"),
    "digits.xyz": ("1 2 0." + 99 * "3" + "\n", "no number"),
    "words.xyz": ("1 2 three\n", "no number"),
    "short.xyz": ("1 2 3\n4 5\n", "fewer than three numbers"),
    "garbage.off": (bytes(range(256)) * 40, "first line is not OFF"),
    "binary.off": ("OFF BINARY\n1 2 3\n", "save it as plain text"),
    "four.off": ("4OFF\n1 0 0\n1 2 3 4\n", "save it as plain text"),
    "counts.off": ("OFF\nmany 0 0\n", "numbers of vertices and faces"),
    "promise.off": ("OFF 10000000 0 0\n0 0 0\n", "promises 10,000,000 vertices"),
    "cut.off": (clouds.off()[:-20], "promises 8 vertices and 6 faces"),
    "corner.off": (clouds.off().replace("4 0 1 3 2", "4 0 1 3 8"), "none of its vertices"),
    "negative.off": (clouds.off().replace("4 0 1 3 2", "4 0 1 3 -1"), "none of its vertices"),
    "far.off": (clouds.off().replace("4 0 1 3 2", f"4 0 1 3 {2**70}"), "none of its vertices"),
    "face.off": (clouds.off().replace("4 0 1 3 2", "9 0 1 3 2"), "fewer corners"),
    "letter.off": (clouds.off().replace("4 0 1 3 2", "4 a b c d"), "no number"),
    "flat.off": ("OFF 3 1 0\n0 0 0\n1 1 1\n2 2 2\n3 0 1 2\n", "no area"),
    "promise.ply": (clouds.ply("<").replace(b"vertex 8", b"vertex 99999999"), "promises 99,999,999|thin it out"),
    "cut.ply": (clouds.ply("<")[:-9], "ends before its last|promises"),
    "cut_text.ply": (clouds.ply("ascii")[:-30], "promises 6 of 'face'|no list of corners"),
    "list.ply": (clouds.ply("<")[:-17] + b"\xff" + bytes(16), "ends before its last"),
    "header.ply": (b"ply\nformat ascii 1.0\n", "header has no end"),
    "format.ply": (b"ply\nformat zip 1.0\nend_header\n", "not understood"),
    "none.ply": (b"ply\nformat ascii 1.0\nelement face 0\nend_header\n", "no element 'vertex'"),
    "flat.ply": (b"ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nend_header\n1\n", "no x, y and z"),
    "text.npy": (b"\x93NUMPY nothing", "damaged NPY"),
    "a.h5": (b"\x89HDF\r\n\x1a\n and nothing", "HDF5"),
    "photo.jpg": (b"\xff\xd8\xff\xe0 and so on", "not a point cloud of a known kind"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_one_sentence(name, tmp_path):
    content, words = BAD[name]
    path = write(tmp_path / name, content)
    if name.endswith(".h5"):
        pytest.importorskip("h5py")
    with pytest.raises(DataError, match=words) as error:
        read_cloud(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_no_file_is_refused(tmp_path):
    for path, words in ((tmp_path / "missing.off", "no such file"), (tmp_path, "without point clouds")):
        with pytest.raises(DataError, match=words):
            require_cloud(path)
    np.save(tmp_path / "objects.npy", np.array([{}, {}]), allow_pickle=True)
    np.save(tmp_path / "flat.npy", np.zeros(9))
    for name, words in (("objects", "Python objects|of object"), ("flat", r"an array \(9,\)")):
        with pytest.raises(DataError, match=words):
            read_cloud(tmp_path / f"{name}.npy")


def test_ten_million_points_are_refused_before_memory_is_taken(tmp_path):
    header = b"ply\nformat binary_little_endian 1.0\nelement vertex 10000000\nproperty float x\nproperty float y\n"
    big = tmp_path / "big.ply"
    with big.open("wb") as file:
        file.write(header + b"property float z\nend_header\n")
        file.truncate(len(header) + 120_000_000)
    np.lib.format.open_memmap(tmp_path / "big.npy", mode="w+", dtype=np.float32, shape=(10_000_000, 3)).flush()
    for path in (big, tmp_path / "big.npy"):
        tracemalloc.start()
        with pytest.raises(DataError, match="10,000,000 points"):
            read_cloud(path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 3 * path.stat().st_size  # the file itself, and its copy without the header


def test_random_damage_is_one_sentence_or_a_cloud(tmp_path):
    rng = np.random.default_rng(0)
    path, sentences = tmp_path / "a.cloud", []
    for content in (clouds.off().encode(), clouds.ply("ascii"), clouds.ply("<"), clouds.ply(">")):
        for _ in range(150):
            damaged = bytearray(content)
            for place in rng.integers(0, len(damaged), rng.integers(1, 4)):
                damaged[place] = rng.integers(0, 256)
            path.write_bytes(damaged[: rng.integers(1, len(damaged) + 1)])
            try:
                points, _ = read_cloud(path, 50)
            except DataError as error:
                sentences.append(str(error))
            else:
                assert np.isfinite(points).all()
    assert len(sentences) > 100
    assert not any("\n" in sentence for sentence in sentences)


def test_a_subset_depends_on_neither_order_nor_repetition():
    points = ball(300)
    found = fixed_subset(points, 64)
    assert found.shape == (64, 3)
    again = np.concatenate([points, points[:50]])[np.random.default_rng(0).permutation(350)]
    assert np.array_equal(fixed_subset(again, 64), found)
    assert np.array_equal(fixed_subset(np.repeat(points[:9], 20, axis=0), 64), np.unique(points[:9], axis=0))
    assert fixed_subset(points, 300) is points
    for x in (points[:, 0], points[:, 0].round(1)):  # each its own, and shared ones
        cloud = np.column_stack([x, points[:, 1:]])
        ordered = np.unique(cloud, axis=0)
        chosen = np.random.default_rng(0).permutation(300)[:64]
        assert np.array_equal(fixed_subset(cloud, 64), ordered[np.sort(chosen)])


def test_chamfer_distance_is_that_of_every_pair():
    x, y = (torch.from_numpy(np.stack([ball(70, s), ball(70, s + 1)])) for s in (0, 5))
    pairs = (x[:, :, None] - y[:, None]).square().sum(dim=3)
    expected = pairs.amin(dim=2).mean(dim=1) + pairs.amin(dim=1).mean(dim=1)
    assert torch.allclose(chamfer_distance(x, y), expected, rtol=0, atol=1e-6)  # float32 sums of 70 values of about 1
    assert chamfer_distance(x, x[:, torch.randperm(70)]).abs().max() == 0
    assert torch.allclose(chamfer_distance(x, y[:, :30]), chamfer_distance(y[:, :30], x), rtol=1e-6)


def test_the_handler_compares_and_writes(tmp_path):
    handler = find_medium("cloud").handler()
    x = handler.example(10, 20, n=3)
    assert x.shape == (3, 200, 3)
    assert handler.units(x[:1]) == 200
    assert handler.divisor(x[:1]) == 1
    scores = torch.log(torch.tensor([[0.2, 0.5, 0.3]]))
    result = CloudResult(scores, x[:1] + 0.1, ("bed", "chair", "sofa"))
    right, wrong = (handler.compare(Labelled(x[:1], label), result, {}) for label in (1, 2))
    assert (right["accuracy"], wrong["accuracy"]) == (1.0, 0.0)
    assert wrong["cross_entropy"] == pytest.approx(-np.log(0.3))
    assert right["chamfer"] == pytest.approx(float(chamfer_distance(x[:1], x[:1] + 0.1)))
    assert handler.compare(x[:1], CloudResult(scores), {}) == {"accuracy": None, "cross_entropy": None, "chamfer": None}
    assert handler.verdict(result) == "chair, 50 %"
    handler.write(result, tmp_path / "a.json")
    said = json.loads((tmp_path / "a.json").read_text())
    assert said["class"] == "chair"
    assert said["probabilities"] == pytest.approx({"bed": 0.2, "chair": 0.5, "sofa": 0.3})
    shown, _ = handler.read(tmp_path / "a.ply")
    assert torch.allclose(shown[0], torch.from_numpy(normalised((x[0] + 0.1).double().numpy())), atol=1e-6)
    handler.write(CloudResult(scores.repeat(2, 1)), tmp_path / "b.json")
    assert [one["class"] for one in json.loads((tmp_path / "b.json").read_text())] == ["class 1", "class 1"]


def test_folders_and_hdf5_files_hold_several(tmp_path):
    handler = find_medium("cloud").handler()
    for name in "ab":
        np.save(tmp_path / f"{name}.npy", ball(9))
    write(tmp_path / "note.md", "no cloud")
    several = handler.several(tmp_path)
    assert several.count == 2
    assert [name for name, _ in several.each] == ["a", "b"]
    assert handler.several(tmp_path / "a.npy") is None
    look_at(tmp_path)
    with pytest.raises(DataError, match=r"Cannot read .*missing\.off: no such file"):
        look_at(tmp_path / "missing.off")
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "many.h5", "w") as file:
        file["data"] = np.stack([ball(9, seed) for seed in range(3)])
        file["label"] = np.array([[1], [0], [2]], np.uint8)
    several = handler.several(tmp_path / "many.h5")
    assert several.count == 3
    names, points = zip(*several.each, strict=True)
    assert names == ("many_00000", "many_00001", "many_00002")
    assert np.array_equal(points[2][0].numpy(), normalised(ball(9, 2).astype(np.float64)))


def test_hdf5_files_of_other_contents_are_refused(tmp_path):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "a.h5"
    write(tmp_path / "secret.bin", bytes(96))
    cases = {
        "no numbers": {"data": np.zeros((2, 5))},
        "whole number for each": {"data": np.zeros((2, 5, 3)), "label": np.zeros(3, np.uint8)},
        "a link": {"data": h5py.ExternalLink("secret.bin", "data")},
        "no numbers ": {},
    }
    for words, content in cases.items():
        with h5py.File(path, "w") as file:
            for name, value in content.items():
                file[name] = value
        with pytest.raises(DataError, match=words.strip()):
            find_medium("cloud").handler().several(path)
    with h5py.File(path, "w") as file:  # ten kilobytes that would unpack to gigabytes
        file.create_dataset("data", (64, 2**21, 3), "f8", chunks=(64, 2**20, 1), compression="gzip")
    with pytest.raises(DataError, match="packed in parts of more than"):
        find_medium("cloud").handler().several(path)
    with h5py.File(path, "w") as file:
        file.create_dataset("data", (2, 4, 3), "f4", external=[(str(tmp_path / "secret.bin"), 0, 96)])
    with pytest.raises(DataError, match="lies in other files"):
        find_medium("cloud").handler().several(path)

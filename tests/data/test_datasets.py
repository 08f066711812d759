"""Folders as data sets: names, refused files, memory, crops."""

from __future__ import annotations

import logging
import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from nic_lightning.data.datasets import ImageFolder, RandomCrops, evaluation_set
from nic_lightning.errors import DataError


def test_images_come_sorted_by_name_between_0_and_1(folder):
    images = ImageFolder(folder)
    assert images.names == list("abcdef")
    name, image = images[2]
    assert name == "c"
    assert image.shape == (3, 42, 50)
    assert image.dtype == torch.float32
    stored = np.asarray(Image.open(folder / "c.png"))
    assert np.array_equal((image * 255).round().byte().permute(1, 2, 0).numpy(), stored)
    assert images.sizes[5] == (45, 50)
    assert images.paths[0] == folder / "a.png"


@pytest.mark.parametrize("cache_mb", [0, 64])
def test_unusable_files_are_named_counted_and_left_out(folder, caplog, cache_mb):
    (folder / "b.png").write_bytes((folder / "b.png").read_bytes()[:900])
    (folder / "d.png").write_bytes(b"")
    (folder / "e.png").write_text("not an image")
    (folder / "link.png").symlink_to(folder.parent)
    (folder / "away.png").symlink_to("/etc/hostname")
    with caplog.at_level(logging.WARNING):
        images = ImageFolder(folder, cache_mb=cache_mb)
    assert images.names == ["a", "c", "f"]
    assert len(images.skipped) == 5
    assert "left out 5 files" in caplog.text
    for name in ("b.png", "d.png", "e.png", "link.png", "away.png"):
        assert name in caplog.text


def test_a_warning_names_ten_files_at_most(tmp_path, noise, caplog):
    noise(tmp_path / "good.png", 4, 4)
    for number in range(15):
        (tmp_path / f"bad{number}.png").write_bytes(b"")
    images = ImageFolder(tmp_path)
    assert len(images.skipped) == 15
    assert "and 5 more" in caplog.text


def test_a_folder_without_a_usable_image_is_an_error(tmp_path):
    (tmp_path / "bad.png").write_text("text")
    with pytest.raises(DataError, match=r"no usable image .*bad\.png: not an image"):
        ImageFolder(tmp_path)
    with pytest.raises(DataError, match="at least one folder"):
        ImageFolder([])


def test_a_file_lost_later_is_replaced_by_the_next_and_named(folder, caplog):
    images = ImageFolder(folder)
    (folder / "b.png").unlink()
    (folder / "f.png").write_bytes(b"")
    assert images[1][0] == "c"
    assert images[5][0] == "a"
    assert "b.png became unusable" in caplog.text
    assert len(images.skipped) == 2
    for path in folder.iterdir():
        path.unlink()
    with pytest.raises(DataError, match="All 6 images"):
        images[0]


def test_memory_is_bounded_and_serves_repeated_reads(tmp_path, noise):
    for number in range(6):
        noise(tmp_path / f"{number}.png", 400, 500)
    images = ImageFolder(tmp_path, cache_mb=1)
    assert images.cached == (1, 600_000)
    assert ImageFolder(tmp_path, cache_mb=2).cached == (3, 1_800_000)
    assert ImageFolder(tmp_path).cached == (0, 0)
    assert images.pixels(0) is images.pixels(0)
    assert np.array_equal(images.pixels(5), ImageFolder(tmp_path).pixels(5))


def test_a_pickled_data_set_leaves_the_pixels_behind(tmp_path, noise):
    noise(tmp_path / "a.png", 400, 500)
    images = ImageFolder(tmp_path, cache_mb=8)
    data = pickle.dumps(images)
    assert len(data) < 5_000
    copy = pickle.loads(data)
    assert copy.cached == (0, 0)
    assert np.array_equal(copy.pixels(0), images.pixels(0))
    assert copy.cached[0] == 1


def test_equal_stems_get_names_of_their_own(tmp_path, noise):
    for place in ("one/x.png", "one/x.jpg", "two/x.png", "two/deep/y.png"):
        noise(tmp_path / place, 4, 4)
    assert ImageFolder(tmp_path).names == sorted(ImageFolder(tmp_path).names)
    names = ImageFolder([tmp_path / "one", tmp_path / "two"]).names
    assert names == ["one_x.jpg", "one_x.png", "two_x.png", "y"]
    (tmp_path / "one" / "x_y.png").write_bytes((tmp_path / "one" / "x.png").read_bytes())
    assert len(set(ImageFolder([tmp_path / "one", tmp_path / "one"]).names)) == 3


def test_same_file_by_two_ways_counts_once(folder):
    assert len(ImageFolder([folder, folder.parent])) == 6


def test_limit_and_centre_crop(folder):
    (folder / "a.png").write_bytes(b"")
    images = ImageFolder(folder, limit=2, crop=16)
    assert images.names == ["b", "c"]
    assert images[0][1].shape == (3, 16, 16)


def test_a_partial_set_is_said(tmp_path, noise, caplog):
    noise(tmp_path / "kodak" / "kodim03.png", 8, 8)
    noise(tmp_path / "kodak" / "mine.png", 8, 8)
    images = evaluation_set("kodak", tmp_path)
    assert images.names == ["kodim03"]
    assert images.name == "kodak"
    assert "kodak is partial: 1 of 24 images" in caplog.text


def test_the_embedded_set_is_two_photographs():
    images = evaluation_set("embedded")
    assert images.names == ["chelsea", "coffee"]
    assert images[0][1].shape == (3, 300, 451)


def test_kodak_and_clic_are_evaluated_whole(nic_data):
    kodak = evaluation_set("kodak", nic_data)
    assert len(kodak) == 24
    assert {tuple(sorted(size)) for size in kodak.sizes} == {(512, 768)}
    clic = evaluation_set("clic2020_test", nic_data)
    assert len(clic) == 3
    assert min(clic[0][1].shape[1:]) > 1000


def test_crops_follow_from_seed_epoch_and_index_alone(folder):
    images = ImageFolder(folder, cache_mb=8)
    crops = RandomCrops(images, 16, seed=3)
    again = RandomCrops(ImageFolder(folder), 16, seed=3)
    pairs = [(epoch, index) for epoch in (0, 1) for index in range(12)]
    first = {pair: crops[pair] for pair in pairs}
    assert all(torch.equal(first[pair], again[pair]) for pair in reversed(pairs))
    assert first[0, 0].shape == (3, 16, 16)
    assert not torch.equal(first[0, 0], first[1, 0])
    assert not torch.equal(first[0, 0], first[0, 6])
    assert not torch.equal(first[0, 0], RandomCrops(images, 16, seed=4)[0, 0])


def test_crops_larger_than_the_image_are_padded(folder):
    assert RandomCrops(ImageFolder(folder), 64, seed=0)[0, 1].shape == (3, 64, 64)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_crops_are_the_same_from_worker_processes(folder, method):
    crops = RandomCrops(ImageFolder(folder, cache_mb=8), 16, seed=0)
    pairs = [(2, index) for index in range(8)]
    loader = DataLoader(crops, batch_size=3, sampler=pairs, num_workers=1, multiprocessing_context=method)
    batches = torch.cat(list(loader))
    assert torch.equal(batches, torch.stack([crops[pair] for pair in pairs]))


def test_a_loop_over_the_images_ends():
    images = evaluation_set("embedded")
    assert [name for name, _ in images] == images.names
    with pytest.raises(IndexError, match="no image 2"):
        images[2]


@pytest.mark.parametrize("cache_mb", [0, 64])
def test_what_images_lost_is_said_once(folder, caplog, cache_mb):
    for name in ("b", "d"):
        Image.new("RGBA", (40, 30), (9, 9, 9, 100)).save(folder / f"{name}.png")
    Image.fromarray(np.full((30, 40), 700, np.uint16)).save(folder / "e.png")
    with caplog.at_level(logging.WARNING):
        images = ImageFolder(folder, cache_mb=cache_mb)
        _ = [images[index] for index in range(len(images)) for _ in range(2)]
    assert caplog.messages == [
        f"{images.name}: transparency was put on black in 2 of 6 images: b.png, d.png.",
        f"{images.name}: 16 bits a channel were cut to 8 in 1 of 6 images: e.png.",
    ]


def test_links_are_refused_with_the_way_out(folder, caplog, tmp_path):
    (folder / "away.png").symlink_to("/etc/hostname")
    ImageFolder(folder)
    assert "away.png: a link that leaves the folder is not followed; copy the file, or name its folder)" in caplog.text
    (tmp_path / "links").mkdir()
    for name in "ab":
        (tmp_path / "links" / f"{name}.png").symlink_to(folder / f"{name}.png")
    with pytest.raises(DataError, match=r"a\.png: a link that leaves .*copy the file, or name its folder, and 1 more"):
        ImageFolder(tmp_path / "links")

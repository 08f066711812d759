"""Reading image files: what is converted how, and what is refused."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nic_lightning.data.images import (
    DEPTH,
    FRAMES,
    TRANSPARENCY,
    UnreadableImage,
    list_images,
    probe,
    probe_image,
    read_image,
    read_rgb,
)


def png_of_size(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds almost no data."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    )


def test_rgb_is_read_as_stored(tmp_path, noise):
    pixels = noise(tmp_path / "a.png", 5, 7)
    assert np.array_equal(read_rgb(tmp_path / "a.png"), pixels)
    assert probe(tmp_path / "a.png") == (5, 7)


def test_grey_and_palette_become_rgb(tmp_path):
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    assert np.array_equal(read_rgb(tmp_path / "grey.png"), np.repeat(grey[:, :, None], 3, axis=2))
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putpixel((1, 0), 1)
    palette.save(tmp_path / "palette.png")
    assert read_rgb(tmp_path / "palette.png").tolist() == [[[10, 20, 30], [40, 50, 60]]]


def test_sixteen_bits_keep_the_high_byte(tmp_path):
    """Pillow says nothing of it: findings/png_16_bits.sh."""
    Image.fromarray(np.array([[0, 255, 256, 65535]], dtype=np.uint16)).save(tmp_path / "deep.png")
    assert read_rgb(tmp_path / "deep.png")[0, :, 0].tolist() == [0, 0, 1, 255]


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_composited_on_black(tmp_path, mode):
    colour = (200, 100, 50) if mode == "RGBA" else (200,)
    image = Image.new(mode, (2, 1), (*colour, 255))
    image.putpixel((1, 0), (*colour, 0))
    image.save(tmp_path / "alpha.png")
    opaque, hidden = read_rgb(tmp_path / "alpha.png")[0].tolist()
    assert opaque == (list(colour) if mode == "RGBA" else [200] * 3)
    assert hidden == [0, 0, 0]


def test_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned by a quarter
    Image.new("RGB", (20, 10)).save(tmp_path / "turned.jpg", exif=exif)
    assert read_rgb(tmp_path / "turned.jpg").shape == (20, 10, 3)


def test_values_without_a_range_are_refused(tmp_path):
    Image.fromarray(np.ones((2, 2), np.float32)).save(tmp_path / "float.tiff")
    with pytest.raises(UnreadableImage, match="no known range"):
        read_rgb(tmp_path / "float.tiff")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "an empty file"),
        (b"only text, whatever the name says", "not an image"),
        (png_of_size(100_000, 100_000), "100000x100000 pixels, the limit is 268,435,456"),
        (png_of_size(2**14, 2**14 + 1), "16384x16385 pixels"),
        (png_of_size(64, 64), "cut short"),
    ],
    ids=["empty", "text", "bomb", "too large", "too little data"],
)
def test_bad_content_is_refused_with_its_reason(tmp_path, content, reason):
    path = tmp_path / "bad.png"
    path.write_bytes(content)
    with pytest.raises(UnreadableImage, match=reason) as refusal:
        read_rgb(path)
    assert str(path) in str(refusal.value)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_a_cut_file_is_refused_by_reader_and_probe(tmp_path, noise, suffix):
    path = tmp_path / f"a.{suffix}"
    noise(path, 64, 64)
    path.write_bytes(path.read_bytes()[:-200])
    for look in (read_rgb, probe):
        with pytest.raises(UnreadableImage):
            look(path)


def test_a_flipped_byte_in_a_png_is_refused(tmp_path, noise):
    path = tmp_path / "a.png"
    noise(path, 64, 64)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    for look in (read_rgb, probe):
        with pytest.raises(UnreadableImage, match="damaged"):
            look(path)


def test_random_damage_never_raises_anything_else(tmp_path, noise):
    rng = np.random.default_rng(1)
    for suffix in ("png", "jpg", "webp", "tiff", "bmp"):
        path = tmp_path / f"a.{suffix}"
        noise(path, 24, 24)
        sound = path.read_bytes()
        for _ in range(40):
            data = bytearray(sound)
            for place in rng.integers(0, len(data), 3):
                data[place] = rng.integers(0, 256)
            path.write_bytes(data[: rng.integers(1, len(data) + 1)])
            try:
                assert read_rgb(path).ndim == 3
            except UnreadableImage:
                continue


def test_only_regular_files_are_opened(tmp_path):
    with pytest.raises(UnreadableImage, match="no such file"):
        read_rgb(tmp_path / "none.png")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.png")
        with pytest.raises(UnreadableImage, match="not a regular file"):
            read_rgb(tmp_path / "pipe.png")


def test_listing_is_sorted_and_takes_images_only(tmp_path, noise):
    for name in ("b.png", "a.JPG", "deep/c.webp", ".hidden/d.png", ".e.png"):
        noise(tmp_path / name, 2, 2)
    (tmp_path / "notes.txt").write_text("no image")
    found, refused = list_images(tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in found] == ["a.JPG", "b.png", "deep/c.webp"]
    assert not refused
    assert len(list_images(tmp_path, recursive=False)[0]) == 2
    assert [path.name for path in list_images(tmp_path, pattern="b*")[0]] == ["b.png"]


def test_links_that_leave_the_folder_are_named(tmp_path, noise):
    noise(tmp_path / "outside" / "secret.png", 2, 2)
    noise(tmp_path / "in" / "a.png", 2, 2)
    here = tmp_path / "in"
    (here / "inside.png").symlink_to(here / "a.png")
    (here / "leaves.png").symlink_to(Path("..") / "outside" / "secret.png")
    (here / "folder").symlink_to(tmp_path / "outside")
    found, refused = list_images(here)
    assert [path.name for path in found] == ["a.png", "inside.png"]
    assert len(refused) == 2
    assert any("leaves.png: a link that leaves" in line for line in refused)
    assert any("folder: a link to a folder" in line for line in refused)


def test_a_folder_is_called_one(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImage, match="a folder; name the images in it"):
        read_rgb(tmp_path)


def deep_png(width: int, height: int, colour_type: int) -> bytes:
    """PNG of 16 bits a channel, which Pillow cannot write in colour."""
    channels = {0: 1, 2: 3, 4: 2, 6: 4}[colour_type]
    rows = b"".join(b"\0" + b"\x40\x41" * (width * channels) for _ in range(height))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_what_an_image_lost_is_said(tmp_path, noise):
    for colour_type in (0, 2, 4, 6):
        (tmp_path / f"deep{colour_type}.png").write_bytes(deep_png(3, 2, colour_type))
    (tmp_path / "deep.ppm").write_bytes(b"P6 2 2 65535\n" + bytes(24))
    noise(tmp_path / "plain.png", 4, 5)
    noise(tmp_path / "plain.jpg", 4, 5)
    (tmp_path / "plain.ppm").write_bytes(b"P6 2 2 255\n" + bytes(12))
    for name, alpha in (("opaque", 255), ("half", 128)):
        Image.new("RGBA", (2, 2), (9, 9, 9, alpha)).save(tmp_path / f"{name}.png")
    palette = Image.new("P", (2, 2))
    palette.save(tmp_path / "hole.png", transparency=0)
    still = Image.new("RGB", (2, 2))
    still.save(tmp_path / "moving.webp", save_all=True, append_images=[Image.new("RGB", (2, 2), "red")])
    expected = {
        **{f"deep{colour_type}.png": (DEPTH,) for colour_type in (0, 2)},
        **{f"deep{colour_type}.png": (DEPTH, TRANSPARENCY) for colour_type in (4, 6)},
        "deep.ppm": (DEPTH,),
        **dict.fromkeys(("plain.png", "plain.jpg", "plain.ppm", "opaque.png"), ()),
        **dict.fromkeys(("half.png", "hole.png"), (TRANSPARENCY,)),
        "moving.webp": (FRAMES,),
    }
    assert {name: read_image(tmp_path / name)[1] for name in expected} == expected
    assert {name: probe_image(tmp_path / name)[1] for name in expected} == expected


def test_pillows_own_limit_stands_for_others(tmp_path):
    """Larger images are read here, and the limit of the process is as it was, also after a file that is none."""
    before = Image.MAX_IMAGE_PIXELS
    (tmp_path / "large.png").write_bytes(png_of_size(2**14, 2**14))
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(UnreadableImage, match="cut short"):  # and not for its size
        read_rgb(tmp_path / "large.png")
    with pytest.raises(UnreadableImage):
        read_rgb(tmp_path / "text.png")
    assert before == Image.MAX_IMAGE_PIXELS

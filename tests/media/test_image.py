"""Images in memory: what is converted how, as of files, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nic_lightning.data.images import read_image
from nic_lightning.errors import DataError, UserError
from nic_lightning.media.image.colours import NO_PROFILE
from nic_lightning.media.image.memory import MAX_OVERSHOOT, read_picture, to_pixels, to_tensor, write_picture
from nic_lightning.media.image.pixels import DEPTH, FRAMES, TRANSPARENCY


@pytest.fixture
def rgb() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def pixels_of(picture) -> tuple[np.ndarray, tuple[str, ...]]:
    x, changes = read_picture(picture)
    assert (x.dtype, x.shape[:2]) == (torch.float32, (1, 3))
    return to_pixels(x[0]), changes


def test_an_image_is_the_same_however_it_is_held(rgb: np.ndarray) -> None:
    tensor = to_tensor(rgb)
    for picture in (Image.fromarray(rgb), rgb, rgb[::-1][::-1], tensor, tensor[None], tensor.double()):
        found, changes = pixels_of(picture)
        assert np.array_equal(found, rgb)
        assert changes == ()
    for kind in ("pil", "numpy", "torch"):
        back, _ = pixels_of(write_picture(tensor[None], kind))
        assert np.array_equal(back, rgb)
    assert write_picture(tensor[None]).mode == "RGB"
    assert write_picture(tensor[None], "numpy").dtype == np.uint8
    assert torch.equal(write_picture(tensor[None], "torch"), tensor)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr", "HSV", "I;16"])
@pytest.mark.parametrize("suffix", ["tiff", "png"])
def test_a_pil_image_is_read_as_its_file_is(rgb: np.ndarray, tmp_path: Path, mode: str, suffix: str) -> None:
    image = Image.fromarray(rgb.astype(np.uint16)[..., 0] * 257) if mode == "I;16" else Image.fromarray(rgb)
    image = image if mode == "I;16" else image.convert(mode)
    if mode in ("LA", "RGBA"):
        image.putalpha(Image.fromarray(rgb[..., 0]))
    path = tmp_path / f"image.{suffix}"
    try:
        image.save(path)
    except OSError:
        pytest.skip(f"{suffix} has no {mode}")
    expected = read_image(path, photograph=True)
    for held in (image, Image.open(path)):
        found, changes = pixels_of(held)
        assert np.array_equal(found, expected[0])
        assert changes == expected[1]
    assert expected[1] == {"LA": (TRANSPARENCY,), "RGBA": (TRANSPARENCY,), "I;16": (DEPTH,), "CMYK": (NO_PROFILE,)}.get(
        mode, ()
    )


def test_an_opened_file_is_turned_upright_and_its_frames_are_counted(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (20, 10)).save(tmp_path / "turned.jpg", exif=exif)
    assert pixels_of(Image.open(tmp_path / "turned.jpg"))[0].shape == (20, 10, 3)
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "two.tiff", save_all=True, append_images=frames[1:])
    with Image.open(tmp_path / "two.tiff") as opened:
        assert pixels_of(opened)[1] == (FRAMES,)
        opened.seek(1)
        found, changes = pixels_of(opened)
    assert (found[0, 0].tolist(), changes) == ([0, 0, 255], ())


def test_arrays_and_tensors_of_other_channels_and_depths(rgb: np.ndarray) -> None:
    grey = np.repeat(rgb[..., :1], 3, axis=2)
    for picture in (rgb[..., 0], rgb[..., :1], to_tensor(grey)[:1], to_tensor(grey)[None, :1]):
        found, changes = pixels_of(picture)
        assert np.array_equal(found, grey)
        assert changes == ()
    deep = rgb.astype(np.uint16) * 256 + 77
    found, changes = pixels_of(deep)
    assert np.array_equal(found, rgb)
    assert changes == (DEPTH,)
    alpha = np.concatenate([rgb, np.full_like(rgb[..., :1], 255)], axis=2)
    assert np.array_equal(pixels_of(alpha)[0], rgb)
    alpha[0, 0, 3] = 0
    clear = torch.from_numpy(alpha).permute(2, 0, 1) / 255
    for picture in (alpha, clear):
        found, changes = pixels_of(picture)
        assert found[0, 0].tolist() == [0, 0, 0]
        assert np.array_equal(found[1:], rgb[1:])
        assert changes == (TRANSPARENCY,)


def test_rounding_errors_are_no_other_range(rgb: np.ndarray) -> None:
    x = to_tensor(rgb)
    over = (x * (1 + 2 * MAX_OVERSHOOT) - MAX_OVERSHOOT) * 0.999
    found, _ = read_picture(over)
    assert 0 <= found.min() <= found.max() <= 1


X = torch.rand(3, 4, 4)


@pytest.mark.parametrize(
    ("picture", "sentence"),
    [
        ("photo.png", "A value of type str is no image: give a PIL image, a uint8 array"),
        (None, "A value of type NoneType is no image"),
        ([[1, 2], [3, 4]], "A value of type list is no image"),
        (np.zeros((4, 4, 3)), r"An array of float64 and shape \(4, 4, 3\) has no known range.*astype\('uint8'\)"),
        (np.zeros((4, 4, 3), np.int64), "An array of int64"),
        (np.zeros((4, 4, 2), np.uint8), r"shape \(4, 4, 2\) is no image: the last axis"),
        (np.zeros((3, 40, 40), np.uint8), "the last axis has the channels"),
        (np.zeros((2, 4, 4, 3), np.uint8), r"shape \(2, 4, 4, 3\) is no image"),
        (np.zeros(4, np.uint8), "is no image"),
        (np.zeros((0, 4, 3), np.uint8), "An image of 0x4 has no pixels"),
        (torch.zeros(3, 4, 4, dtype=torch.uint8), "A tensor of uint8.*no known range.*x / 255"),
        (torch.zeros(2, 3, 4, 4), r"shape \(2, 3, 4, 4\) is 2 images"),
        (torch.zeros(5, 4, 3), "is no image: the axis before the last two"),
        (torch.zeros(4, 4), "is no image"),
        (255 * X, "values go from .* in \\[0, 1\\]"),
        (X - 0.5, "values go from"),
        (X * float("nan"), "values go from nan"),
        (
            Image.fromarray(np.zeros((4, 4), np.float32)),
            "mode F cannot be read: pixels of kind 'F' have no",
        ),
        (Image.fromarray(np.zeros((4, 4), np.int32)), "mode I cannot be read"),
        (Image.new("RGB", (0, 4)), "has no pixels"),
    ],
)
def test_what_is_no_image_is_one_sentence(picture, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence) as error:
        read_picture(picture)
    assert len(str(error.value).splitlines()) == 1


def test_a_cut_file_and_an_unknown_kind(rgb: np.ndarray, tmp_path: Path) -> None:
    Image.fromarray(np.tile(rgb, (40, 40, 1))).save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(data[: len(data) // 2])
    with (
        Image.open(tmp_path / "cut.png") as opened,
        pytest.raises(DataError, match="The image of mode RGB cannot be read: "),
    ):
        read_picture(opened)
    with pytest.raises(UserError, match="no kind of image 'jpeg'; there are: pil, numpy, torch"):
        write_picture(to_tensor(rgb)[None], "jpeg")  # pyright: ignore[reportArgumentType]

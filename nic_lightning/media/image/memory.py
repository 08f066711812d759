"""Images in memory: PIL images, arrays and tensors to the tensors that codecs take, and back."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from nic_lightning.errors import DataError, UserError
from nic_lightning.media.image.pixels import DEPTH, TRANSPARENCY, Changes, Pixels, to_rgb

Picture = Image.Image | NDArray[np.generic] | Tensor
"""What `encode` takes: see `read_picture`."""
Kind = Literal["pil", "numpy", "torch"]
KINDS: tuple[Kind, ...] = ("pil", "numpy", "torch")
MAX_OVERSHOOT = 0.5 / 255
"""By how much a float may leave [0, 1]: half a step of 8 bits, which resizing and rounding errors stay below."""


def to_tensor(pixels: Pixels) -> Tensor:
    """Float tensor (3, H, W) in [0, 1], RGB."""
    planes = np.ascontiguousarray(pixels.transpose(2, 0, 1))
    return torch.from_numpy(planes).float().div_(255)


def to_bytes(pixels: Pixels) -> Tensor:
    """The same pixels as a tensor of uint8 (1, 3, H, W), which shares their memory."""
    return torch.from_numpy(pixels).permute(2, 0, 1)[None]


def to_pixels(image: Tensor) -> Pixels:
    """8-bit pixels (H, W, 3) of a tensor (3, H, W), clipped to [0, 1] and rounded; those of one of uint8."""
    if image.dtype == torch.uint8:
        return image.detach().permute(1, 2, 0).cpu().contiguous().numpy()
    return image.detach().clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).cpu().numpy()


def size_of(picture: Picture) -> tuple[int, int]:
    """(H, W) of a picture, before any of its pixels is loaded; DataError for what is no picture."""
    if isinstance(picture, Image.Image):
        height, width = picture.height, picture.width
    elif isinstance(picture, Tensor) and picture.dim() in (3, 4):
        height, width = picture.shape[-2:]
    elif isinstance(picture, np.ndarray) and picture.ndim in (2, 3):
        height, width = picture.shape[:2]
    else:
        raise DataError(f"{_described(picture)} is no image: give {_TAKEN}.")
    if height * width == 0:
        raise DataError(f"An image of {height}x{width} has no pixels.")
    return height, width


def read_picture(picture: Picture) -> tuple[Tensor, Changes]:
    """A picture as codecs take it, float32 (1, 3, H, W) in [0, 1], and what it lost by it.

    Args:
        picture: a PIL image of any mode that `to_rgb` takes; an array of uint8 or uint16, (H, W), (H, W, 1), (H, W, 3)
            RGB or (H, W, 4) RGBA; or a float tensor in [0, 1], of 1, 3 or 4 channels, (C, H, W) or (1, C, H, W). Grey
            is repeated three times, transparency put on black, of 16 bits the high byte is kept, as of files.

    Raises:
        DataError: it is none of these.
    """
    size_of(picture)
    if isinstance(picture, Tensor):
        return _of_tensor(picture)
    if isinstance(picture, Image.Image):
        pixels, changes = _of_pil(picture)
    else:
        pixels, changes = _of_array(np.asarray(picture))
    return to_tensor(pixels)[None], changes


def write_picture(image: Tensor, kind: Kind = "pil") -> Picture:
    """A decoded image (1, 3, H, W) in [0, 1] as a picture: one of KINDS.

    "pil" is an RGB image, "numpy" uint8 (H, W, 3), both rounded to 8 bits; "torch" is float32 (3, H, W), not rounded.
    """
    require_kind(kind)
    if kind == "torch":
        return image[0]
    pixels = to_pixels(image[0])
    return Image.fromarray(pixels) if kind == "pil" else pixels


def require_kind(kind: str) -> None:
    """Raise UserError for what is none of KINDS."""
    if kind not in KINDS:
        raise UserError(f"There is no kind of image {kind!r}; there are: {', '.join(KINDS)}.")


_TAKEN = "a PIL image, a uint8 array (H, W, 3), or a float tensor (3, H, W) in [0, 1]"


def _described(value: object) -> str:
    if isinstance(value, np.ndarray | Tensor):
        kind = "An array" if isinstance(value, np.ndarray) else "A tensor"
        return f"{kind} of {str(value.dtype).removeprefix('torch.')} and shape {tuple(value.shape)}"
    return f"A value of type {type(value).__name__}"


def _of_pil(image: Image.Image) -> tuple[Pixels, Changes]:
    try:
        return to_rgb(image, photograph=True)
    except Exception as error:  # a file that is opened, and not decoded yet, may be damaged in any way
        said = " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
        raise DataError(f"The image of mode {image.mode} cannot be read: {said}.") from error


def _of_array(array: NDArray[np.generic]) -> tuple[Pixels, Changes]:
    if array.dtype not in (np.uint8, np.uint16):
        raise DataError(
            f"{_described(array)} has no known range: give {_TAKEN}; a float array in [0, 1] is "
            "(255 * array).round().astype('uint8')."
        )
    if array.ndim == 3 and array.shape[2] not in (1, 3, 4):
        raise DataError(f"{_described(array)} is no image: the last axis has the channels, 1, 3 (RGB) or 4 (RGBA).")
    changes: Changes = ()
    if array.dtype == np.uint16:
        array, changes = (array >> 8).astype(np.uint8), (DEPTH,)  # pyright: ignore[reportOperatorIssue]
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    pixels, more = to_rgb(Image.fromarray(np.ascontiguousarray(array)))
    return pixels, changes + more


def _of_tensor(x: Tensor) -> tuple[Tensor, Changes]:
    if x.dim() == 4 and len(x) != 1:
        raise DataError(f"{_described(x)} is {len(x)} images: a file holds one, so encode them one by one.")
    x = x.detach() if x.dim() == 4 else x.detach()[None]
    if not x.is_floating_point():
        raise DataError(f"{_described(x)} has no known range: give floats in [0, 1], such as x / 255 of 8 bits.")
    if x.shape[1] not in (1, 3, 4):
        raise DataError(
            f"{_described(x)} is no image: the axis before the last two has the channels, 1, 3 (RGB) or 4 (RGBA)."
        )
    low, high = (float(v) for v in x.aminmax())
    if not -MAX_OVERSHOOT <= low <= high <= 1 + MAX_OVERSHOOT:  # also of NaN
        raise DataError(f"The tensor's values go from {low:g} to {high:g}; those of an image lie in [0, 1].")
    x = x.float().clamp(0, 1)
    if x.shape[1] == 1:
        return x.repeat(1, 3, 1, 1), ()
    changes = (TRANSPARENCY,) if x.shape[1] == 4 and float(x[:, 3].min()) < 1 else ()
    return (x[:, :3] * x[:, 3:] if x.shape[1] == 4 else x), changes

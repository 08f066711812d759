"""`encode` and `decode`: images as Python programs hold them to the bytes of a file, and back."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast, overload

from torch import Tensor, nn

from nic_lightning.codecs.base import ImageCodec, OperatingPoint
from nic_lightning.codecs.choosing import Choice, default_point, file_at, file_for, wished_point
from nic_lightning.codecs.fitting import largest_within
from nic_lightning.codecs.quality import point_of_quality
from nic_lightning.errors import UserError
from nic_lightning.media import base as media
from nic_lightning.media.image.memory import Kind, Picture, read_picture, require_kind, size_of, write_picture

if TYPE_CHECKING:
    from PIL.Image import Image

    from nic_lightning.media.image.pixels import Pixels


class ImageCoding:
    """What learned and classic codecs offer to Python programs, on top of the protocol of `ImageCodec`."""

    medium: ClassVar[str] = media.DEFAULT
    """What the codec takes and gives back: the name of a medium (`media/base.py`)."""

    @property
    def default_point(self) -> OperatingPoint:
        """What `encode` takes where no point and no target is given: the middle one of the operating points.

        Of an even number, the later of the two in the middle. Raises UserError for a codec whose points are tasks.
        """
        return default_point(cast(ImageCodec, self))

    def encode(
        self,
        image: Picture,
        *,
        point: OperatingPoint | str | float | None = None,
        bpp: float | None = None,
        psnr: float | None = None,
        quality: int | None = None,
        max_bytes: int | None = None,
    ) -> bytes:
        """The bytes of an image's file, as `nic compress` writes them.

        Give one of `point`, `bpp`, `psnr`, `quality` and `max_bytes`, or none of them: then it is `default_point`. What
        the image loses on the way (transparency, 16 bits), and a target that is not met, are a UserWarning.

        Args:
            image: a PIL image; an array of uint8, (H, W, 3) RGB, or (H, W) grey; or a float tensor (3, H, W) or
                (1, 3, H, W) in [0, 1]. See `media.image.memory.read_picture` for what else is taken.
            point: label of an operating point, such as "512" or "w48"; a lambda, where lambda is continuous.
            bpp: bits of the whole file per pixel, met within 2 % where the codec can.
            psnr: dB of 8-bit images, met within 0.05 dB where the codec can.
            quality: 1, the lowest operating point, over 50, `default_point`, to 100, the highest.
            max_bytes: of the file; the highest quality that fits.

        Raises:
            DataError: it is no such image.
            UserError: the codec has no such point, makes no files, none as small as `max_bytes`, or the target makes no
                sense.
        """
        wishes = {"point": point, "bpp": bpp, "psnr": psnr, "quality": quality, "max_bytes": max_bytes}
        wishes = {name: wish for name, wish in wishes.items() if wish is not None}
        if len(wishes) > 1:
            raise UserError(f"encode takes one of point, bpp, psnr, quality and max_bytes, not {' and '.join(wishes)}.")
        codec = cast(Any, self)
        if hasattr(codec, "require_files"):
            codec.require_files()
        codec.require_size(*size_of(image))
        x, changes = read_picture(image)
        choice = self._choice(_to_device(x, codec), wishes)
        lost = [f"{change[0].upper()}{change[1:]}." for change in changes]
        for sentence in filter(None, [choice.message, *lost]):
            warnings.warn(sentence, stacklevel=2)
        return choice.data

    def _choice(self, x: Tensor, wishes: Mapping[str, Any]) -> Choice:
        codec = cast(ImageCodec, self)
        match dict(wishes):
            case {"max_bytes": most}:
                return largest_within(codec, x, most)
            case {"quality": quality}:
                return file_at(codec, x, point_of_quality(codec, quality))
            case {"bpp": _} | {"psnr": _}:
                return file_for(codec, x, **wishes)
        return file_at(codec, x, wished_point(codec, wishes.get("point")))

    @overload
    def decode(self, data: bytes, kind: Literal["pil"] = ..., **receiver: Any) -> Image: ...
    @overload
    def decode(self, data: bytes, kind: Literal["numpy"], **receiver: Any) -> Pixels: ...
    @overload
    def decode(self, data: bytes, kind: Literal["torch"], **receiver: Any) -> Tensor: ...
    def decode(self, data: bytes, kind: Kind = "pil", **receiver: Any) -> Picture:
        """The image of a file's bytes.

        Args:
            data: what `encode` or `nic compress` wrote with this codec.
            kind: "pil", an RGB image; "numpy", uint8 (H, W, 3); "torch", float32 (3, H, W) in [0, 1], not rounded to 8
                bits, on the codec's device.
            receiver: what only a receiver has, such as `style` of a codec that translates.

        Raises:
            BitstreamError: the file is cut, altered, foreign, or made by another model.
            UserError: there is no such kind, or the codec cannot decode.
        """
        require_kind(kind)
        if not isinstance(data, bytes | bytearray | memoryview):
            raise UserError(f"decode takes the bytes of a file, not {type(data).__name__}: Path(...).read_bytes().")
        codec = cast(Any, self)
        encoded, point = codec.unpack(bytes(data))
        return write_picture(codec.decompress(encoded, point, **receiver), kind)


def _to_device(x: Tensor, codec: object) -> Tensor:
    parameter = next(codec.parameters(), None) if isinstance(codec, nn.Module) else None
    return x if parameter is None else x.to(parameter.device)

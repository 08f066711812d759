"""Base of the learned codecs: padding and real bits. A method adds transforms and operating points."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self, TypeGuard

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nic_lightning.codecs.base import CodecOutput, Encoded, OperatingPoint
from nic_lightning.codecs.choosing import labelled_point
from nic_lightning.codecs.coding import ImageCoding
from nic_lightning.codecs.files import ImageFiles
from nic_lightning.codecs.receiver import DECLARED, Decoded, Decoding, ReceiverOption
from nic_lightning.codecs.strips import Reach, analysis_of, synthesis_of
from nic_lightning.entropy.gaussian import rows_of_file_version
from nic_lightning.errors import UserError
from nic_lightning.layers.precision import without_autocast


class LearnedCodec(ImageCoding, ImageFiles):
    """A codec with an analysis transform `g_a`, a synthesis transform `g_s` and entropy models `entropy_*`.

    A method defines `operating_points`, `analysis`, `synthesis` and the three methods of its latents:
    `likelihoods` (training and estimates), `encode_latents` and `decode_latents` (real bits).
    """

    stride = 16
    """Image samples from one latent to the next, in each direction."""
    downsampling = 16
    """Images are padded to multiples of it: the stride of the coarsest latent, a multiple of `stride`."""
    memory_format: torch.memory_format = torch.channels_last
    """Layout of images and feature maps inside the transforms; channels last is the faster one on CPUs."""
    lambda_range: tuple[float, float] | None = None
    """Reachable lambdas when the codec's lambda is continuous."""
    _reaches: dict[tuple[object, ...], Reach | None] | None = None
    comes_trained = False
    """Whether its config has given it trained weights; others get theirs from a run."""
    translates: ClassVar[bool] = False
    """Whether files can be decoded into another domain than that of their image; then there are `domains`."""
    nested: ClassVar[tuple[str, ...]] = ()
    """Arguments of the constructor that are plain configs of other codecs."""
    files: ClassVar[tuple[str, ...]] = ()
    """Arguments that name files, which only a user's own config may, and none in a checkpoint or export."""
    receiver_options: ClassVar[tuple[ReceiverOption, ...]] = ()
    """What only a receiver has: options of `nic decompress`, arguments of `decoding`."""

    @property
    def name(self) -> str:
        """Module name of the method, as in conf/codec."""
        return type(self).__module__.rsplit(".", 1)[-1]

    @property
    def operating_points(self) -> Sequence[OperatingPoint]:
        """Trained points, from the lowest rate to the highest."""
        raise NotImplementedError

    @property
    def candidate_points(self) -> Sequence[OperatingPoint]:
        """Every discrete point that a file may name and a rate search may try; begins with `operating_points`."""
        return self.operating_points

    def analysis(self, x: Tensor, point: OperatingPoint) -> Tensor:
        """Latents y (N, C, H/16, W/16) of padded images (N, 3, H, W)."""
        raise NotImplementedError

    def synthesis(self, y_hat: Tensor, point: OperatingPoint) -> Tensor:
        """Images (N, 3, 16h, 16w), not clipped, of latents (N, C, h, w)."""
        raise NotImplementedError

    def likelihoods(self, y: Tensor, point: OperatingPoint) -> tuple[Tensor, dict[str, Tensor]]:
        """Quantised (or noisy) latents and the likelihoods of all that is transmitted."""
        raise NotImplementedError

    def encode_latents(self, y: Tensor, point: OperatingPoint) -> tuple[list[bytes], dict[str, Tensor]]:
        """Strings of one image's latents (1, C, h, w), and the quantised latents for an evaluation to compare."""
        raise NotImplementedError

    def decode_image_latents(
        self, strings: Sequence[bytes], size: tuple[int, int], point: OperatingPoint
    ) -> dict[str, Tensor]:
        """Inverse of `encode_latents` for latents of `size` (h, w); "y" is what the synthesis transform takes."""
        raise NotImplementedError

    @property
    def makes_files(self) -> bool:
        """Whether there is a bottleneck; without one nothing is rounded, and a file would be of another codec."""
        return True

    def require_files(self) -> None:
        """Raise UserError where the codec makes none."""
        if not self.makes_files:
            raise UserError(
                f"This {self.name} has no bottleneck (codec.decoder_input=continuous) and makes no files: measure its "
                "translations by nic-evaluate with translation.train and .validation, evaluation.datasets=[], or draw "
                "them by nic grid."
            )

    def reconstructs(self, point: OperatingPoint) -> bool:
        """Whether decoding gives back the image; a translation gives another one, which nothing is compared with."""
        return True

    def decodes_alone(self, point: OperatingPoint) -> bool:
        """Whether this codec makes an image of its own files, with nothing that only another machine has."""
        return True

    def decoding(self, **wishes: Any) -> Decoding:
        """How a receiver decodes files with its choices, which are those of `receiver_options`; None and False: none.

        Raises:
            UserError: the codec has no such choice, or choices contradict one another.
        """
        self.require_options(wishes)
        return Decoding((), lambda data: Decoded(((),), iter([self.decompress(*self.unpack(data), dtype=torch.uint8)])))

    def require_options(self, wishes: Mapping[str, Any]) -> None:
        """Raise UserError for a choice of a receiver that the codec does not offer."""
        own = {option.name for option in self.receiver_options}
        for option in (option for options in DECLARED.values() for option in options if option.name not in own):
            value = wishes.get(option.name)
            if value is not None and value is not False:
                raise UserError(f"Codec {self.name} has no {option.what}: leave --{option.name} out.")

    def narrowed(self, width: int) -> Self:
        """The codec up to a width alone; UserError for one that has no widths."""
        raise UserError(f"Codec {self.name} has no widths: --width is for slimmable codecs, such as codec=slimmable.")

    def half_of(self, side: str) -> Self:
        """What the "sender" or the "receiver" needs; UserError for a codec that has no such half."""
        raise UserError(
            f"Codec {self.name} has no halves: --half is for codec=point_cloud, translation codecs, such as "
            "codec=i2icodec, and scalable."
        )

    def config_of(self, whole: Mapping[str, Any]) -> dict[str, Any]:
        """The config that builds this codec, a part of the one that the config `whole` builds."""
        return dict(whole)

    def config_to_keep(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """What of the config that built this codec goes into checkpoints: all but files."""
        return dict(config) | {name: None for name in self.files if name in config}

    def require_onnx(self) -> None:
        """Raise UserError where the transforms cannot be ONNX files."""

    def c_header(self) -> Any:
        """The encoder as a C header (`codecs/c_header.py`); UserError where there is none."""
        raise UserError(f"Codec {self.name} has no C header: --c-header is for codec=point_cloud, micro or lite.")

    def receiver_example(self, point: OperatingPoint) -> dict[str, Any]:
        """What only a receiver has, as further arguments of `forward`, `synthesis` and `decompress`: here, nothing.

        Measurements decode with it where nothing else is given.
        """
        return {}

    def update_tables(self) -> None:
        """Make the integer CDF tables from the trained densities: before validation, evaluation and export."""
        for module in self.models_to_update():
            module.update()  # pyright: ignore[reportCallIssue]

    def models_to_update(self) -> list[nn.Module]:
        """Entropy models whose tables follow from what is trained; a codec with frozen ones leaves these out."""
        return self.entropy_models()

    # What follows is the same for every method.

    @property
    def reaches(self) -> dict[tuple[object, ...], Reach | None]:
        """How far the transforms look, as `codecs/strips.py` has found it."""
        if self._reaches is None:
            self._reaches = {}
        return self._reaches

    def auxiliary_loss(self) -> Tensor:
        """Sum of the entropy bottlenecks' quantile losses, in float32 also under autocast."""
        bottlenecks = [m for m in self.entropy_models() if hasattr(m, "quantiles")]
        with without_autocast(bottlenecks[0].quantiles.device.type):  # pyright: ignore
            return torch.stack([m.loss() for m in bottlenecks]).sum()  # pyright: ignore[reportCallIssue]

    def entropy_models(self) -> list[nn.Module]:
        """Modules that hold CDF tables."""
        return [m for m in self.modules() if hasattr(m, "_quantized_cdf")]

    def point(self, label: str) -> OperatingPoint:
        """Operating point of a label, or of a lambda when lambda is continuous."""
        return labelled_point(self, label)

    def point_at(self, lmbda: float) -> OperatingPoint:
        """The point of a lambda, trained or between two trained ones."""
        raise UserError(f"The lambda of codec {self.name} is not continuous; choose one of its operating points.")

    def forward(self, x: Tensor, point: OperatingPoint) -> CodecOutput:
        """Differentiable pass over images (N, 3, H, W) in [0, 1]; noise while training, rounding otherwise."""
        return self.output(x, self.analysis(self.pad(x), point), point)

    def outputs(self, x: Tensor) -> Iterator[CodecOutput]:
        """`forward` at one operating point after the other; codecs whose points share work do it once."""
        for point in self.operating_points:
            yield self(x, point)

    def training_outputs(self, x: Tensor) -> Iterator[tuple[OperatingPoint, Tensor, CodecOutput]]:
        """What one training step takes: points, crops (n, 3, H, W) and the forward pass of those crops at that point.

        Here, all crops at every operating point; a codec may deal them out among its points.
        """
        for point, output in zip(self.operating_points, self.outputs(x), strict=True):
            yield point, x, output

    def output(self, x: Tensor, y: Tensor, point: OperatingPoint) -> CodecOutput:
        """What follows the analysis in a forward pass: latents y of images x to reconstructions and likelihoods."""
        y_hat, likelihoods = self.likelihoods(y, point)
        x_hat = self.synthesis(y_hat, point)[..., : x.shape[-2], : x.shape[-1]]
        return CodecOutput(x_hat, likelihoods, y, y_hat)

    def pad(self, x: Tensor) -> Tensor:
        """Repeat the last row and column until both sides are multiples of `downsampling`."""
        bottom, right = (-x.shape[-2] % self.downsampling, -x.shape[-1] % self.downsampling)
        padded = F.pad(x, (0, right, 0, bottom), mode="replicate") if bottom or right else x
        return padded.contiguous(memory_format=self.memory_format)

    def counted_input(self, size: tuple[int, int]) -> tuple[Tensor, tuple[int, int]]:
        """What operations are counted on, on the meta device, for images of `size` (H, W), and the size that it has.

        A codec of another medium whose inputs have no such size has one of its own.
        """
        return self.pad(torch.empty(1, 3, *size, device="meta")), size

    def padded_size(self, height: int, width: int) -> tuple[int, int]:
        """(H, W) of an image after `pad`."""
        step = self.downsampling
        return -(-height // step) * step, -(-width // step) * step

    @torch.no_grad()
    def compress(self, x: Tensor, point: OperatingPoint) -> Encoded:
        """Entropy-code images (N, 3, H, W), in [0, 1] or uint8, each on its own: no string depends on its batch.

        Large ones go through the analysis in strips (`codecs/strips.py`).
        """
        self.require_size(*x.shape[-2:])
        columns, latents = [], []
        for image in x.split(1):
            strings, quantised = self.encode_latents(analysis_of(self, image, point), point)
            columns.append(strings)
            latents.append(quantised)
        together = {key: _joined([item[key] for item in latents]) for key in latents[0]}
        return Encoded(tuple(zip(*columns, strict=True)), (x.shape[-2], x.shape[-1]), together)

    @torch.no_grad()
    def decompress(self, encoded: Encoded, point: OperatingPoint, dtype: torch.dtype = torch.float32) -> Tensor:
        """Images (N, 3, H, W) in [0, 1], or uint8; raises BitstreamError for strings that `compress` did not write."""
        return self.images(self.decode_latents(encoded, point)["y"], point, encoded.shape, dtype)

    @torch.no_grad()
    def images(
        self, latents: Tensor, point: OperatingPoint, shape: tuple[int, int], dtype: torch.dtype = torch.float32
    ) -> Tensor:
        """Images (N, 3, H, W) in [0, 1], or uint8, of quantised latents, cropped to `shape` (H, W).

        Large ones go through the synthesis in strips.
        """
        return _joined([synthesis_of(self, y, point, shape, dtype) for y in latents.split(1)])

    @torch.no_grad()
    def decode_latents(self, encoded: Encoded, point: OperatingPoint) -> dict[str, Tensor]:
        """Latents by name as the receiver decodes them."""
        padded = self.padded_size(*encoded.shape)
        columns = list(zip(*encoded.strings, strict=True)) or [()]  # a file without strings is refused below
        with rows_of_file_version(encoded.version):
            decoded = [
                self.decode_image_latents(column, (padded[0] // self.stride, padded[1] // self.stride), point)
                for column in columns
            ]
        return {key: _joined([item[key] for item in decoded]) for key in decoded[0]}

    def standalone(self, point: OperatingPoint) -> tuple[LearnedCodec, OperatingPoint]:
        """A codec without what `point` does not use, and the point in it: here, the codec itself."""
        return self, point


def _joined(parts: Sequence[Tensor]) -> Tensor:
    """One batch; a single part is not copied, since those of a large image take gigabytes."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


def in_entropy_model(name: str) -> bool:
    """Whether a parameter or module is of an entropy model, by its name: all stand below a submodule `entropy_...`."""
    return any(part.startswith("entropy_") for part in name.split("."))


def is_learned(codec: object) -> TypeGuard[LearnedCodec]:
    """Whether a codec is one of ours: it has weights, a fingerprint, and parts whose cost is counted."""
    return isinstance(codec, LearnedCodec)

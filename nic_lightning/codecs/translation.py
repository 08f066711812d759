"""Distributed image-to-image translation: encode here, decode there in another domain and style (thesis chapter 4)."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from nic_lightning.codecs.base import CodecOutput, Encoded, OperatingPoint
from nic_lightning.codecs.learned import LearnedCodec
from nic_lightning.codecs.receiver import STYLE, Decoded, Decoding, ReadImage
from nic_lightning.entropy.factorised import EntropyBottleneck
from nic_lightning.entropy.gaussian import GaussianConditional
from nic_lightning.errors import BitstreamError, UserError
from nic_lightning.layers.convolution import conv, deconv
from nic_lightning.layers.precision import in_float64
from nic_lightning.layers.stargan import ContentEncoder, MappingNetwork, StyledDecoder, StyleEncoder, initialise

TRANSLATE = OperatingPoint(0, "translate", mode="translate")
AUTOENCODE = OperatingPoint(1, "autoencode", mode="autoencode")
SIDES = {"both": (), "sender": ("decoder", "mapping", "style_encoder"), "receiver": ("encoder", "h_a")}
"""Networks that a side lacks; hyper-synthesis and entropy models are on both."""

MAX_SAMPLES = 1000
DECODER_INPUTS = ("noise", "ste", "continuous")


class I2ICodec(LearnedCodec):
    """Content travels, style does not: the receiver draws it, or takes it from an image of its own (section 4.3.1).

        x ─ E^c ─ y ─ Q ─ y_hat ────────────── G ─ x_hat
                  │      └─ Gaussian(scales)   │
                 h_a                           s = M(w, domain), w random, or E^s(reference, domain)
                  │
                  z ─ Q ─ z_hat ─ h_s ─ scales

    E^c, G, M and E^s are the networks of StarGAN v2, cut between encoder and decoder; y is coded with a scale
    hyperprior (Ballé et al. 2018). The thesis does not state the number of latent channels nor of the hyperprior's; all
    512 of StarGAN v2's content and 64 are ours (58,252,355 parameters with entropy models, 2 domains).

    G begins with an instance normalisation, which blows a channel that noise alone fills up to unit variance, while
    rounding leaves it 0. `decoder_input` "noise" trains G on noisy latents, as the thesis; "ste" on rounded ones, with
    the gradient passed straight through (as Mentzer et al. 2020), so that G sees the same in training and in use;
    "continuous" on y itself, also in evaluation, which is StarGAN v2 without a bottleneck, and makes no files.

    Args:
        domains: names of the domains, in the order of their labels.
        base: channels at full resolution; doubled at each halving, to `widest` at most.
        widest: channels at most.
        halvings: how often E^c halves both sides; latents are H / 2^halvings.
        latents: channels of y.
        hyper: channels of the hyperprior.
        style_dim: length of a style.
        latent_dim: length of the random vector w.
        size: side of the square images that E^s takes (and the discriminators see).
        decoder_input: "noise", "ste" or "continuous".
        side: "both", or whose networks there are: "sender" or "receiver".
    """

    receiver_options = STYLE
    translates = True
    modes: ClassVar[tuple[OperatingPoint, ...]] = (TRANSLATE,)
    whole: Tensor | None
    """Of a half: fingerprint of the whole codec, 8 bytes."""
    memory_format = torch.contiguous_format  # instance normalisation has no kernel for channels last

    def __init__(
        self,
        domains: Sequence[str] = ("female", "male"),
        base: int = 64,
        widest: int = 512,
        halvings: int = 4,
        latents: int = 512,
        hyper: int = 64,
        style_dim: int = 64,
        latent_dim: int = 16,
        size: int = 256,
        decoder_input: str = "noise",
        side: str = "both",
    ):
        super().__init__()
        if len(domains) < 2 or len(set(domains)) < len(domains):
            raise UserError(f"codec.domains is {list(domains)}; give two or more distinct names.")
        if decoder_input not in DECODER_INPUTS:
            raise UserError(f"codec.decoder_input is {decoder_input!r}; it can be {', '.join(DECODER_INPUTS)}.")
        if size < 8 or size & (size - 1):
            raise UserError(f"codec.size is {size}; it can be a power of two from 8 on.")
        if side not in SIDES:
            raise UserError(f"codec.side is {side!r}; it can be {', '.join(SIDES)}.")
        modal = len(self.modes) > 1
        self.base, self.widest = base, widest
        self.domains, self.size, self.decoder_input = tuple(domains), size, decoder_input
        self.stride, self.downsampling = 2**halvings, 2 ** (halvings + 2)
        self.encoder: nn.Module = ContentEncoder(base, widest, halvings, latents, modes=modal)
        self.decoder: nn.Module = StyledDecoder(base, widest, halvings, latents, style_dim, modes=modal)
        self.mapping: nn.Module = MappingNetwork(len(domains), latent_dim, style_dim, hidden=widest)
        self.style_encoder: nn.Module = StyleEncoder(size, base, widest, style_dim, len(domains))
        for network in (self.encoder, self.decoder, self.mapping, self.style_encoder):
            initialise(network)
        self.h_a: nn.Module = nn.Sequential(
            conv(latents, hyper, 3), nn.ReLU(), conv(hyper, hyper, 5, 2), nn.ReLU(), conv(hyper, hyper, 5, 2)
        )
        self.h_s = nn.Sequential(
            deconv(hyper, hyper, 5, 2), nn.ReLU(), deconv(hyper, hyper, 5, 2), nn.ReLU(), conv(hyper, latents, 3)
        )
        self.entropy_z = nn.ModuleList(EntropyBottleneck(hyper, filters=(3, 3, 3, 3)) for _ in self.modes)
        self.entropy_y = GaussianConditional()
        self.register_buffer("whole", None)
        if side != "both":
            self._drop(side, bytes(8))

    @property
    def name(self) -> str:
        """As in conf/codec."""
        return type(self).__name__.lower()

    @property
    def operating_points(self) -> Sequence[OperatingPoint]:
        """One for each mode: the rate is set in training."""
        return self.modes

    def analysis(self, x: Tensor, point: OperatingPoint) -> Tensor:
        """Content y (N, latents, H / stride, W / stride) of padded images in [0, 1]."""
        self._require("encoder", "encode: this is the receiver's half")
        return self.encoder(2 * x - 1, _m(point))

    def synthesis(self, y_hat: Tensor, point: OperatingPoint, style: Tensor | None = None) -> Tensor:
        """Images of content, not clipped. Translation needs styles (N, style_dim), autoencoding has none."""
        self._require("decoder", "decode: this is the sender's half")
        return (self.decoder(y_hat, self._style(style, point, y_hat), _m(point)) + 1) / 2

    def forward(self, x: Tensor, point: OperatingPoint, style: Tensor | None = None) -> CodecOutput:
        """Differentiable pass over images in [0, 1], translated into `style`; noise while training, else rounding."""
        y_hat, likelihoods = self.likelihoods(y := self.analysis(self.pad(x), point), point)
        x_hat = self.synthesis(y_hat, point, style)[..., : x.shape[-2], : x.shape[-1]]
        return CodecOutput(x_hat, likelihoods, y, y_hat)

    @property
    def makes_files(self) -> bool:
        """Not with `decoder_input` "continuous"."""
        return self.decoder_input != "continuous"

    def reconstructs(self, point: OperatingPoint) -> bool:
        """Autoencoding does."""
        return point.mode == "autoencode"

    def decodes_alone(self, point: OperatingPoint) -> bool:
        """Not a translation, whose style is chosen later, and not where the decoder is elsewhere."""
        return self.reconstructs(point) and self.side != "sender"

    def require_onnx(self) -> None:
        """There are none."""
        raise UserError(f"Codec {self.name} has no ONNX files: its synthesis takes a style, too; leave --onnx out.")

    def config_of(self, whole: Mapping[str, Any]) -> dict[str, Any]:
        """The same, with the side."""
        return {**whole, "side": self.side}

    def receiver_example(self, point: OperatingPoint) -> dict[str, Any]:
        """For translation, the first random style of the last domain."""
        return {} if self.reconstructs(point) else {"style": self.random_styles(self.domains[-1], 1)}

    def _style(self, style: Tensor | None, point: OperatingPoint, y_hat: Tensor) -> Tensor:
        if point.mode == "autoencode":
            return y_hat.new_zeros(len(y_hat), self.style_dim)
        if style is None:
            known = ", ".join(self.domains)
            raise UserError(
                f"{self.name} translates into a style, which the receiver chooses: give the domain ({known}), "
                "--domain of nic decompress, style= in Python."
            )
        return style.to(y_hat)

    @property
    def style_dim(self) -> int:
        """Length of a style."""
        return self.decoder.decode[0].norm1.fc.in_features  # pyright: ignore

    @property
    def latent_dim(self) -> int:
        """Length of the random vector that the mapping network takes."""
        return self.mapping.latent_dim  # pyright: ignore

    def likelihoods(self, y: Tensor, point: OperatingPoint) -> tuple[Tensor, dict[str, Tensor]]:
        """What G sees, and the likelihoods of y and z."""
        z_hat, z_likelihood = self.entropy_z[point.index](self.h_a(y.abs()), training=self.training)
        y_hat, y_likelihood = self.entropy_y(y, self.h_s(z_hat))
        if self.decoder_input == "continuous":
            y_hat = y
        elif self.training and self.decoder_input == "ste":
            y_hat = y + (torch.round(y) - y).detach()
        return y_hat, {"y": y_likelihood, "z": z_likelihood}

    def encode_latents(self, y: Tensor, point: OperatingPoint) -> tuple[list[bytes], dict[str, Tensor]]:
        """Two strings, z then y; raises UserError for a codec without a bottleneck."""
        self.require_files()
        z_string, z_hat = self.entropy_z[point.index].encode(self.h_a(y.abs()))  # pyright: ignore[reportCallIssue]
        y_string, y_hat = self.entropy_y.encode(y, in_float64(self.h_s, z_hat))
        return [z_string, y_string], {"y": y_hat, "z": z_hat}

    def decode_image_latents(
        self, strings: Sequence[bytes], size: tuple[int, int], point: OperatingPoint
    ) -> dict[str, Tensor]:
        """Latents of the two strings."""
        self.expect_strings(strings, 2)
        z_hat = self.entropy_z[point.index].decode(strings[0], (size[0] // 4, size[1] // 4))  # pyright: ignore[reportCallIssue]
        return {"y": self.entropy_y.decode(strings[1], in_float64(self.h_s, z_hat)), "z": z_hat}

    @torch.no_grad()
    def decompress(self, encoded: Encoded, point: OperatingPoint, style: Tensor | None = None) -> Tensor:
        """Images (N, 3, H, W) in [0, 1], translated into styles (N, style_dim), or autoencoded, which has none.

        Raises BitstreamError for strings that `compress` did not write, UserError for a translation without a style.
        """
        latents = self.decode_latents(encoded, point)["y"]
        images = self.synthesis(latents, point, style)
        return images[..., : encoded.shape[0], : encoded.shape[1]].nan_to_num(0).clamp(0, 1)

    # The receiver's styles.

    def domain(self, name: str) -> int:
        """Label of a domain."""
        if name not in self.domains:
            raise UserError(f"The codec has no domain {name!r}; it has {', '.join(self.domains)}.")
        return self.domains.index(name)

    @torch.no_grad()
    def random_styles(self, domain: str, count: int, seed: int = 0) -> Tensor:
        """Styles (count, style_dim) of a domain; the i-th depends on (seed, i) alone."""
        self._require("mapping", "draw styles: this is the sender's half")
        draws = [torch.randn(self.latent_dim, generator=_generator(seed, i)) for i in range(count)]
        parameter = next(self.mapping.parameters())
        label = torch.tensor([self.domain(domain)], device=parameter.device)
        # One by one: in a batch the last digits would depend on how many there are.
        return torch.cat([self.mapping(draw[None].to(parameter), label) for draw in draws])

    @torch.no_grad()
    def reference_styles(self, domain: str, references: Tensor) -> Tensor:
        """Styles of reference images (N, 3, size, size) in [0, 1], taken for images of the domain."""
        self._require("style_encoder", "take styles from images: this is the sender's half")
        if references.shape[-2:] != (self.size, self.size):
            given = "x".join(map(str, references.shape[-2:]))
            raise UserError(
                f"A reference image is {given}; the style encoder takes {self.size}x{self.size}: resize it."
            )
        labels = torch.full((len(references),), self.domain(domain), device=references.device)
        return self.style_encoder(2 * references - 1, labels)

    def decoding(
        self,
        *,
        domain: str | None = None,
        reference: ReadImage | None = None,
        seed: int | None = None,
        samples: int | None = None,
        **wishes: Any,
    ) -> Decoding:
        """Files' translations into a domain: in the style of a reference, or in random ones. See `LearnedCodec`.

        Without a domain, files are decoded that need none. Raises what `reference` raises.
        """
        self.require_options(wishes)
        others = {"--reference": reference, "--seed": seed, "--samples": samples}
        given = [name for name, value in others.items() if value is not None]
        if domain is None:
            if given:
                raise UserError(f"{given[0]} chooses a style of a domain: give --domain, too.")
            return super().decoding()
        self.domain(domain)  # refuses unknown ones before an image is read
        if reference is not None:
            if len(given) > 1:
                raise UserError(f"A reference image has one style of its own: leave {given[1]} out.")
            image, note = reference(self.size)
            return self._translating(self.reference_styles(domain, image[None]), ((domain,),), f", {note}")
        if samples is not None and not 1 <= samples <= MAX_SAMPLES:
            raise UserError(f"--samples is {samples}; it can be 1 to {MAX_SAMPLES:,}.")
        endings = ((domain,),) if samples is None else tuple((domain, str(k + 1)) for k in range(samples))
        return self._translating(self.random_styles(domain, samples or 1, seed or 0), endings, f", seed {seed or 0}")

    def _translating(self, styles: Tensor, endings: tuple[tuple[str, ...], ...], note: str) -> Decoding:
        def of(data: bytes) -> Decoded:
            encoded, point = self.unpack(data)
            if point.mode != "translate":
                raise BitstreamError("the file was autoencoded, it has no style to choose: leave --domain out")
            images: Iterator[Tensor] = (self.decompress(encoded, point, style) for style in styles.split(1))
            return Decoded(endings, images, note)

        return Decoding(endings[0], of)

    # Two machines.

    def sender(self) -> Self:
        """A copy that can encode and not decode; its files are the whole codec's."""
        return self.half_of("sender")

    def receiver(self) -> Self:
        """A copy that can decode and not encode; it reads the whole codec's files."""
        return self.half_of("receiver")

    def half_of(self, side: str) -> Self:
        """A copy with the networks of one side, "sender" or "receiver"; UserError where they are not all here."""
        lost = [name for name in SIDES[_other(side)] if getattr(self, name) is None]
        if lost:
            raise UserError(f"This is the {_other(side)}'s half of {self.name}: it holds nothing for the {side}.")
        kept = {name: getattr(self, name) for name in SIDES[side]}
        try:
            for name in kept:
                setattr(self, name, None)
            half = copy.deepcopy(self)
        finally:
            for name, network in kept.items():
                setattr(self, name, network)
        half._drop(side, self.fingerprint())
        return half

    def _drop(self, side: str, fingerprint: bytes) -> None:
        for name in SIDES[side]:
            setattr(self, name, None)
        self.whole = torch.tensor(list(fingerprint), dtype=torch.uint8)

    @property
    def side(self) -> str:
        """Whose networks there are."""
        return next((side for side, lost in SIDES.items() if lost and getattr(self, lost[0]) is None), "both")

    def fingerprint(self) -> bytes:
        """That of the whole codec, also of its halves."""
        return super().fingerprint() if self.whole is None else bytes(self.whole.tolist())

    def _require(self, network: str, what: str) -> None:
        if getattr(self, network) is None:
            raise UserError(f"{self.name} cannot {what}.")


class UI2ICodec(I2ICodec):
    """I2ICodec and an image codec in one: a bit in the file says which of the two modes it is for (section 4.4.1).

    Units inside the residual blocks of E^c and G are linear in the mode; those of G also in the style, which is 0 for
    autoencoding. Each mode has a factorised entropy model of its own for z; all else is shared. With untouched units
    both modes are the I2ICodec of the same weights (58,273,027 parameters with entropy models, 2 domains).
    """

    modes = (TRANSLATE, AUTOENCODE)


def _other(side: str) -> str:
    return {"sender": "receiver", "receiver": "sender"}[side]


def _m(point: OperatingPoint) -> float:
    return float(point.mode == "autoencode")


def _generator(seed: int, index: int) -> torch.Generator:
    """One stream for each pair of numbers."""
    return torch.Generator().manual_seed((seed * 1_000_003 + index) % 2**63)


def as_translation(codec: object, problem: str) -> I2ICodec:
    """The codec, if it translates; else UserError with the sentence `problem`."""
    if not isinstance(codec, I2ICodec):
        raise UserError(problem)
    return codec

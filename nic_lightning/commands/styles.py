"""Styles that a receiver chooses for `nic decompress`: of a domain, at random or from an image of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from nic_lightning.codecs.learned import LearnedCodec
from nic_lightning.codecs.translation import I2ICodec
from nic_lightning.commands.each import each, read_file, require_free
from nic_lightning.data.domains import read_reference
from nic_lightning.errors import BitstreamError, UserError
from nic_lightning.metrics.evaluation import save_png
from nic_lightning.metrics.names import safe_name


@dataclass(frozen=True)
class Styles:
    """Styles (K, style_dim) of a domain, and what their files are called after the source's name."""

    values: Tensor
    endings: tuple[str, ...]
    note: str


def styles_of(
    codec: LearnedCodec,
    *,
    domain: str | None = None,
    reference: Path | None = None,
    seed: int | None = None,
    samples: int | None = None,
) -> Styles | None:
    """The styles that were asked for; None where no domain was named.

    Raises:
        UserError: the codec has no such domain or none at all, or the wishes contradict one another.
        DataError: the reference cannot be read, or is too far from a square (`read_reference`).
    """
    others = {"--reference": reference, "--seed": seed, "--samples": samples}
    given = [name for name, value in others.items() if value is not None]
    if domain is None:
        if given:
            raise UserError(f"{given[0]} chooses a style of a domain: give --domain, too.")
        return None
    if not isinstance(codec, I2ICodec):
        raise UserError(f"Codec {codec.name} has no domains: leave --domain out.")
    codec.domain(domain)  # refuses unknown ones before an image is read
    ending = f".{safe_name(domain)}"
    if reference is not None:
        if len(given) > 1:
            raise UserError(f"A reference image has one style of its own: leave {given[1]} out.")
        image, note = read_reference(reference, codec.size)
        return Styles(codec.reference_styles(domain, image[None]), (ending,), f" {note}")
    if samples is not None and not 1 <= samples <= MAX_SAMPLES:
        raise UserError(f"--samples is {samples}; it can be 1 to {MAX_SAMPLES:,}.")
    endings = (ending,) if samples is None else tuple(f"{ending}.{k + 1}" for k in range(samples))
    return Styles(codec.random_styles(domain, samples or 1, seed or 0), endings, f" seed {seed or 0}")


MAX_SAMPLES = 1000


def translate(codec: LearnedCodec, files: list[Path], out: Path, styles: Styles, overwrite: bool) -> int:
    """Write one PNG for each file and style into `out`; the exit code, 2 when a file could not be translated."""
    assert isinstance(codec, I2ICodec)

    def one(source: Path, target: Path) -> str:
        encoded, point = codec.unpack(read_file(source))
        if point.mode != "translate":
            raise BitstreamError("the file was autoencoded, it has no style to choose: leave --domain out")
        targets = [target.with_name(f"{source.stem}{ending}.png") for ending in styles.endings]
        for path in targets:
            require_free(path, overwrite)
        lines = []
        for path, style in zip(targets, styles.values.split(1), strict=True):
            x_hat = codec.decompress(encoded, point, style)
            save_png(x_hat[0], path)
            lines.append(f"{path}: {x_hat.shape[-2]}x{x_hat.shape[-1]},{styles.note}")
        return "\n".join(lines)

    return each(files, out, f"{styles.endings[0]}.png", one, overwrite)

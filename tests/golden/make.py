"""Write the golden files: for every learned codec of conf/codec, made tiny, what the present file format makes of it.

    python tests/golden/make.py

NAME/codec.json and weights.npz are the codec, made once. NAME/vVERSION.POINT.nic is a file of a small picture,
NAME/vVERSION.POINT.npz its latents. What is there is left alone: a file that was ever written stays readable.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch.nn import functional as F

from nic_lightning import bitstream
from nic_lightning.codecs.encoding_distribution import EncodingDistribution
from nic_lightning.codecs.learned import LearnedCodec, in_entropy_model
from nic_lightning.codecs.loading import build_codec
from nic_lightning.codecs.point_cloud import PointCloudCodec
from nic_lightning.config import compose
from nic_lightning.losses.rate_distortion import bits
from nic_lightning.media.base import DEFAULT, medium_of

FOLDER = Path(__file__).parent
TINY = {"width": 4, "deep": 4, "hidden": 4, "base": 2, "widest": 4, "latents": 4, "hyper": 3, "halvings": 2, "size": 32}


VARIANTS = {
    "compressai_serial": ["codec=compressai", "codec.arch=mbt2018"],
    "compressai_tree": ["codec=compressai", "codec.arch=cheng2020-anchor-checkerboard"],
    "compressai_variable": ["codec=compressai", "codec.arch=bmshj2018-hyperprior-vbr", "codec.side_steps=true"],
    "compressai_variable_serial": ["codec=compressai", "codec.arch=mbt2018-vbr"],
}
"""Codecs of one YAML that code in other ways."""


def tiny(name: str) -> tuple[LearnedCodec, dict] | None:
    """A codec of a few thousand weights that vary, and its config; None for a classic one."""
    overrides = VARIANTS.get(name, [f"codec={name}"])
    config = OmegaConf.to_container(compose("train", overrides).codec, resolve=True)
    assert isinstance(config, dict)
    if not config["_target_"].startswith("nic_lightning.codecs."):
        return None
    if isinstance(config.get("base"), dict):  # the config of a codec that is wrapped
        config |= {"base": config["base"] | {"width": TINY["width"]}, "bins": 16, "hidden": 4, "side": 2}
    config |= {key: value for key, value in TINY.items() if isinstance(config.get(key), int)}
    if "arch" in config:  # null stands for the sizes of the architecture
        config |= {"width": TINY["width"], "latents": TINY["latents"]}
    for key in config.keys() & {"widths", "hyper_widths"}:
        config[key] = [2, 3] if key == "hyper_widths" else [2, 4]
    if isinstance(config.get("lambdas"), list) and len(config["lambdas"]) > 1:
        config["lambdas"] = [64.0, 512.0]
    torch.manual_seed(0)
    codec = instantiate(config, _convert_="all").eval()
    with torch.no_grad():
        for key, parameter in codec.named_parameters():
            if parameter.dim() == 4 and not in_entropy_model(key):
                parameter.mul_(4.0)  # symbols of an untrained codec would nearly all be 0
        for parameter in codec.classifier.parameters() if isinstance(codec, PointCloudCodec) else ():
            parameter.copy_(0.05 * parameter.sign())  # latents do not know of it, and signs take a thirtieth
    if isinstance(codec, EncodingDistribution):
        fit(codec)
    codec.update_tables()
    return codec, config


def fit(codec: EncodingDistribution) -> None:
    """Train until tables are worth sending and q is not 0; files would show little without."""
    point = codec.operating_points[-1]
    y = codec.analysis(codec.pad(picture()), point).detach()
    y = torch.cat([y, 0.1 * y])
    optimizer = torch.optim.Adam(codec.bottlenecks["entropy_y"].transforms.parameters(), lr=1e-2)
    codec.train()
    for _ in range(300):
        optimizer.zero_grad()
        bits({"y": codec.likelihoods(y, point)[1]["y"]}).backward()
        optimizer.step()
    codec.eval().requires_grad_(False)


def picture() -> torch.Tensor:
    """A small smooth picture under noise, (1, 3, 40, 56)."""
    generator = torch.Generator().manual_seed(3)
    coarse = F.interpolate(torch.rand(1, 3, 6, 8, generator=generator), (40, 56), mode="bilinear")
    return 0.9 * coarse + 0.1 * torch.rand(1, 3, 40, 56, generator=generator)


def example(codec: LearnedCodec) -> torch.Tensor:
    """What a file is made of: the picture, or an input of another medium."""
    medium = medium_of(codec)
    return picture() if medium.name == DEFAULT else medium.handler().example(8, 12, seed=3)


def save(codec: LearnedCodec, config: dict, folder: Path) -> None:
    """Compressed: an export would be a megabyte of zeros beside the Gaussian tables."""
    folder.mkdir()
    (folder / "codec.json").write_text(json.dumps(config, indent=2) + "\n")
    np.savez_compressed(folder / "weights.npz", **{k: v.numpy() for k, v in codec.state_dict().items()})  # pyright: ignore


def load(folder: Path) -> LearnedCodec:
    """The codec of a folder."""
    codec = build_codec(json.loads((folder / "codec.json").read_text()))
    with np.load(folder / "weights.npz") as weights:
        codec.load_state_dict({key: torch.from_numpy(weights[key]) for key in weights.files})
    return codec.eval()


def main() -> None:
    """Write what is missing."""
    conf = FOLDER.parents[1] / "conf" / "codec"
    for name in [*sorted(path.stem for path in conf.glob("*.yaml")), *VARIANTS]:
        folder = FOLDER / name
        if not folder.exists():
            made = tiny(name)
            if made is None:
                continue
            save(*made, folder)
        codec = load(folder)
        for point in (codec.operating_points[0], codec.operating_points[-1]):
            file = folder / f"v{bitstream.VERSION}.{point.label}.nic"
            if file.exists():
                continue
            data = codec.pack(codec.compress(example(codec), point), point)
            latents = codec.decode_latents(codec.unpack(data)[0], point)
            file.write_bytes(data)
            np.savez_compressed(file.with_suffix(".npz"), **{k: v.numpy() for k, v in latents.items()})
            print(file.relative_to(FOLDER), len(data))


if __name__ == "__main__":
    main()

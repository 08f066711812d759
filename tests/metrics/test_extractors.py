from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn
from torchvision import transforms

from nic_lightning.errors import DataError, UserError
from nic_lightning.metrics import weights
from nic_lightning.metrics.extractors import load_extractor
from nic_lightning.metrics.fid import Fid
from nic_lightning.metrics.inception import InceptionFeatures, StarganInception

BATCH = torch.randint(0, 256, (2, 3, 16, 20), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_a_missing_or_wrong_file_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("NIC_DATA", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv("NIC_INCEPTION", raising=False)
    monkeypatch.delenv("NIC_LPIPS", raising=False)
    with pytest.raises(DataError) as caught:
        load_extractor()
    for text in (
        weights.INCEPTION_2015.names[0],
        str(tmp_path / "weights"),
        str(tmp_path / "torch/hub/checkpoints"),
        "NIC_INCEPTION",
    ):
        assert text in str(caught.value)
    with pytest.raises(DataError, match="do not exist"):
        load_extractor(path=tmp_path / "none.pth")
    with pytest.raises(DataError, match="needs the weights of LPIPS"):
        load_extractor("alexnet")
    with pytest.raises(UserError, match="there are inception, stargan and alexnet"):
        load_extractor("vgg")
    (tmp_path / "weights").mkdir()
    for name in ("other.pth", "other.safetensors"):
        torch.save({"a": torch.zeros(3)}, tmp_path / name)
        with pytest.raises(DataError, match="does not hold the weights"):
            load_extractor(path=tmp_path / name)


def test_pickles_are_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"x": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(DataError, match="does not hold"):
        load_extractor(path=tmp_path / "evil.pth")
    assert not (tmp_path / "ran").exists()


def lively() -> InceptionFeatures:
    """Random weights that keep activations at order one."""
    torch.manual_seed(0)
    network = InceptionFeatures()
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
        if isinstance(module, torch.nn.BatchNorm2d):
            for tensor in (module.weight.data, module.running_var):
                tensor.uniform_(0.8, 1.2)
            for tensor in (module.bias.data, module.running_mean):
                tensor.normal_(0, 0.1)
    return network


@pytest.mark.slow
def test_inception(tmp_path, monkeypatch):
    """Random weights through both formats; only the published file makes the published name."""
    from safetensors.torch import save_file

    network = lively()
    torch.save(network.network.state_dict(), tmp_path / "a.pth")
    save_file(network.network.state_dict(), tmp_path / "a.safetensors")
    digest = hashlib.sha256((tmp_path / "a.pth").read_bytes()).hexdigest()
    loaded = [load_extractor(path=tmp_path / name) for name in ("a.pth", "a.safetensors")]
    assert loaded[0].extractor_name == f"inception_{digest[:8]}"
    with torch.no_grad():
        expected = network.eval()(BATCH)
        assert all(torch.equal(one(BATCH), expected) for one in loaded)
    assert expected.shape == (2, 2048)
    monkeypatch.setattr(weights, "is_published", lambda _, found: found == digest)
    assert Fid(load_extractor(path=tmp_path / "a.pth")).name == "fid_inception_2015"


def test_stargans_inception_is_torchvisions(tmp_path):
    """Its layers, images resized by Pillow and normalised as ImageNet's, without the change of range."""
    network = StarganInception()
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
    torch.save(network.network.state_dict(), tmp_path / "a.pth")
    loaded = load_extractor("stargan", tmp_path / "a.pth")
    digest = hashlib.sha256((tmp_path / "a.pth").read_bytes()).hexdigest()
    assert loaded.extractor_name == f"stargan_{digest[:8]}"
    found = loaded(BATCH)
    whole = network.network.eval()
    assert not whole.transform_input
    whole.fc = nn.Identity()
    resized = [
        Image.fromarray(one.permute(1, 2, 0).numpy()).resize((299, 299), Image.Resampling.BILINEAR) for one in BATCH
    ]
    steps = transforms.Compose(
        [transforms.ToTensor(), transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])]
    )
    with torch.no_grad():
        expected = whole(torch.stack([steps(one) for one in resized]))
    assert found.shape == (2, 2048)
    assert expected.std() > 0.01
    torch.testing.assert_close(found, expected)


@pytest.mark.slow
def test_inception_is_torch_fidelity_s(tmp_path):
    fidelity = pytest.importorskip(
        "torch_fidelity.feature_extractor_inceptionv3", reason="torch-fidelity is no dependency"
    )
    network = lively()
    torch.save(network.network.state_dict(), tmp_path / "a.pth")
    other = fidelity.FeatureExtractorInceptionV3(
        "inception-v3-compat", ["2048"], feature_extractor_weights_path=str(tmp_path / "a.pth")
    )
    batch = torch.randint(0, 256, (2, 3, 200, 260), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.allclose(network.eval()(batch), other.eval()(batch)[0], atol=1e-4)


def test_alexnet(nic_data):
    """The weights of LPIPS, where they are placed."""
    weights = nic_data / "weights" / "lpips_alex_torchvision_features_fp16.pt"
    if not weights.is_file():
        pytest.skip(f"needs {weights}")
    fid = Fid(load_extractor("alexnet", weights))
    for side in (True, False):
        fid.update(torch.rand(3, 3, 64, 80, generator=torch.Generator().manual_seed(3)), real=side)
    found = fid.result()
    assert found.name == "fid_alexnet"
    assert found.value == pytest.approx(0.0, abs=1e-4)
    assert "3 images are too few for 256 features" in found.note

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import torch
from PIL import Image
from torch import distributed, nn
from torchvision import transforms

from nic_lightning.errors import DataError, UserError
from nic_lightning.metrics import weights
from nic_lightning.metrics.extractors import InceptionFeatures, StarganInception, load_extractor
from nic_lightning.metrics.fid import Fid, PatchFid


class Projection(nn.Module):
    """Random features of an image: nothing that takes weights."""

    num_features = 6
    extractor_name = "projection"

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(48, 6, generator=torch.Generator().manual_seed(1)).double())

    def forward(self, pixels):
        return nn.functional.adaptive_avg_pool2d(pixels.double() / 255, 4).flatten(1) @ self.weight


def images(side: int, count: int = 12) -> torch.Tensor:
    generator = torch.Generator().manual_seed(side)
    return torch.rand(count, 3, 16, 20, generator=generator) * (0.6 + 0.4 * side)


def pixels(batch: torch.Tensor) -> torch.Tensor:
    return (batch * 255).round().byte()


def direct(first: np.ndarray, second: np.ndarray) -> float:
    """The distance as it is written in the paper, by NumPy and SciPy."""
    means, covariances = zip(*((f.mean(0), np.cov(f, rowvar=False)) for f in (first, second)), strict=True)
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1])
    return float(np.sum((means[0] - means[1]) ** 2) + np.trace(covariances[0] + covariances[1] - 2 * np.real(root)))


def features(batch: torch.Tensor) -> np.ndarray:
    with torch.no_grad():
        return Projection()(pixels(batch)).double().numpy()


@pytest.mark.parametrize("count", [40, 7, 4])
def test_the_distance_is_that_of_numpy_and_scipy(count: int):
    """With 4 images of 6 features the covariances have no full rank."""
    first, second = images(0, count), images(1, 40)
    fid = Fid(Projection())
    fid.update(first, real=True)
    fid.update(second[:3], real=False)
    fid.update(second[3:], real=False)
    found = fid.result()
    assert found.value == pytest.approx(direct(features(first), features(second)), rel=1e-6)
    assert found.value > 0.1
    assert (found.name, found.real, found.fake) == ("fid_projection", count, 40)
    if count > 6:
        assert found.note is None
    else:
        assert "4 images are too few for 6 features" in found.note


def test_properties():
    same = Fid(Projection())
    for real in (True, False):
        same.update(images(0, 20), real=real)
    assert abs(same.result().value) < 1e-6
    order = Fid(Projection())
    order.update(images(0, 20).flip(0), real=True)
    order.update(images(1, 20), real=False)
    parts = Fid(Projection())
    for image in images(0, 20):
        parts.update(image[None], real=True)
    parts.update(images(1, 20), real=False)
    assert order.result().value == pytest.approx(parts.result().value, rel=1e-9)


def test_a_shift_of_all_features_adds_its_square():
    class Shifted(Projection):
        shift = 0.0

        def forward(self, pixels):
            return super().forward(pixels) + self.shift

    extractor = Shifted()
    fid = Fid(extractor)
    fid.update(images(0, 30), real=True)
    extractor.shift = 3.0
    fid.update(images(0, 30), real=False)
    assert fid.result().value == pytest.approx(6 * 9.0, rel=1e-5)


def test_images_are_rounded_to_8_bits():
    seen = []

    class Watched(Projection):
        def forward(self, pixels):
            seen.append(pixels)
            return super().forward(pixels)

    fid = Fid(Watched())
    fid.update(torch.full((1, 3, 8, 8), 99.6 / 255), real=True)
    fid.update(torch.full((1, 3, 8, 8), 1.2), real=False)
    assert [(p.dtype, int(p.max())) for p in seen] == [(torch.uint8, 100), (torch.uint8, 255)]


def test_fewer_than_two_images_have_no_distance():
    fid = Fid(Projection())
    fid.update(images(0, 1), real=True)
    found = fid.result()
    assert np.isnan(found.value)
    assert (found.real, found.fake) == (1, 0)
    assert "0 images are too few" in found.note


def test_patches():
    """Each grid takes all patches that fit; the second begins at 128, 128."""
    place = torch.arange(512 * 1000).reshape(512, 1000)
    coded = torch.stack([place // 65536, place // 256 % 256, place % 256]).byte()[None]
    patches = PatchFid(Projection()).samples(coded)
    corners = [tuple(int(value) for value in patch[:, 0, 0]) for patch in patches]
    origins = [(r * 65536 + g * 256 + b) for r, g, b in corners]
    first = [256 * i * 1000 + 256 * j for i in range(2) for j in range(3)]
    second = [128 * 1000 + 128 + 256 * j for j in range(3)]
    assert origins == first + second
    assert all(
        torch.equal(p, coded[0, :, o // 1000 : o // 1000 + 256, o % 1000 : o % 1000 + 256])
        for p, o in zip(patches, origins, strict=True)
    )
    assert PatchFid(Projection()).samples(coded[:, :, :255]).shape == (0, 3, 256, 256)
    fid = PatchFid(Projection())
    fid.update(torch.rand(2, 3, 512, 512, generator=torch.Generator().manual_seed(0)), real=True)
    fid.update(torch.rand(1, 3, 200, 700), real=False)  # too small for any
    found = fid.result()
    assert (found.name, found.real, found.fake) == ("fid256_projection", 10, 0)


def rank(number: int, store: str, pipe) -> None:
    """One of two processes: originals 9 and 3, reconstructions 12 and none."""
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    distributed.init_process_group("gloo", init_method=f"file://{store}", rank=number, world_size=2)
    fid = Fid(Projection())
    fid.update(images(0)[slice(9) if number == 0 else slice(9, 12)], real=True)
    if number == 0:
        fid.update(images(1), real=False)
    pipe.send(fid.result())
    distributed.destroy_process_group()


@pytest.mark.slow
def test_ranks_add_up(tmp_path):
    """Both tell the same, and what one process tells."""
    alone = Fid(Projection())
    for side in (0, 1):
        alone.update(images(side), real=side == 0)
    expected = alone.result()
    context = torch.multiprocessing.get_context("fork")  # without seconds of imports
    pipes = [context.Pipe() for _ in range(2)]
    processes = [context.Process(target=rank, args=(i, str(tmp_path / "store"), pipes[i][1])) for i in range(2)]
    try:
        for process in processes:
            process.start()
        assert all(ours.poll(240) for ours, _ in pipes)
        found = [ours.recv() for ours, _ in pipes]
    finally:
        for process in processes:
            process.join(20)
            process.kill()
    assert found[0] == found[1]
    assert (found[0].real, found[0].fake) == (expected.real, expected.fake) == (12, 12)
    assert found[0].value == pytest.approx(expected.value, rel=1e-9)


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
    batch = pixels(images(1, 2))
    with torch.no_grad():
        expected = network.eval()(batch)
        assert all(torch.equal(one(batch), expected) for one in loaded)
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
    batch = pixels(images(1, 2))
    found = loaded(batch)
    whole = network.network.eval()
    assert not whole.transform_input
    whole.fc = nn.Identity()
    resized = [
        Image.fromarray(one.permute(1, 2, 0).numpy()).resize((299, 299), Image.Resampling.BILINEAR) for one in batch
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

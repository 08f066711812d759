from __future__ import annotations

import hashlib
import itertools
from pathlib import Path

import pytest
import torch

from nic_lightning.errors import DataError
from nic_lightning.metrics.lpips import FILE_NAME, MIN_SIDE, LpipsAlex, heads, load_lpips


def test_weights_by_path_by_environment_and_by_data_root(tmp_path, monkeypatch, caplog):
    monkeypatch.delenv("NIC_LPIPS", raising=False)
    monkeypatch.delenv("NIC_ALEXNET", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("NIC_DATA", str(tmp_path))
    assert load_lpips() is None
    assert [r.message for r in caplog.records if "LPIPS is left out" in r.message]
    (tmp_path / "weights").mkdir()
    file = tmp_path / "weights" / FILE_NAME
    torch.save(LpipsAlex().half().state_dict(), file)
    model = load_lpips()
    assert model is not None
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())
    assert load_lpips(file) is not None
    monkeypatch.setenv("NIC_LPIPS", str(tmp_path / "other.pt"))
    with pytest.raises(DataError, match=r"NIC_LPIPS names .*other\.pt, which does not exist"):
        load_lpips()


def test_a_wrong_file_is_one_sentence(tmp_path):
    file = tmp_path / "wrong.pt"
    state = LpipsAlex().state_dict()
    for content in (b"", b"no checkpoint", None, {}, {**state, "lin0.weight": torch.zeros(3)}, [1, 2]):
        if isinstance(content, bytes):
            file.write_bytes(content)
        else:
            torch.save(content, file)
        with pytest.raises(DataError, match="does not hold the weights of LPIPS-Alex"):
            load_lpips(file)


def test_small_images_have_no_distance():
    model = LpipsAlex()
    small = torch.rand(2, 3, MIN_SIDE - 1, 40)
    assert model(small, small).isnan().all()
    x = torch.rand(2, 3, MIN_SIDE, 40)
    assert model(x, x).tolist() == [0.0, 0.0]


def test_agrees_with_torchmetrics(nic_data):
    from torchmetrics.functional.image.lpips import _LPIPS

    file = Path(nic_data) / "weights" / FILE_NAME
    if not file.is_file():
        pytest.skip(f"needs {FILE_NAME} in the data's weights/")
    state = torch.load(file, weights_only=True)
    theirs = _LPIPS(pretrained=True, net="alex", pnet_rand=True)
    names = {key: "features." + key.split(".", 1)[1] for key in theirs.net.state_dict()}
    theirs.net.load_state_dict({key: state[name].float() for key, name in names.items()})
    ours = load_lpips(file)
    assert ours is not None
    torch.manual_seed(1)
    x = torch.rand(2, 3, 64, 96)
    x_hat = (x + 0.1 * torch.randn_like(x)).clamp(0, 1)
    expected = theirs(x, x_hat, normalize=True).flatten()
    assert expected.min() > 0.01
    # Their heads are float32, the placed file's are float16.
    assert torch.allclose(ours(x, x_hat), expected, rtol=1e-3)


def random_alexnet() -> LpipsAlex:
    torch.manual_seed(2)
    model = LpipsAlex()
    model.load_state_dict(model.state_dict() | heads())
    return model.eval()


def test_pairs_of_outputs_that_leave_the_range():
    """StarGAN v2 measures raw outputs of its generator."""
    from torchmetrics.functional.image.lpips import _LPIPS

    ours, theirs = random_alexnet(), _LPIPS(pretrained=True, net="alex", pnet_rand=True)
    state = {key: ours.state_dict()["features." + key.split(".", 1)[1]] for key in theirs.net.state_dict()}
    theirs.net.load_state_dict(state)
    images = torch.randn(10, 3, 40, 48)
    found = ours.between(images)
    pairs = list(itertools.combinations(range(10), 2))
    assert found.shape == (45,)
    first, second = (2 * images[list(side)] - 1 for side in zip(*pairs, strict=True))
    assert first.min() < -2
    torch.testing.assert_close(found, theirs(first, second).flatten(), rtol=0, atol=1e-6)
    assert found.min() > 1e-3
    assert ours.between(images[:1].expand(3, -1, -1, -1)).tolist() == pytest.approx([0.0] * 3, abs=1e-9)
    assert ours.between(images[:1]).shape == (0,)
    assert ours.between(images[:2, :, :30]).isnan().all()


def test_heads_are_the_published_ones():
    flat = torch.cat([heads()[f"lin{k}.weight"].float().flatten() for k in range(5)])
    assert len(flat) == 1152
    assert hashlib.sha256(flat.numpy().tobytes()).hexdigest()[:16] == "718a8b40b0d22f96"


def test_torchvisions_alexnet_will_do(tmp_path):
    model = random_alexnet()
    state = {key: value for key, value in model.state_dict().items() if key.startswith("features.")}
    torch.save(state | {"classifier.1.weight": torch.zeros(2)}, tmp_path / "alexnet.pth")
    found = load_lpips(tmp_path / "alexnet.pth")
    assert found is not None
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in found.state_dict().items())

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from nic_lightning.errors import DataError
from nic_lightning.metrics.lpips import FILE_NAME, MIN_SIDE, LpipsAlex, load_lpips


def test_weights_by_path_by_environment_and_by_data_root(tmp_path, monkeypatch, caplog):
    monkeypatch.delenv("NIC_LPIPS", raising=False)
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
    with pytest.raises(DataError, match=r"other\.pt do not exist"):
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

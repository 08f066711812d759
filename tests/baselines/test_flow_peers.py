from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from nic_lightning.baselines.flow_peers import OPENCV, OpenCvFlow, RaftFlow
from nic_lightning.errors import DataError, UserError


@pytest.fixture(scope="module")
def pair() -> tuple[np.ndarray, np.ndarray]:
    """Texture and the same moved by (2, -1) pixels."""
    noise = np.random.default_rng(0).random((120, 160, 3), dtype=np.float32)
    smooth = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2), None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    return smooth, np.roll(smooth, (-1, 2), (0, 1))


@pytest.mark.parametrize("method", OPENCV)
def test_opencv_finds_a_translation(pair, method):
    flow = OpenCvFlow(method).run(None, *pair).flow
    assert flow.dtype == np.float32
    assert np.abs(flow[20:-20, 20:-20] - [2, -1]).mean() < 0.3
    again = OpenCvFlow(method).run(pair[0], *(image / np.float32(255) for image in pair)).flow
    assert np.abs(flow - again).max() < 1e-3


def test_wrong_input_is_told(tmp_path):
    with pytest.raises(UserError, match="dis_medium"):
        OpenCvFlow("dis")
    tiny = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(DataError, match="16 pixels"):
        OpenCvFlow("dis_fast").run(None, tiny, tiny)
    with pytest.raises(DataError, match=r"none were named: get https://download\.pytorch\.org/models/raft_large"):
        RaftFlow()
    with pytest.raises(DataError, match=r"there is no file .*raft\.pth"):
        RaftFlow("raft_small", str(tmp_path / "raft.pth"))
    torch.save({"weight": torch.zeros(2)}, tmp_path / "raft.pth")
    with pytest.raises(DataError, match="holds no weights of raft_small"):
        RaftFlow("raft_small", str(tmp_path / "raft.pth"))


def test_raft_takes_any_size(tmp_path):
    from torchvision.models.optical_flow import raft_small

    torch.manual_seed(0)
    torch.save(raft_small(weights=None).state_dict(), tmp_path / "raft.pth")
    peer = RaftFlow("raft_small", str(tmp_path / "raft.pth"), iterations=1)
    random = np.random.default_rng(0)
    frames = random.integers(0, 256, (2, 61, 143, 3), dtype=np.uint8)
    flow = peer.run(None, *frames).flow
    assert flow.shape == (61, 143, 2)
    assert np.isfinite(flow).all()

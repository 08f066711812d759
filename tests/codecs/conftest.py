from __future__ import annotations

from pathlib import Path

import pytest
import torch


@pytest.fixture
def save(tmp_path):
    def write(content: object, name: str = "last.ckpt") -> Path:
        torch.save(content, tmp_path / name)
        return tmp_path / name

    return write


@pytest.fixture(scope="module")
def onnxruntime():
    return pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'nic_lightning[onnx]'")

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nic_lightning.cli import main
from nic_lightning.metrics.lpips import LpipsAlex


@pytest.fixture
def weights(tmp_path: Path) -> str:
    torch.manual_seed(0)
    torch.save(LpipsAlex().state_dict(), tmp_path / "lpips.pt")
    return str(tmp_path / "lpips.pt")


def folder(path: Path, count: int, side: int = 300, seed: int = 0) -> str:
    path.mkdir()
    generator = np.random.default_rng(seed)
    for i in range(count):
        Image.fromarray(generator.integers(0, 256, (side, side, 3), dtype=np.uint8)).save(path / f"{i}.png")
    return str(path)


def test_distances_of_folders(tmp_path: Path, weights: str, capsys) -> None:
    originals, decoded = folder(tmp_path / "a", 4), folder(tmp_path / "b", 3, seed=1)
    arguments = ["fid", originals, decoded, "--extractor", "alexnet", "--weights", weights]
    assert main(arguments) == 0
    first, note = capsys.readouterr().out.splitlines()
    assert first.startswith("fid_alexnet: ")
    assert first.endswith(f"(3 images of {decoded}, 4 of {originals})")
    assert note.startswith("Note: 3 images are too few for 256 features")
    assert main([*arguments, "--patches", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["name"], found["real"], found["fake"]) == ("fid256_alexnet", 4, 3)
    assert main(["fid", originals, originals, *arguments[3:], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["value"] == pytest.approx(0.0, abs=1e-6)


def test_what_has_no_distance_is_one_sentence(tmp_path: Path, weights: str, refused, monkeypatch) -> None:
    for name in ("NIC_DATA", "TORCH_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.delenv("NIC_INCEPTION", raising=False)
    large, small = folder(tmp_path / "large", 2), folder(tmp_path / "small", 2, side=20)
    own = ["--extractor", "alexnet", "--weights", weights]
    cases = [
        (["fid", large, large], "place them in"),
        (["fid", large, str(tmp_path / "none"), *own], "none"),
        (["fid", large, large, *own, "--device", "cuda:99"], "There is no GPU for device=cuda:99"),
        (["fid", large, small, *own], "20 x 20 is too small for AlexNet's features"),
        (["fid", large, small, *own, "--patches"], "needs two patches on each side"),
    ]
    for arguments, sentence in cases:
        assert sentence in refused(*arguments)

from __future__ import annotations

import zipfile

import pytest
import torch

from nic_lightning.errors import RunError
from nic_lightning.runs.resume.checkpoints import newest_intact


@pytest.fixture
def run(tmp_path):
    """A run folder with two checkpoints, and their paths."""
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    for name in ("previous.ckpt", "last.ckpt"):
        torch.save({"weights": torch.arange(1000.0)}, folder / name)
    return tmp_path, folder / "last.ckpt", folder / "previous.ckpt"


def test_no_checkpoint_yet(tmp_path):
    assert newest_intact(tmp_path) == (None, [])


def test_the_newest_comes_first(run):
    folder, last, previous = run
    assert newest_intact(folder) == (last, [])
    last.unlink()
    assert newest_intact(folder) == (previous, [])


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def flip_a_bit_of_a_weight(data: bytes) -> bytes:
    at = data.index(torch.tensor([500.0]).numpy().tobytes())
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize("harm", [cut, flip_a_bit_of_a_weight, lambda data: b"", lambda data: b"\0" * len(data)])
def test_a_damaged_one_is_named_and_skipped(run, harm):
    folder, last, previous = run
    last.write_bytes(harm(last.read_bytes()))
    chosen, damaged = newest_intact(folder)
    assert chosen == previous
    assert len(damaged) == 1
    assert str(last) in damaged[0]
    previous.write_bytes(harm(previous.read_bytes()))
    with pytest.raises(RunError, match=r"last.ckpt.*previous.ckpt.*fresh=true"):
        newest_intact(folder)


def test_a_compressed_archive_is_not_unpacked(run):
    folder, last, previous = run
    with zipfile.ZipFile(last, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("last/data.pkl", bytes(50_000_000))
    assert newest_intact(folder)[0] == previous

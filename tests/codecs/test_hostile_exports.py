"""Exports that come from somebody else."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save

import nic_lightning
from nic_lightning.codecs import exporting
from nic_lightning.codecs.exporting import DESCRIPTION, WEIGHTS, export_codec
from nic_lightning.codecs.learned import LearnedCodec
from nic_lightning.codecs.loading import load_with_config
from nic_lightning.errors import RunError
from tests.codecs.samples import Execute, save_checkpoint


@pytest.fixture(scope="module")
def original(tmp_path_factory, make_codec) -> Path:
    folder = tmp_path_factory.mktemp("export")
    codec, config = load_with_config(save_checkpoint(folder, make_codec, "modulated", lambdas=[64, 512]))
    export_codec(codec, config, folder / "export")
    return folder / "export"


@pytest.fixture
def folder(original, tmp_path) -> Path:
    copy = tmp_path / "export"
    copy.mkdir()
    for name in (WEIGHTS, DESCRIPTION):
        (copy / name).write_bytes((original / name).read_bytes())
    return copy


def refused(folder: Path) -> str:
    with pytest.raises(RunError) as error:
        nic_lightning.load_codec(folder)
    assert "\n" not in str(error.value)
    return str(error.value)


def describe(folder: Path, **changes: object) -> None:
    file = folder / DESCRIPTION
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def reseal(folder: Path, data: bytes) -> None:
    """Other weights, with the SHA-256 that fits them."""
    (folder / WEIGHTS).write_bytes(data)
    describe(folder, sha256=hashlib.sha256(data).hexdigest())


def test_cut_altered_and_missing_files(folder) -> None:
    assert nic_lightning.load_codec(folder).operating_points
    data = (folder / WEIGHTS).read_bytes()
    for changed in (b"", data[:-1], data[:100], data + b"\0", data[:5000] + b"\xff" + data[5001:]):
        (folder / WEIGHTS).write_bytes(changed)
        assert "codec.safetensors is cut or altered" in refused(folder)
    (folder / WEIGHTS).unlink()
    assert "codec.safetensors is missing" in refused(folder)
    (folder / WEIGHTS).mkdir()
    assert "codec.safetensors is missing" in refused(folder)
    (folder / WEIGHTS).rmdir()
    os.mkfifo(folder / WEIGHTS)  # reading it would never end
    assert "codec.safetensors is missing" in refused(folder)
    (folder / DESCRIPTION).unlink()
    assert "holds no checkpoint" in refused(folder)


@pytest.mark.parametrize("name", [WEIGHTS, DESCRIPTION])
def test_links_are_not_followed(folder, tmp_path, name) -> None:
    (folder / name).rename(tmp_path / "elsewhere")
    (folder / name).symlink_to(tmp_path / "elsewhere")
    assert f"{name} is a link" in refused(folder)
    (tmp_path / "elsewhere").unlink()
    assert f"{name} is a link" in refused(folder)


def test_sizes_are_bounded(folder) -> None:
    os.truncate(folder / WEIGHTS, exporting.MAX_WEIGHTS + 1)  # sparse: reading it would take the memory, not the disk
    assert "longer than 2,147,483,648 bytes" in refused(folder)
    (folder / DESCRIPTION).write_text(" " * (exporting.MAX_DESCRIPTION + 1))
    assert "codec.json is longer than" in refused(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[" * 200_000, "not JSON"),
        ("\udcff", "not JSON"),
        ("1" * 10_000, "not JSON"),
        ("[1]", "not written by nic export"),
        ('{"schema": true}', "not written by nic export"),
        ('{"schema": 2}', "schema 2; this nic_lightning reads 1"),
        ('{"schema": 1}', "lacks or should not have codec, fingerprint"),
    ],
)
def test_descriptions_that_are_none(folder, text, message) -> None:
    (folder / DESCRIPTION).write_bytes(text.encode(errors="surrogateescape"))
    assert message in refused(folder)


CONFIG = {"_target_": "nic_lightning.codecs.modulated.ModulatedAutoencoder", "width": 8, "lambdas": [64, 512]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"extra": 1}, "should not have extra"),
        ({"sha256": None}, "cut or altered"),
        ({"fingerprint": "0" * 16}, "its fingerprint is"),
        ({"fingerprint": 5}, "its fingerprint is"),
        ({"operating_points": []}, "operating points"),
        ({"operating_points": [{"index": 0, "label": "64", "lmbda": 64.0}]}, "operating points"),
        ({"codec": None}, "names no class"),
        ({"codec": {"_target_": "os.system", "command": "true"}}, "outside"),
        ({"codec": {"_target_": "torch.nn.Linear"}}, "outside"),
        ({"codec": {"_target_": "nic_lightning.codecs.exporting.Path"}}, "not a learned codec"),
        ({"codec": CONFIG | {"width": 10**9}}, "cannot be loaded|does not fit"),
        ({"codec": CONFIG | {"width": 2000}}, "more memory"),
        ({"codec": CONFIG | {"width": {"_target_": "os.system"}}}, "plain"),
        ({"codec": CONFIG | {"width": 6}}, "does not fit"),
    ],
)
def test_descriptions_that_lie(folder, changes, message) -> None:
    describe(folder, **changes)
    sentence = refused(folder)
    assert any(part in sentence for part in message.split("|")), sentence


def test_weights_in_other_formats_are_not_executed(folder, tmp_path) -> None:
    marker = tmp_path / "executed"
    torch.save({"x": Execute(marker)}, tmp_path / "x.pt")
    for data in (pickle.dumps(Execute(marker)), (tmp_path / "x.pt").read_bytes(), b"", b"{}", b"\xff" * 20):
        reseal(folder, data)
        refused(folder)
    reseal(folder, (exporting.MAX_HEADER + 1).to_bytes(8, "little") + b" " * 100)
    assert "more tensors than any codec" in refused(folder)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s | {"foreign": torch.zeros(2)}, "foreign"),
        (lambda s: {k: v for k, v in s.items() if k != "g_s.deconvs.2.bias"}, "g_s.deconvs.2.bias"),
        (lambda s: s | {"g_s.deconvs.2.bias": torch.zeros(4)}, "g_s.deconvs.2.bias"),
        (lambda s: s | {"g_s.deconvs.2.bias": s["g_s.deconvs.2.bias"] + 1}, "fingerprint"),
        (lambda s: {k: torch.zeros_like(v) if "_quantized_cdf" in k else v for k, v in s.items()}, "CDF tables"),
        (lambda s: {k: v * 10**6 if "_cdf_length" in k else v for k, v in s.items()}, "CDF tables"),
        (lambda s: {}, "more memory"),
    ],
)
def test_other_tensors(folder, change: Callable, message: str) -> None:
    reseal(folder, save(change(load((folder / WEIGHTS).read_bytes()))))
    assert message in refused(folder)


def test_damaged_headers_end_in_a_sentence(folder) -> None:
    data, rng, sentences = (folder / WEIGHTS).read_bytes(), random.Random(0), []
    header = int.from_bytes(data[:8], "little")
    for case in range(150):
        out = bytearray(data if case % 3 else data[: rng.randrange(len(data))])
        for _ in range(rng.randint(1, 20)):
            place = rng.randrange(min(len(out), 8 + header)) if out else 0
            out[place : place + 1] = rng.choice([b"", b"0", b"}", b"F", b"9", bytes([rng.randrange(256)])])
        reseal(folder, bytes(out))
        try:
            codec = nic_lightning.load_codec(folder)
        except RunError as error:
            sentences.append(str(error))
        else:
            assert isinstance(codec, LearnedCodec)
    assert len(sentences) > 140
    assert not any("\n" in sentence for sentence in sentences)

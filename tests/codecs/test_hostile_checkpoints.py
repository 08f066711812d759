"""Checkpoints that come from somebody else, or from a full disk."""

from __future__ import annotations

import copy
import pickle
import random
import warnings
import zipfile
from pathlib import Path

import pytest
import torch

from nic_lightning.codecs.learned import LearnedCodec
from nic_lightning.codecs.loading import load_codec
from nic_lightning.errors import RunError
from tests.codecs.checkpoints import CONFIG, checkpoint
from tests.codecs.samples import Execute


@pytest.mark.parametrize(
    "wrap", [lambda e: e, lambda e: {"codec": e, "state_dict": {}}, lambda e: {"state_dict": {"a": e}}]
)
def test_code_in_a_checkpoint_is_not_executed(tmp_path, save, wrap):
    marker = tmp_path / "executed"
    with pytest.raises(RunError, match="not an intact checkpoint"):
        load_codec(save(wrap(Execute(marker))))
    bare = tmp_path / "bare.ckpt"
    bare.write_bytes(pickle.dumps(wrap(Execute(marker))))
    with pytest.raises(RunError, match="not an intact checkpoint"):
        load_codec(bare)
    assert not marker.exists()


@pytest.mark.parametrize("content", [b"", b"hello\n", b"\x80\x02]q\x00.", b"PK\x03\x04" + bytes(100), bytes(5000)])
def test_files_that_are_no_checkpoints(tmp_path, content):
    path = tmp_path / "x.ckpt"
    path.write_bytes(content)
    with pytest.raises(RunError, match="not an intact checkpoint") as error:
        load_codec(path)
    assert "\n" not in str(error.value)


def test_a_folder_or_device_in_place_of_a_file(tmp_path):
    for path in (tmp_path, tmp_path / "missing", Path("/dev/null")):
        with pytest.raises(RunError):
            load_codec(path)


@pytest.mark.parametrize(
    "content",
    [
        [1, 2],
        torch.zeros(3),
        {},
        {"state_dict": {}},
        {"codec": [], "state_dict": {}},
        {"codec": {"config": CONFIG}, "state_dict": []},
        {"codec": {"config": CONFIG}, "state_dict": {}},
        {"codec": {"config": CONFIG, "tables": 5}, "state_dict": {}},
        {"codec": {"config": CONFIG}, "state_dict": {1: torch.zeros(1)}},
        {"codec": {"config": CONFIG}, "state_dict": {"codec.g_a": "text"}},
        {"codec": {"config": None}, "state_dict": {}},
        {"codec": {"config": {}}, "state_dict": {}},
        {"codec": {"config": {"_target_": 5}}, "state_dict": {}},
    ],
)
def test_checkpoints_without_a_codec(save, content):
    with pytest.raises(RunError) as error:
        load_codec(save(content))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("os.system", "outside"),
        ("subprocess.Popen", "outside"),
        ("torch.nn.Linear", "outside"),
        ("nic_lightning.codecs_evil.Codec", "outside"),
        ("nic_lightning.train.main", "outside"),
        ("system", "outside"),
        ("", "outside"),
        ("nic_lightning.codecs.loading.os.system", "cannot be imported"),
        ("nic_lightning.codecs.missing.Codec", "cannot be imported"),
        ("nic_lightning.codecs..modulated.ModulatedAutoencoder", "cannot be imported"),
        ("nic_lightning.codecs.loading.load_codec", "not a learned codec"),
        ("nic_lightning.codecs.loading.Path", "not a learned codec"),
        ("nic_lightning.codecs.modulated.nn", "not a learned codec"),
        ("nic_lightning.codecs.modulated.Missing", "not a learned codec"),
    ],
)
def test_classes_that_a_checkpoint_may_not_name(save, target, message):
    content = checkpoint()
    content["codec"]["config"] = {"_target_": target, "command": "true"}
    with pytest.raises(RunError, match=message):
        load_codec(save(content))


@pytest.mark.parametrize(
    "arguments",
    [
        {"width": 5},
        {"width": 0},
        {"width": -3},
        {"width": 4.5},
        {"width": "4"},
        {"width": 10**9},
        {"width": 10**30},
        {"width": 30_000},
        {"hidden": 10**10},
        {"lambdas": [64, 512, 1024]},
        {"lambdas": "64"},
        {"lambdas": [None]},
        {"lambdas": 7},
        {"lambdas": [10**400, 1]},
        {"lambdas": {"a": 1}},
        {"unknown": 1},
        {"width": {"_target_": "os.system"}},
    ],
)
@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors:UserWarning")
def test_arguments_that_do_not_fit(save, arguments):
    content = checkpoint()
    content["codec"]["config"] |= arguments
    path = save(content)
    with pytest.raises(RunError) as error:
        load_codec(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("width", [10**5, 10**7, 10**8])
def test_a_width_that_asks_for_gigabytes_is_refused(save, width):
    """Before memory is taken."""
    content = checkpoint()
    content["codec"]["config"] |= {"width": width}
    with pytest.raises(RunError, match="asks for more memory than its weights take"):
        load_codec(save(content))


def test_a_missing_weight_is_named(save):
    content = checkpoint()
    del content["state_dict"]["codec.g_s.deconvs.2.bias"]
    with pytest.raises(RunError, match=r"g_s\.deconvs\.2\.bias"):
        load_codec(save(content))


def test_tables_that_were_never_made(save):
    with pytest.raises(RunError, match="update_tables"):
        load_codec(save(checkpoint(update=False)))


def cut(rows: slice):
    return lambda t: {k: v[rows].clone() if "entropy_y.0._" in k else v for k, v in t.items()}


@pytest.mark.parametrize(
    "damage",
    [
        lambda t: {k: v for k, v in t.items() if not k.endswith("_quantized_cdf")},
        lambda t: {k: torch.zeros_like(v) if k.endswith("_quantized_cdf") else v for k, v in t.items()},
        lambda t: {k: v + 1 if k.endswith("_cdf_length") else v for k, v in t.items()},
        lambda t: {k: v * 10**6 if k.endswith("_cdf_length") else v for k, v in t.items()},
        lambda t: {k: -v if k.endswith("_cdf_length") else v for k, v in t.items()},
        lambda t: {k: v.float() * torch.nan if k.endswith("_quantized_cdf") else v for k, v in t.items()},
        lambda t: {k: torch.tensor([2]).int().expand(2**36) if k.endswith("_cdf_length") else v for k, v in t.items()},
        lambda t: {k: torch.zeros(0, dtype=torch.int32) if "._" in k else v for k, v in t.items()},
        lambda t: {k: v.flip(0) if k.endswith("_quantized_cdf") else v[:1] for k, v in t.items()},
        cut(slice(0, 2)),
        cut(slice(0, 0)),
    ],
)  # fmt: skip
def test_damaged_tables(save, damage):
    content = checkpoint()
    content["codec"]["tables"] = damage(copy.deepcopy(content["codec"]["tables"]))
    path = save(content)
    with pytest.raises(RunError):
        load_codec(path)


def test_an_archive_that_unpacks_to_more_than_itself(save, tmp_path):
    source = save(checkpoint())
    bomb = tmp_path / "bomb.ckpt"
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, bytes(10**7) if "data/0" in entry.filename else old.read(entry))
    with pytest.raises(RunError, match="unpacks to more"):
        load_codec(bomb)


def test_damaged_and_cut_checkpoints_end_in_a_sentence(save, tmp_path):
    data = save(checkpoint()).read_bytes()
    rng, path, refused = random.Random(0), tmp_path / "damaged.ckpt", []
    for case in range(150):
        if case % 3 == 0:
            out = bytearray(data[: rng.randrange(len(data))])
        else:
            out = bytearray(data)
            start = rng.choice([0, len(out) - 3000])  # the pickle stands first, the archive's directory last
            for _ in range(rng.randint(1, 20)):
                out[start + rng.randrange(3000)] = rng.randrange(256)
        path.write_bytes(out)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                codec = load_codec(path)
            except RunError as error:
                refused.append(str(error))
            else:
                assert isinstance(codec, LearnedCodec)
    assert len(refused) > 100
    assert not any("\n" in sentence for sentence in refused)

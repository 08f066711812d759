from __future__ import annotations

import copy
import os
import pickle
import random
import time
import warnings
import zipfile
from pathlib import Path

import pytest
import torch

from nic_lightning.codecs.learned import LearnedCodec
from nic_lightning.codecs.loading import build_codec, find_checkpoint, load_codec, read_checkpoint, reason
from nic_lightning.errors import RunError, UserError

CONFIG = {"_target_": "nic_lightning.codecs.modulated.ModulatedAutoencoder", "width": 4, "lambdas": [64, 512]}


def checkpoint(config: dict | None = None, update: bool = True) -> dict:
    """What a training run writes, as far as a decoder cares."""
    torch.manual_seed(0)
    codec = build_codec(CONFIG if config is None else config)
    state = {f"codec.{k}": v.clone() for k, v in codec.state_dict().items()}
    if update:
        codec.update_tables()
    tables = {k: v for k, v in codec.state_dict().items() if k.startswith("entropy_")}
    return {"codec": {"config": dict(CONFIG if config is None else config), "tables": tables}, "state_dict": state}


@pytest.fixture
def save(tmp_path):
    def write(content: object, name: str = "last.ckpt") -> Path:
        torch.save(content, tmp_path / name)
        return tmp_path / name

    return write


def test_loads_weights_and_tables(save, picture):
    content = checkpoint()
    codec = load_codec(save(content))
    assert not codec.training
    assert not any(p.requires_grad for p in codec.parameters())
    assert torch.equal(codec.g_a.convs[0].weight, content["state_dict"]["codec.g_a.convs.0.weight"])
    for key, value in content["codec"]["tables"].items():
        assert torch.equal(codec.state_dict()[key], value)
    point = codec.operating_points[1]
    encoded = codec.compress(picture(20, 20), point)
    assert torch.equal(codec.decode_latents(encoded, point)["y"], encoded.latents["y"])


def test_loads_under_inference_mode(save, picture):
    path = save(checkpoint())
    with torch.inference_mode():
        codec = load_codec(path)
        codec.compress(picture(20, 20), codec.operating_points[0])
    assert codec.fingerprint() == load_codec(path).fingerprint()


def test_finds_the_checkpoint_of_a_run(tmp_path, save):
    folder = tmp_path / "run" / "checkpoints"
    with pytest.raises(RunError, match="does not exist"):
        find_checkpoint(tmp_path / "run")
    folder.mkdir(parents=True)
    with pytest.raises(RunError, match="holds no checkpoint"):
        find_checkpoint(tmp_path / "run")
    for i, name in enumerate(("b.ckpt", "a.ckpt")):
        torch.save(checkpoint(), folder / name)
        os.utime(folder / name, (i, i))
    assert find_checkpoint(str(tmp_path / "run")).name == "a.ckpt"  # the newest
    torch.save(checkpoint(), folder / "last.ckpt")
    assert find_checkpoint(tmp_path / "run").name == "last.ckpt"
    assert isinstance(load_codec(tmp_path / "run"), LearnedCodec)
    assert find_checkpoint(folder / "b.ckpt") == folder / "b.ckpt"


class Execute:
    """A pickle that runs a command when it is loaded carelessly."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


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


def test_further_packages_must_be_allowed_by_the_user(monkeypatch, save, tmp_path):
    (tmp_path / "my_codecs.py").write_text(
        "from nic_lightning.codecs.modulated import ModulatedAutoencoder\nclass Mine(ModulatedAutoencoder): pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    content = checkpoint()
    content["codec"]["config"] = CONFIG | {"_target_": "my_codecs.Mine"}
    path = save(content)
    with pytest.raises(RunError, match="NIC_CODEC_PACKAGES"):
        load_codec(path)
    monkeypatch.setenv("NIC_CODEC_PACKAGES", "other,my_codecs")
    assert type(load_codec(path)).__name__ == "Mine"


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
    start = time.perf_counter()
    path = save(content)
    with pytest.raises(RunError) as error:
        load_codec(path)
    assert "\n" not in str(error.value)
    assert time.perf_counter() - start < 3


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


def test_read_checkpoint_keeps_plain_values(save):
    content = {"a": 1, "b": [1.5, "x", None], "c": {"d": torch.arange(3)}}
    found = read_checkpoint(save(content))
    assert torch.equal(found["c"]["d"], content["c"]["d"])
    assert (found["a"], found["b"]) == (1, [1.5, "x", None])


def test_a_reason_is_one_line():
    assert reason(EOFError()) == "EOFError"
    assert (
        reason(RuntimeError("Error(s) in loading state_dict for X:\n\tsize mismatch for a\n\tb"))
        == "size mismatch for a"
    )
    assert reason(ValueError("bad\nvalue")) == "bad"
    assert len(reason(ValueError("x" * 10_000))) == 300


def test_build_codec_takes_plain_values_only():
    deep: list = []
    deep.append(deep)
    for config in (CONFIG | {"width": object()}, CONFIG | {"lambdas": (64, 512)}):
        with pytest.raises(UserError, match="plain"):
            build_codec(config)
    with pytest.raises(RecursionError):
        build_codec(CONFIG | {"lambdas": deep})

from __future__ import annotations

import os

import pytest
import torch

from nic_lightning.codecs.learned import LearnedCodec
from nic_lightning.codecs.loading import build_codec, find_checkpoint, load_codec, read_checkpoint, reason
from nic_lightning.errors import RunError, UserError
from tests.codecs.checkpoints import CONFIG, checkpoint


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


def test_features_of_flow_are_no_codec_and_say_what_takes_them(save):
    path = save({"state_dict": {}, "lambdas": None})
    with pytest.raises(RunError, match=f"--weights {path} uses"):
        load_codec(path)


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

from __future__ import annotations

import hashlib
import json
import os
import pickle
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load, save

import nic_lightning
from nic_lightning.codecs import exporting
from nic_lightning.codecs.exporting import DESCRIPTION, WEIGHTS, export_codec, new_folder
from nic_lightning.codecs.learned import LearnedCodec
from nic_lightning.codecs.loading import build_codec, load_with_config
from nic_lightning.errors import RunError, UserError

CONF = Path(__file__).parents[2] / "conf" / "codec"
CODECS = {
    "cae": {"kernel_param": "rdft"},
    "conditional": {"lambdas": [64, 512], "steps": [0.5, 1.0]},
    "modulated_hyperprior": {"lambdas": [64, 512]},
    "scalable": {"widths": [4, 8]},
}

RECEIVER = """
import sys
from pathlib import Path
import nic_lightning
assert "torch" not in sys.modules
import torch
for folder in map(Path, sys.argv[1:]):
    codec = nic_lightning.load_codec(folder / "export")
    assert not {"pytorch_lightning", "hydra", "omegaconf", "wandb", "onnx", "onnxruntime"} & sys.modules.keys()
    for file in sorted(folder.glob("*.nic")):
        encoded, point = codec.unpack(file.read_bytes())
        image, original = torch.load(file.with_suffix(".pt"), weights_only=True)
        assert torch.equal(codec.decompress(encoded, point), image), file
        assert codec.pack(codec.compress(original, point), point) == file.read_bytes(), file
        print(file)
"""


def checkpoint(folder: Path, make_codec, name: str, **overrides) -> Path:
    """A checkpoint as nic-train writes it, of a tiny codec."""
    codec = make_codec(name, **overrides)
    config = yaml.safe_load((CONF / f"{name}.yaml").read_text())
    config |= {key: value for key, value in {"width": 8, "hidden": 6}.items() if key in config} | overrides
    state = {f"codec.{key}": value for key, value in codec.state_dict().items()}
    folder.mkdir(parents=True, exist_ok=True)
    torch.save({"codec": {"config": config, "tables": {}}, "state_dict": state}, folder / "last.ckpt")
    return folder / "last.ckpt"


def test_files_of_the_run_and_of_its_export_are_interchangeable(tmp_path, make_codec, picture) -> None:
    for name, overrides in CODECS.items():
        folder = tmp_path / name
        codec, config = load_with_config(checkpoint(folder, make_codec, name, **overrides))
        export_codec(codec, config, folder / "export")
        assert {p.name for p in folder.iterdir()} == {"last.ckpt", "export"}
        assert {p.name for p in (folder / "export").iterdir()} == {WEIGHTS, DESCRIPTION}
        described = json.loads((folder / "export" / DESCRIPTION).read_text())
        assert described["fingerprint"] == codec.fingerprint().hex()
        assert [p["label"] for p in described["operating_points"]] == [p.label for p in codec.operating_points]
        points = [*codec.operating_points, *([codec.point_at(200.0)] if codec.lambda_range else [])]
        for i, point in enumerate([*points, codec.candidate_points[-1]]):
            x = picture(33, 65, seed=i)
            data = codec.pack(codec.compress(x, point), point)
            (folder / f"{i}.nic").write_bytes(data)
            torch.save((codec.decompress(*codec.unpack(data)), x), folder / f"{i}.pt")
    command = [sys.executable, "-W", "ignore", "-c", RECEIVER, *(str(tmp_path / name) for name in CODECS)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    assert len(result.stdout.splitlines()) == len(list(tmp_path.glob("*/*.nic"))) == 12


def test_an_export_can_be_exported_again(tmp_path, make_codec) -> None:
    codec, config = load_with_config(checkpoint(tmp_path, make_codec, "cae"))
    export_codec(codec, config, tmp_path / "a")
    again, config = load_with_config(tmp_path / "a")
    export_codec(again, config, tmp_path / "b" / "c")
    for name in (WEIGHTS, DESCRIPTION):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / "c" / name).read_bytes()


def test_tables_that_were_never_made_are_not_exported_as_a_codec(tmp_path, make_codec) -> None:
    config = {"_target_": "nic_lightning.codecs.cae.CompressiveAutoencoder", "width": 4}
    export_codec(build_codec(config), config, tmp_path / "export")
    with pytest.raises(RunError, match="update_tables"):
        nic_lightning.load_codec(tmp_path / "export")


def test_the_package_has_nothing_else_that_is_lazy() -> None:
    with pytest.raises(AttributeError, match="no attribute 'load_codecs'"):
        _ = nic_lightning.load_codecs  # pyright: ignore[reportAttributeAccessIssue]


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_folder_appears_whole_or_not_at_all(tmp_path, make_codec, monkeypatch) -> None:
    codec, config = load_with_config(checkpoint(tmp_path / "run", make_codec, "cae"))
    out = tmp_path / "out"

    failures: list[BaseException] = []

    def interrupted(codec, point, folder):
        assert {p.name for p in folder.iterdir()} == {WEIGHTS, DESCRIPTION}
        raise failures.pop()

    monkeypatch.setattr("nic_lightning.codecs.to_onnx.export_point", interrupted)
    monkeypatch.setattr("nic_lightning.codecs.to_onnx.require_packages", lambda: None)
    for error, expected in (
        (UserError("It differs."), UserError),
        (OSError(28, "No space left on device"), RunError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ):
        failures.append(error)
        with pytest.raises(expected, match=r"It differs|cannot be written: No space left on device|^$"):
            export_codec(codec, config, out, onnx_points=codec.operating_points)
        assert {p.name for p in tmp_path.iterdir()} == {"run"}

    export_codec(codec, config, out)
    before = content(out)
    with pytest.raises(RunError, match="--overwrite"):
        export_codec(codec, config, out)
    failures.append(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        export_codec(codec, config, out, onnx_points=codec.operating_points, overwrite=True)
    assert content(out) == before
    assert {p.name for p in tmp_path.iterdir()} == {"run", "out"}
    (out / "g_a@old.onnx").write_text("")
    export_codec(codec, config, out, overwrite=True)
    assert content(out) == before
    assert {p.name for p in tmp_path.iterdir()} == {"run", "out"}


def test_only_exports_are_replaced(tmp_path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("x")
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to("home")
    for name, message in (("home", "thesis.tex"), ("file", "not a folder"), ("link", "not a folder")):
        with pytest.raises(RunError, match=message), new_folder(tmp_path / name, overwrite=True):
            raise AssertionError("must not get here")
    with pytest.raises(RunError, match="cannot be written"), new_folder(tmp_path / "file" / "out"):
        raise AssertionError("must not get here")
    with pytest.raises(RunError, match="exists"), new_folder(tmp_path / "late") as folder:  # noqa: PT012
        (folder / "x").write_text("")
        (tmp_path / "late").mkdir()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "home", "late", "link"]
    assert content(tmp_path / "home") == {"thesis.tex": b"x"}
    assert content(tmp_path / "late") == {}


# What follows comes from somebody else.


@pytest.fixture(scope="module")
def original(tmp_path_factory, make_codec) -> Path:
    folder = tmp_path_factory.mktemp("export")
    codec, config = load_with_config(checkpoint(folder, make_codec, "modulated", lambdas=[64, 512]))
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


class Execute:
    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


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

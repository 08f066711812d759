from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import nic_lightning
from nic_lightning.codecs.exporting import DESCRIPTION, WEIGHTS, export_codec, new_folder
from nic_lightning.codecs.loading import build_codec, load_with_config
from nic_lightning.errors import RunError, UserError
from tests.codecs.samples import save_checkpoint

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
torch.set_num_threads(int(sys.argv[1]))
for folder in map(Path, sys.argv[2:]):
    codec = nic_lightning.load_codec(folder / "export")
    assert not {"pytorch_lightning", "hydra", "omegaconf", "wandb", "onnx", "onnxruntime"} & sys.modules.keys()
    for file in sorted(folder.glob("*.nic")):
        encoded, point = codec.unpack(file.read_bytes())
        image, original = torch.load(file.with_suffix(".pt"), weights_only=True)
        assert torch.equal(codec.decompress(encoded, point), image), file
        assert codec.pack(codec.compress(original, point), point) == file.read_bytes(), file
        print(file)
"""


def test_files_of_the_run_and_of_its_export_are_interchangeable(tmp_path, make_codec, picture) -> None:
    for name, overrides in CODECS.items():
        folder = tmp_path / name
        codec, config = load_with_config(save_checkpoint(folder, make_codec, name, **overrides))
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
    threads = str(torch.get_num_threads())  # on another number convolutions round differently
    command = [sys.executable, "-W", "ignore", "-c", RECEIVER, threads, *(str(tmp_path / name) for name in CODECS)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    assert len(result.stdout.splitlines()) == len(list(tmp_path.glob("*/*.nic"))) == 12


def test_an_export_can_be_exported_again(tmp_path, make_codec) -> None:
    codec, config = load_with_config(save_checkpoint(tmp_path, make_codec, "cae"))
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
    codec, config = load_with_config(save_checkpoint(tmp_path / "run", make_codec, "cae"))
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

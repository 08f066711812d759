from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import nic_lightning
from nic_lightning.cli import main
from nic_lightning.codecs.modulated import ModulatedAutoencoder
from nic_lightning.codecs.starting import start_from
from nic_lightning.errors import UserError

from .conftest import ARGUMENTS


def nic(*arguments: object) -> int:
    return main([str(a) for a in arguments])


def test_an_export_stands_in_for_the_run(run: Path, images: list[Path], tmp_path: Path, capsys) -> None:
    out, handler = tmp_path / "export", signal.getsignal(signal.SIGTERM)
    assert nic("export", run, "-o", out) == 0
    fingerprint = nic_lightning.load_codec(run).fingerprint().hex()
    size = (out / "codec.safetensors").stat().st_size
    assert capsys.readouterr().out == (
        f"{out}: codec.safetensors ({size:,} bytes) and codec.json, fingerprint {fingerprint}\n"
    )
    assert signal.getsignal(signal.SIGTERM) is handler
    for source in (run, out):
        folder = tmp_path / f"by-{source.name}"
        assert nic("compress", *images, "-o", folder, "--run", source, "--point", "512") == 0
    for name in ("face.nic", "grey.nic"):
        assert (tmp_path / "by-export" / name).read_bytes() == (tmp_path / f"by-{run.name}" / name).read_bytes()
        assert nic("decompress", tmp_path / "by-export" / name, "-o", tmp_path / "png", "--run", run) == 0
    capsys.readouterr()
    assert nic("export", run, "-o", out) == 2
    assert capsys.readouterr().err == f"{out} exists; give another folder, or --overwrite to replace an export.\n"
    assert nic("export", run, "-o", out, "--overwrite") == 0


def test_only_point_cloud_codecs_have_a_c_header(run: Path, tmp_path: Path, capsys) -> None:
    assert nic("export", run, "-o", tmp_path / "out", "--c-header") == 2
    assert "has no C header: --c-header is for codec=point_cloud" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_training_may_start_from_an_export(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "export"
    assert nic("export", run, "-o", out) == 0
    starts = [ModulatedAutoencoder(**ARGUMENTS) for _ in range(2)]
    for codec, source in zip(starts, (run, out), strict=True):
        start_from(codec, str(source))
    parameters = [dict(codec.named_parameters()) for codec in starts]
    assert all(torch.equal(value, parameters[1][name]) for name, value in parameters[0].items())
    with pytest.raises(UserError, match=f"init_from={out} does not fit this codec: .* (there|here).$"):
        start_from(ModulatedAutoencoder(width=4, lambdas=ARGUMENTS["lambdas"]), str(out))


def test_a_narrowed_export_is_small_and_reads_the_files_of_the_whole(slim_run, images, tmp_path, capsys) -> None:
    whole, narrow = tmp_path / "whole", tmp_path / "narrow"
    assert nic("export", slim_run, "-o", whole) == 0
    assert nic("export", slim_run, "-o", narrow, "--width", 8) == 0
    description = json.loads((narrow / "codec.json").read_text())
    assert description["codec"]["widths"] == [4, 8]
    assert description["codec"]["lambdas"] == [100.0, 500.0]  # what the run has learned, not the 500 of its config
    assert description["codec"]["gdn"] == "slim+"
    assert [p["label"] for p in description["operating_points"]] == ["w4", "w8"]

    # No more than the slices: an autoencoder of 8 channels, six times four numbers a width, and entropy models.
    codec = nic_lightning.load_codec(narrow)
    weights = 106 * 8**2 + 496 * 8 + 3 + 6 * 4 * 2
    rest = sum(t.numel() * t.element_size() for k, t in codec.state_dict().items() if k[:7] in ("entropy", "lambdas"))
    header = int.from_bytes((narrow / "codec.safetensors").read_bytes()[:8], "little")
    assert (narrow / "codec.safetensors").stat().st_size == 8 + header + 4 * weights + rest
    assert (narrow / "codec.safetensors").stat().st_size < (whole / "codec.safetensors").stat().st_size / 2

    for point in ("w4", "w8", "w16"):
        assert nic("compress", *images, "-o", tmp_path / point, "--run", slim_run, "--point", point) == 0
    for point in ("w4", "w8"):
        for source in (slim_run, narrow):
            folder = tmp_path / f"{point}-{source.name}"
            assert nic("decompress", *(tmp_path / point).iterdir(), "-o", folder, "--run", source) == 0
            assert nic("compress", images[0], "-o", folder, "--run", source, "--point", point) == 0
        for name in ("face.png", "grey.png", "face.nic"):
            ours, theirs = (tmp_path / f"{point}-{source.name}" / name for source in (slim_run, narrow))
            assert ours.read_bytes() == theirs.read_bytes()
    capsys.readouterr()
    assert nic("decompress", tmp_path / "w16" / "face.nic", "-o", tmp_path / "no", "--run", narrow) == 2
    assert "width above this one's, which ends at 8" in capsys.readouterr().err

    assert nic("export", narrow, "-o", tmp_path / "again", "--width", 4) == 0
    assert nic("export", slim_run, "-o", tmp_path / "once", "--width", 4) == 0
    for name in ("codec.safetensors", "codec.json"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "once" / name).read_bytes()
    capsys.readouterr()
    assert nic("export", slim_run, "-o", tmp_path / "no", "--width", 5) == 2
    assert capsys.readouterr().err == "The codec has no width 5; it has 4, 8, 16.\n"
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--width", 8], "Codec modulated has no widths: --width is for slimmable codecs, such as codec=slimmable."),
        (["--point", "64"], "--point chooses what --onnx exports; give --onnx too."),
        (["--onnx", "--point", "9999"], "lambda 9999 is outside this codec's range, 64 to 4096."),
        (["--onnx"], "pip install 'nic_lightning[onnx]'"),
    ],
)
def test_what_cannot_be_exported(run: Path, tmp_path: Path, refused, monkeypatch, arguments, sentence: str) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert sentence in refused("export", run, "-o", tmp_path / "export", *arguments)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_killed_export_leaves_no_folder(run: Path, tmp_path: Path, number: int) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    code = "import sys; from nic_lightning.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "export", str(run), "-o", str(tmp_path / "export"), "--onnx"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while process.poll() is None and not list(tmp_path.glob(".export.*.partial/*.onnx")):
        time.sleep(0.01)
    os.kill(process.pid, number)
    _, err = process.communicate()
    assert process.returncode == {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGKILL: -9}[signal.Signals(number)]
    assert b"Traceback" not in err
    left = [p.name for p in tmp_path.iterdir()]
    assert all(name.endswith(".partial") for name in left)
    assert len(left) == (number == signal.SIGKILL)
    assert nic("export", run, "-o", tmp_path / "export") == 0

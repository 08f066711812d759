"""Files of a scalable codec, cut and decoded by layers."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from nic_lightning import bitstream
from nic_lightning.cli import main
from nic_lightning.codecs.scalable import ScalableAutoencoder

ARGUMENTS = {"widths": [3, 5, 8], "lambdas": [64.0, 256.0, 1024.0]}


def nic(*arguments: object) -> int:
    return main([str(a) for a in arguments])


@pytest.fixture(scope="module")
def scalable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run folder of a codec whose latents are not all zero."""
    torch.manual_seed(0)
    codec = ScalableAutoencoder(**ARGUMENTS)
    with torch.no_grad():
        for name, parameter in codec.named_parameters():
            if parameter.dim() == 4 and not name.startswith("entropy_"):
                parameter.mul_(3.0)
    codec.eval().update_tables()
    folder = tmp_path_factory.mktemp("runs") / "layers"
    (folder / "checkpoints").mkdir(parents=True)
    config = {"_target_": f"{ScalableAutoencoder.__module__}.ScalableAutoencoder", **ARGUMENTS}
    state = {f"codec.{k}": v for k, v in codec.state_dict().items()}
    torch.save({"codec": {"config": config, "tables": {}}, "state_dict": state}, folder / "checkpoints" / "last.ckpt")
    return folder


@pytest.fixture
def full(scalable: Path, images: list[Path], tmp_path: Path, capsys) -> Path:
    assert nic("compress", *images, "-o", tmp_path / "full", "--run", scalable, "--point", "layers3") == 0
    capsys.readouterr()
    return tmp_path / "full"


def test_cut_files_decode_as_the_first_layers_of_whole_ones(scalable, full, images, tmp_path, capsys) -> None:
    whole, pngs = sorted(full.iterdir()), []
    assert nic("decompress", *whole, "-o", tmp_path / "all", "--run", scalable, "--progressive") == 0
    assert capsys.readouterr().out.splitlines()[:2] == [f"{tmp_path}/all/face.layers{k}.png: 70x90" for k in (1, 2)]
    for k in (1, 2, 3):
        cut, first = tmp_path / f"cut{k}", tmp_path / f"first{k}"
        assert nic("truncate", *whole, "--layers", k, "-o", cut) == 0
        sizes = (cut / "face.nic").stat().st_size, whole[0].stat().st_size
        assert capsys.readouterr().out.splitlines()[0] == f"{cut / 'face.nic'}: {sizes[0]:,} of {sizes[1]:,} bytes"
        assert nic("decompress", *sorted(cut.iterdir()), "-o", cut, "--run", scalable) == 0
        assert nic("decompress", *whole, "-o", first, "--run", scalable, "--layers", k) == 0
        assert nic("compress", *images, "-o", first, "--run", scalable, "--point", f"layers{k}") == 0
        capsys.readouterr()
        for name in ("face", "grey"):
            assert (cut / f"{name}.nic").read_bytes() == (first / f"{name}.nic").read_bytes()
            pictures = [cut / f"{name}.png", first / f"{name}.png", tmp_path / "all" / f"{name}.layers{k}.png"]
            assert len({path.read_bytes() for path in pictures}) == 1
        pngs.append((cut / "face.png").read_bytes())
    assert len(set(pngs)) == 3
    assert (tmp_path / "cut3" / "face.nic").read_bytes() == whole[0].read_bytes()
    assert len(list((tmp_path / "all").iterdir())) == 6


def test_a_receiver_of_few_layers_decodes_the_files_of_the_whole(scalable, full, images, tmp_path, capsys) -> None:
    sizes = []
    for name, options in (("all", []), ("narrow", ["--width", 5]), ("thin", ["--width", 5, "--half", "receiver"])):
        assert nic("export", scalable, "-o", tmp_path / name, *options) == 0
        sizes.append((tmp_path / name / "codec.safetensors").stat().st_size)
    assert sizes[0] > sizes[1] > sizes[2]
    files = sorted(full.iterdir())
    for source, layers in ((scalable, 2), (tmp_path / "narrow", 2), (tmp_path / "thin", 2), (tmp_path / "thin", 1)):
        out = tmp_path / f"{source.name}{layers}"
        options = ["--layers", layers, "--progressive"]
        assert nic("decompress", *files, "-o", out, "--run", source, *options) == 0
        for name in [f"{file.stem}.layers{k}.png" for file in files for k in range(1, layers + 1)]:
            assert (out / name).read_bytes() == (tmp_path / "layers2" / name).read_bytes()
        assert len(list(out.iterdir())) == layers * len(files)
    capsys.readouterr()
    assert nic("decompress", files[0], "-o", tmp_path / "no", "--run", tmp_path / "thin") == 2
    assert "The file has 3 layers and this codec decodes 2: give --layers 2, or" in capsys.readouterr().err
    assert nic("compress", images[0], "-o", tmp_path / "no", "--run", tmp_path / "thin", "--point", "layers1") == 2
    assert "no encoder" in capsys.readouterr().err
    assert nic("compress", images[0], "-o", tmp_path / "cut", "--run", tmp_path / "narrow", "--point", "layers2") == 0
    assert nic("truncate", files[0], "-o", tmp_path / "expected", "--layers", 2) == 0
    assert (tmp_path / "cut" / "face.nic").read_bytes() == (tmp_path / "expected" / "face.nic").read_bytes()


def test_what_cannot_be_cut_is_named_and_the_others_go_on(run, scalable, full, images, tmp_path, capsys) -> None:
    nic("compress", images[0], "-o", tmp_path / "plain", "--run", run, "--point", "64")
    bad = full / "bad.nic"
    bad.write_bytes((full / "face.nic").read_bytes()[:-1])
    capsys.readouterr()
    files = [tmp_path / "plain" / "face.nic", bad, full / "none.nic", full / "grey.nic"]
    assert nic("truncate", *files, "--layers", 1, "-o", tmp_path / "cut") == 2
    captured = capsys.readouterr()
    err = captured.err.splitlines()
    assert err[0].endswith("The file has no layers: only a scalable codec, such as codec=scalable, writes them.")
    assert "CRC-32" in err[1]
    assert "no such file" in err[2]
    assert err[3] == "3 of 4 files failed."
    assert [path.name for path in (tmp_path / "cut").iterdir()] == ["grey.nic"]
    for option in (["--layers", "1"], ["--progressive"]):
        assert nic("decompress", files[0], "-o", tmp_path / "o", "--run", run, *option) == 2
        assert "has no layers" in capsys.readouterr().err
    for count in (0, 4):
        for command in (["truncate"], ["decompress", "--run", scalable]):
            assert nic(*command, full / "face.nic", "--layers", count, "-o", tmp_path / "o") == 2
            assert f"{count} layers were asked for; the file has 3." in capsys.readouterr().err
    assert not (tmp_path / "o").exists() or not list((tmp_path / "o").iterdir())


def test_no_image_of_a_file_is_written_when_a_later_layer_is_damaged(scalable, full, tmp_path, capsys) -> None:
    content = bitstream.unpack((full / "face.nic").read_bytes())
    strings = (*content.strings[:2], content.strings[2][:-4] + b"\xff\0\xff\0")
    (full / "face.nic").write_bytes(bitstream.pack(replace(content, strings=strings)))
    assert nic("decompress", full / "face.nic", "-o", tmp_path / "o", "--run", scalable, "--progressive") == 2
    assert "The entropy-coded string" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()
    assert nic("decompress", full / "face.nic", "-o", tmp_path / "o", "--run", scalable, "--layers", 2) == 0


def test_nothing_is_replaced_unasked(scalable, full, tmp_path, capsys) -> None:
    before = (full / "face.nic").read_bytes()
    assert nic("truncate", full / "face.nic", "--layers", 1, "-o", full) == 2
    assert "use --overwrite" in capsys.readouterr().err
    assert (full / "face.nic").read_bytes() == before
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / "face.layers2.png").write_bytes(b"mine")
    command = ["decompress", full / "face.nic", "-o", tmp_path / "o", "--run", scalable, "--progressive"]
    assert nic(*command) == 2
    assert "face.layers2.png exists; use --overwrite" in capsys.readouterr().err
    assert [path.read_bytes() for path in (tmp_path / "o").iterdir()] == [b"mine"]
    assert nic(*command, "--overwrite") == 0
    assert len(list((tmp_path / "o").iterdir())) == 3
    assert nic("truncate", full / "face.nic", "--layers", 2, "-o", full, "--overwrite") == 0
    assert len((full / "face.nic").read_bytes()) < len(before)


def test_cutting_takes_no_torch(full, tmp_path) -> None:
    code = (
        "import sys; from nic_lightning.cli import main; code = main(sys.argv[1:]); "
        "print(sorted({'torch', 'numpy', 'PIL'} & set(sys.modules))); sys.exit(code)"
    )
    command = [sys.executable, "-c", code, "truncate", str(full / "face.nic"), "--layers", "1", "-o", str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"

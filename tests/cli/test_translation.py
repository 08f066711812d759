"""`nic compress`, `nic decompress` and `nic export` with a codec that translates and autoencodes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file

from nic_lightning import bitstream, load_codec
from nic_lightning.cli import main


def nic(*arguments: object) -> int:
    return main([str(a) for a in arguments])


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path), dtype=int)


@pytest.fixture
def files(unified: Path, images: list[Path], tmp_path: Path, capsys) -> dict[str, Path]:
    for mode in ("translate", "autoencode"):
        assert nic("compress", images[0], "-o", tmp_path / mode, "--run", unified, "--mode", mode) == 0
    capsys.readouterr()
    return {mode: tmp_path / mode / "face.nic" for mode in ("translate", "autoencode")}


def test_a_picture_is_sent_once_and_translated_there(unified, images, files, tmp_path, capsys):
    """Sender and receiver are two exports, and share nothing but the file."""
    halves = {half: tmp_path / half for half in ("sender", "receiver")}
    for half, folder in halves.items():
        assert nic("export", unified, "-o", folder, "--half", half) == 0
    tensors = [load_file(folder / "codec.safetensors") for folder in halves.values()]
    shared = {name.split(".")[0] for name in tensors[0].keys() & tensors[1].keys()}
    assert shared == {"h_s", "entropy_y", "entropy_z", "whole"}
    for mode in files:
        out = tmp_path / f"by-sender-{mode}"
        capsys.readouterr()
        assert nic("compress", images[0], "-o", out, "--run", halves["sender"], "--mode", mode) == 0
        assert capsys.readouterr().out.endswith(f" bpp, point {mode}\n")
        assert (out / "face.nic").read_bytes() == files[mode].read_bytes()

    back = tmp_path / "back"
    command = ["decompress", files["translate"], "-o", back, "--run"]
    assert nic(*command, halves["receiver"], "--domain", "cat", "--samples", 3, "--seed", 5) == 0
    assert sorted(p.name for p in back.iterdir()) == [f"face.cat.{k}.png" for k in (1, 2, 3)]
    shown = [pixels(back / f"face.cat.{k}.png") for k in (1, 2, 3)]
    assert {picture.shape for picture in shown} == {(70, 90, 3)}
    assert len({picture.tobytes() for picture in shown}) == 3
    assert nic(*command, unified, "--domain", "dog", "--seed", 5) == 0
    assert not np.array_equal(pixels(back / "face.dog.png"), shown[0])
    assert nic(*command, unified, "--domain", "cat", "--seed", 5) == 0
    assert np.array_equal(pixels(back / "face.cat.png"), shown[0])
    assert nic(*command, halves["receiver"], "--domain", "cat", "--samples", 3, "--seed", 5) == 2
    assert "face.cat.1.png exists; use --overwrite" in capsys.readouterr().err

    codec = load_codec(unified)
    encoded, point = codec.unpack(files["translate"].read_bytes())
    image = codec.decompress(encoded, point, codec.random_styles("cat", 1, seed=5))
    assert np.array_equal((image[0] * 255).round().int().permute(1, 2, 0).numpy(), shown[0])


def test_an_autoencoded_picture_comes_back_as_it_is(unified, images, files, tmp_path, capsys):
    assert nic("compress", images[0], "-o", tmp_path / "a", "--run", unified, "--mode", "autoencode") == 0
    line = capsys.readouterr().out.strip()
    assert nic("decompress", files["autoencode"], "-o", tmp_path, "--run", unified) == 0
    mse = np.square(pixels(tmp_path / "face.png") - pixels(images[0])).mean()
    assert line.endswith(f"point autoencode, {10 * np.log10(255**2 / mse):.2f} dB")


def test_a_reference_gives_its_style(unified, files, tmp_path, capsys):
    generator = np.random.default_rng(0)
    picture = generator.integers(0, 256, (40, 40, 3), dtype=np.uint8)
    small = Image.fromarray(picture).resize((32, 32), Image.Resampling.BILINEAR)
    grey = Image.fromarray(picture[:32, :32, 0])
    variants = {"large": Image.fromarray(picture), "small": small, "grey": grey, "grey3": grey.convert("RGB")}
    opaque = Image.fromarray(picture[:32, :32])
    variants |= {"alpha": opaque.convert("RGBA"), "opaque": opaque}
    shown = {}
    for name, image in variants.items():
        image.save(tmp_path / f"{name}.png")
        command = ["decompress", files["translate"], "-o", tmp_path / name, "--run", unified, "--domain", "dog"]
        assert nic(*command, "--reference", tmp_path / f"{name}.png") == 0
        resized = " (40x40 resized to 32x32)" if name == "large" else ""
        assert capsys.readouterr().out == (
            f"{tmp_path / name / 'face.dog.png'}: 70x90, style of {tmp_path / name}.png{resized}\n"
        )
        shown[name] = pixels(tmp_path / name / "face.dog.png")
    for same in (("large", "small"), ("grey", "grey3"), ("alpha", "opaque")):
        assert np.array_equal(*(shown[name] for name in same))
    assert not np.array_equal(shown["small"], shown["opaque"])


def test_what_the_receiver_gets_wrong_is_one_sentence(unified, run, images, files, tmp_path, capsys):
    Image.new("RGB", (40, 32)).save(tmp_path / "wide.png")
    (tmp_path / "text.png").write_text("no image")
    translate, autoencode = files.values()
    sender, receiver = tmp_path / "s", tmp_path / "r"
    for folder, half in ((sender, "sender"), (receiver, "receiver")):
        assert nic("export", unified, "-o", folder, "--half", half) == 0
    capsys.readouterr()
    to_cat = ["--run", unified, "--domain", "cat"]
    cases = [
        ([translate, "--run", unified], "give the domain (cat, dog)"),
        ([autoencode, *to_cat], "was autoencoded"),
        ([translate, "--run", unified, "--domain", "dragon"], "no domain 'dragon'; it has cat, dog"),
        ([translate, "--run", run, "--domain", "cat"], "Codec modulated has no domains"),
        ([translate, "--run", unified, "--seed", 3], "--seed chooses a style of a domain: give --domain"),
        ([translate, *to_cat, "--samples", 0], "--samples is 0"),
        ([translate, *to_cat, "--reference", tmp_path / "wide.png"], "32x40 pixels"),
        ([translate, *to_cat, "--reference", tmp_path / "text.png"], "not an image"),
        ([translate, *to_cat, "--reference", images[0], "--samples", 2], "leave --samples out"),
        ([translate, "--run", sender, "--domain", "cat"], "this is the sender's half"),
        ([autoencode, "--run", sender], "this is the sender's half"),
        ([images[0], *to_cat], 'does not start with "NIC1"'),
    ]
    for arguments, sentence in cases:
        assert nic("decompress", *arguments, "-o", tmp_path / "o") == 2
        err = capsys.readouterr().err
        assert sentence in err, arguments
        assert len([line for line in err.splitlines() if "files failed" not in line]) == 1
    assert not (tmp_path / "o").exists()


def test_what_the_sender_gets_wrong_is_one_sentence(unified, run, images, tmp_path, capsys):
    receiver = tmp_path / "r"
    assert nic("export", unified, "-o", receiver, "--half", "receiver") == 0
    capsys.readouterr()
    cases = [
        (["compress", images[0], "--run", unified], "with --mode (translate, autoencode)"),
        (["compress", images[0], "--run", unified, "--mode", "guess"], "no mode 'guess'; it has translate, autoencode"),
        (
            ["compress", images[0], "--run", run, "--mode", "translate"],
            "Codec modulated has no mode 'translate'",
        ),
        (["compress", images[0], "--run", unified, "--bpp", 0.5], "give --mode alone"),
        (["compress", images[0], "--run", receiver, "--mode", "translate"], "this is the receiver's half"),
        (["export", run, "--half", "sender"], "Codec modulated has no halves"),
        (["export", receiver, "--half", "sender"], "it holds nothing for the sender"),
        (["export", unified, "--onnx"], "has no ONNX files"),
    ]
    for arguments, sentence in cases:
        assert nic(*arguments, "-o", tmp_path / "o") == 2
        err = capsys.readouterr().err
        assert sentence in err, arguments
        assert len([line for line in err.splitlines() if "files failed" not in line]) == 1
    assert not (tmp_path / "o").exists()


def test_the_mode_bit_is_guarded(unified, files, tmp_path, capsys):
    """Flipped in transit it is damage; flipped on purpose, another image."""
    data = files["translate"].read_bytes()
    content = bitstream.unpack(data)
    assert content.point == b"\0"
    place = 5 + bitstream.FINGERPRINT_BYTES + 1
    assert bitstream.unpack(files["autoencode"].read_bytes()).point == b"\1"
    damaged = tmp_path / "damaged.nic"
    damaged.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
    assert nic("decompress", damaged, "-o", tmp_path / "o", "--run", unified, "--domain", "cat") == 2
    assert "CRC-32" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["translate", "autoencode"])
def test_another_process_decodes_the_same_image(unified, files, tmp_path, mode):
    domain = ["--domain", "cat", "--seed", "4"] if mode == "translate" else []
    name = "face.cat.png" if domain else "face.png"
    command = ["decompress", str(files[mode]), "--run", str(unified), *domain, "-o"]
    assert nic(*command, tmp_path / "here") == 0
    program = str(Path(sys.executable).with_name("nic"))
    subprocess.run([program, *command, str(tmp_path / "there")], check=True, timeout=300)
    assert np.array_equal(pixels(tmp_path / "here" / name), pixels(tmp_path / "there" / name))

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import nic_lightning
from nic_lightning.cli import main
from nic_lightning.codecs.loading import load_codec
from nic_lightning.commands.file_by_file import MAX_FILE_BYTES


def nic(*arguments: object) -> int:
    return main([str(a) for a in arguments])


def test_there_and_back(run: Path, images: list[Path], tmp_path: Path, capsys) -> None:
    out, back = tmp_path / "files", tmp_path / "back"
    assert nic("compress", *images, "-o", out, "--run", run, "--point", "512") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    size = (out / "face.nic").stat().st_size
    assert lines[0].startswith(f"{out / 'face.nic'}: {size:,} bytes, {8 * size / (70 * 90):.4f} bpp, point 512, ")
    assert nic("decompress", *sorted(out.iterdir()), "-o", back, "--run", run) == 0
    pixels = np.asarray(Image.open(back / "face.png"), dtype=float)
    assert pixels.shape == (70, 90, 3)
    mse = np.square(pixels - np.asarray(Image.open(images[0]), dtype=float)).mean()
    assert lines[0].endswith(f"{10 * np.log10(255**2 / mse):.2f} dB")
    assert np.asarray(Image.open(back / "grey.png")).shape == (33, 17, 3)


@pytest.mark.parametrize("point", ["64", "1000"])
def test_a_continuous_codec_takes_any_lambda(run: Path, images: list[Path], tmp_path: Path, point: str) -> None:
    assert nic("compress", images[0], "-o", tmp_path / "o", "--run", run, "--point", point) == 0
    _, used = load_codec(run).unpack((tmp_path / "o" / "face.nic").read_bytes())
    assert used.lmbda == pytest.approx(float(point), rel=1e-3)


def test_a_target_rate_is_met(run: Path, images: list[Path], tmp_path: Path, capsys) -> None:
    rates = {}
    for point in ("64", "4096"):
        nic("compress", images[0], "-o", tmp_path / point, "--run", run, "--point", point)
        rates[point] = 8 * (tmp_path / point / "face.nic").stat().st_size / (70 * 90)
    target = (rates["64"] + rates["4096"]) / 2
    assert nic("compress", images[0], "-o", tmp_path / "o", "--run", run, "--bpp", target) == 0
    got = 8 * (tmp_path / "o" / "face.nic").stat().st_size / (70 * 90)
    assert got == pytest.approx(target, rel=0.02)
    capsys.readouterr()
    assert nic("compress", images[0], "-o", tmp_path / "far", "--run", run, "--psnr", 90) == 0
    assert "not 90 dB; the nearest gives" in capsys.readouterr().out


def test_a_bad_image_is_named_and_the_others_go_on(run: Path, images: list[Path], tmp_path: Path, capsys) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"not an image")
    gone = tmp_path / "gone.png"
    assert nic("compress", bad, gone, *images, "-o", tmp_path / "o", "--run", run, "--point", "64") == 2
    captured = capsys.readouterr()
    assert all(line.count(".png") <= 1 for line in captured.err.splitlines())  # named once
    assert len(captured.out.splitlines()) == 2
    assert "bad.png" in captured.err
    assert "gone.png" in captured.err
    assert "2 of 4 files failed" in captured.err
    assert sorted(p.name for p in (tmp_path / "o").iterdir()) == ["face.nic", "grey.nic"]


def test_files_are_not_overwritten_unasked(run: Path, images: list[Path], tmp_path: Path, capsys) -> None:
    command = ["compress", images[0], "-o", tmp_path / "o", "--run", run, "--point"]
    assert nic(*command, "64") == 0
    before = (tmp_path / "o" / "face.nic").read_bytes()
    assert nic(*command, "4096") == 2
    assert "use --overwrite" in capsys.readouterr().err
    assert (tmp_path / "o" / "face.nic").read_bytes() == before
    assert nic(*command, "4096", "--overwrite") == 0
    assert (tmp_path / "o" / "face.nic").read_bytes() != before


def test_two_images_of_one_name_do_not_share_a_file(run: Path, images: list[Path], tmp_path: Path, capsys) -> None:
    twin = tmp_path / "face.webp"
    Image.open(images[0]).save(twin)
    command = ["compress", images[0], twin, "-o", tmp_path / "o", "--run", run, "--point", "64", "--overwrite"]
    assert nic(*command) == 0
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == [
        str(tmp_path / "o" / name) for name in ("face.png.nic", "face.webp.nic")
    ]
    assert sorted(path.name for path in (tmp_path / "o").iterdir()) == ["face.png.nic", "face.webp.nic"]
    (tmp_path / "more").mkdir()
    other = twin.rename(tmp_path / "more" / "face.png")  # of one whole name, too
    assert nic("compress", images[0], other, "-o", tmp_path / "p", "--run", run, "--point", "64", "--overwrite") == 2
    sentence = f"another file of this command already made {tmp_path / 'p' / 'face.png.nic'}; give a folder of its own"
    assert sentence in capsys.readouterr().err


def test_what_an_image_loses_is_said_beside_its_file(run: Path, tmp_path: Path, capsys) -> None:
    Image.new("RGBA", (40, 30), (9, 9, 9, 100)).save(tmp_path / "glass.png")
    assert nic("compress", tmp_path / "glass.png", "-o", tmp_path / "o", "--run", run, "--point", "64") == 0
    assert capsys.readouterr().out.endswith(" dB  (Transparency was put on black.)\n")


def test_without_a_point_it_is_the_middle_one(run: Path, images: list[Path], tmp_path: Path, capsys) -> None:
    assert nic("compress", images[0], "-o", tmp_path / "o", "--run", run) == 0
    said = "(No operating point was named: took 512, the middle of 3 from 64 to 4096.)"
    assert capsys.readouterr().out.endswith(f" dB  {said}\n")
    assert nic("compress", images[0], "-o", tmp_path / "p", "--run", run, "--point", "512") == 0
    assert capsys.readouterr().out.endswith(" dB\n")
    assert (tmp_path / "o" / "face.nic").read_bytes() == (tmp_path / "p" / "face.nic").read_bytes()


def test_python_writes_and_reads_the_same_files(run: Path, images: list[Path], tmp_path: Path) -> None:
    codec = nic_lightning.load(run)
    wishes: list[dict] = [
        {},
        {"point": "64"},
        {"point": 1000},
        {"bpp": 2.0},
        {"psnr": 14.0},
        {"quality": 70},
        {"max-bytes": 300},
    ]
    for number, wish in enumerate(wishes):
        options = [text for name, value in wish.items() for text in (f"--{name}", value)]
        assert nic("compress", *images, "-o", tmp_path / f"{number}", "--run", run, *options) == 0
        for path in images:
            data = (tmp_path / f"{number}" / f"{path.stem}.nic").read_bytes()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of targets that are out of reach
                assert codec.encode(Image.open(path), **{k.replace("-", "_"): v for k, v in wish.items()}) == data
    assert nic("decompress", tmp_path / "0" / "face.nic", "-o", tmp_path / "b", "--run", run) == 0
    decoded = codec.decode((tmp_path / "0" / "face.nic").read_bytes())
    assert np.array_equal(np.asarray(decoded), np.asarray(Image.open(tmp_path / "b" / "face.png")))


def test_an_unknown_point_is_refused(run: Path, images: list[Path], tmp_path: Path, capsys) -> None:
    assert nic("compress", images[0], "-o", tmp_path / "o", "--run", run, "--point", "low") == 2
    assert "'low'" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


def test_what_is_no_nic_file_is_refused(run: Path, images: list[Path], tmp_path: Path, capsys) -> None:
    nic("compress", images[0], "-o", tmp_path / "o", "--run", run, "--point", "64")
    cut = tmp_path / "cut.nic"
    cut.write_bytes((tmp_path / "o" / "face.nic").read_bytes()[:-3])
    huge = tmp_path / "huge.nic"
    with huge.open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    capsys.readouterr()
    wrong = (cut, huge, tmp_path / "no.nic", tmp_path)
    assert nic("decompress", *wrong, "-o", tmp_path / "b", "--run", run) == 2
    err = capsys.readouterr().err.splitlines()
    assert "CRC-32" in err[0]
    assert "was not read" in err[1]
    assert "no such file" in err[2]
    assert "a folder; name the files in it" in err[3]
    assert not list((tmp_path / "b").glob("*")) if (tmp_path / "b").exists() else True


def test_the_output_must_be_a_folder(run: Path, images: list[Path], capsys) -> None:
    assert nic("compress", images[0], "-o", images[1], "--run", run, "--point", "64") == 2
    assert "is not a folder" in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_is_named(run: Path, images: list[Path], tmp_path: Path, capsys) -> None:
    out = tmp_path / "no-folder" / "o"
    out.parent.touch()
    assert nic("compress", images[0], "-o", out, "--run", run, "--point", "64") == 2
    told, count = capsys.readouterr().err.splitlines()
    assert f"{out / 'face.nic'} cannot be used: Not a directory; give a folder that you may write to." in told
    assert count == "1 of 1 files failed."
    nic("compress", images[0], "-o", tmp_path / "o", "--run", run, "--point", "64")
    capsys.readouterr()
    assert nic("decompress", tmp_path / "o" / "face.nic", "-o", out, "--run", run) == 2
    assert f"{out / 'face.png'} cannot be used: Not a directory" in capsys.readouterr().err


def test_a_missing_run_is_one_sentence(images: list[Path], tmp_path: Path, refused) -> None:
    assert str(tmp_path / "none") in refused("compress", images[0], "-o", tmp_path / "o", "--run", tmp_path / "none")

"""BPG and VTM through stand-ins: scripts on PATH that take the real programs' arguments and code in their own way.

They show that programs are found, run, bounded and read. They say nothing about BPG or VVC.
"""

from __future__ import annotations

import contextlib
import os
import random
import sys
import tempfile
import time
from pathlib import Path

import pytest
import torch

from nic_lightning.baselines import programs
from nic_lightning.baselines.bpg import Bpg
from nic_lightning.baselines.still import MissingCodec
from nic_lightning.baselines.vtm import Vtm
from nic_lightning.codecs.base import Encoded, ImageCodec
from nic_lightning.errors import BitstreamError, UserError
from nic_lightning.metrics.fidelity import psnr
from tests.baselines.samples import packed, picture
from tests.baselines.stand_ins import install


@pytest.fixture(autouse=True)
def stand_ins(tmp_path, monkeypatch) -> Path:
    """The stand-ins and nothing else on PATH; temporary folders that can be looked at."""
    folder = tmp_path / "bin"
    folder.mkdir()
    install(folder)
    (tmp_path / "intra.cfg").write_text("a configuration")
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return folder


@pytest.fixture(params=["bpg", "vtm"])
def codec(request, tmp_path) -> Bpg | Vtm:
    if request.param == "bpg":
        return Bpg([20, 40])
    return Vtm(str(tmp_path / "intra.cfg"), [20, 40])


def decoded(codec: Bpg | Vtm, encoded: Encoded) -> torch.Tensor:
    return codec.decompress(encoded, codec.operating_points[0])


def test_round_trip_through_real_processes(codec, tmp_path):
    assert isinstance(codec, ImageCodec)
    points = codec.operating_points
    assert [(p.index, p.label, p.quality) for p in points] == [(0, "qp40", -40.0), (1, "qp20", -20.0)]
    sizes, quality = [], []
    for size in [(1, 1), (33, 65)]:
        x = picture(*size)
        for point in points:
            data = codec.pack(codec.compress(x, point), point)
            encoded, named = codec.unpack(data)
            assert (encoded.shape, named.label) == (size, "unknown")
            x_hat = codec.decompress(encoded, point)
            assert x_hat.shape == x.shape
            sizes.append(len(data))
            quality.append(psnr(x, x_hat).item())
    assert sizes[2] < sizes[3]
    assert 20 < quality[2] < quality[3]
    assert not list((tmp_path / "temporary").iterdir())


def test_colours_of_vtm_come_back(tmp_path):
    """At QP 10 the stand-in is lossless: what is lost is lost by BT.709 in 10 bits."""
    codec = Vtm(str(tmp_path / "intra.cfg"), [10])
    x = torch.rand(1, 3, 20, 30, generator=torch.Generator().manual_seed(0)).mul(255).round().div(255)
    encoded, _ = codec.unpack(packed(codec, x))
    assert (codec.decompress(encoded, codec.operating_points[0]) - x).abs().max() < 1.01 / 255


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ("fail", r"failed with exit code 3: the last words\."),
        ("die", r"was killed by signal 9\."),
        ("nothing", r"wrote no file\."),
    ],
)
@pytest.mark.parametrize("side", ["encoder", "decoder"])
def test_a_program_that_fails_is_named_with_its_last_words(codec, side, wish, words, monkeypatch, tmp_path):
    x = picture(9, 9)
    encoded, _ = codec.unpack(packed(codec, x))
    monkeypatch.setenv("STAND_IN", f"{side} {wish}")
    program = Path(codec.encoder if side == "encoder" else codec.decoder).name
    kind = UserError if side == "encoder" else BitstreamError
    task = packed if side == "encoder" else decoded
    with pytest.raises(kind, match=rf"^{codec.name}: {program} {words}$"):
        task(codec, x if side == "encoder" else encoded)
    assert not list((tmp_path / "temporary").iterdir())


def test_a_program_that_takes_too_long_is_stopped_with_its_children(tmp_path, monkeypatch):
    codec = Bpg([40], timeout_s=20)
    note = tmp_path / "child"
    monkeypatch.setenv("STAND_IN", "encoder sleep")
    monkeypatch.setenv("STAND_IN_CHILD", str(note))
    monkeypatch.setattr(programs.subprocess.Popen, "wait", _until_written(note))
    with pytest.raises(UserError, match=r"bpgenc took longer than 20 s\.$"):
        packed(codec, picture(9, 9))
    child = Path(f"/proc/{note.read_text()}/stat")
    for _ in range(200):  # a killed process is gone when the machine comes round to it
        if state_of(child) in ("gone", "Z"):
            break
        time.sleep(0.05)
    assert state_of(child) in ("gone", "Z")  # Z: waiting for init


def state_of(process: Path) -> str:
    try:
        return process.read_text().split()[2]
    except (FileNotFoundError, ProcessLookupError):
        return "gone"


def _until_written(note: Path):
    """A wait whose time is over as soon as the note is there, however long the machine takes to start a program."""
    patient = programs.subprocess.Popen.wait

    def wait(process, timeout=None):
        while timeout is not None:
            if note.is_file() and note.read_text():
                raise programs.subprocess.TimeoutExpired("bpgenc", timeout)
            try:
                return patient(process, 0.05)
            except programs.subprocess.TimeoutExpired:
                continue
        return patient(process)

    return wait


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux can limit another process")
@pytest.mark.parametrize(
    ("wish", "limit", "words"), [("memory", "MAX_MEMORY", "Memory"), ("fill", "MAX_FILE", "large")]
)
def test_a_decoder_gets_so_much_memory_and_disk(codec, wish, limit, words, monkeypatch):
    encoded, _ = codec.unpack(packed(codec, picture(9, 9)))
    monkeypatch.setenv("STAND_IN", f"decoder {wish}")
    monkeypatch.setattr(programs, limit, 2**28 if wish == "memory" else 2**20)
    with pytest.raises(BitstreamError, match=words):
        codec.decompress(encoded, codec.operating_points[0])


def test_another_size_than_the_header_claims(codec):
    data = bytearray(packed(codec, picture(20, 30)))
    place = 6 if codec.name == "bpg" else 0
    data[place : place + 2] = b"\x80\x1d" if codec.name == "bpg" else b"\0\x1d"
    encoded, _ = codec.unpack(bytes(data))
    assert encoded.shape == (20, 29)
    with pytest.raises(BitstreamError, match="another size"):
        codec.decompress(encoded, codec.operating_points[0])


def test_foreign_and_cut_files_are_refused(codec):
    data = packed(codec, picture())
    huge = data[:6] + b"\x8f\xff\xff\xff\x7f" * 2 + data[10:] if codec.name == "bpg" else b"\xff\xff\xff\xff" + data[4:]
    for bad in (b"", b"BPG\xfb", b"BPG\xfb\0\0\x80\x80\x80\x80\x80\x80", b"\0\1\0\1\0\0\2", b"x" * 400, huge):
        with pytest.raises(BitstreamError) as error:
            codec.unpack(bad)
        assert "\n" not in str(error.value)
    with pytest.raises(BitstreamError):
        codec.decompress(codec.unpack(data[: len(data) // 2])[0], codec.operating_points[0])
    with pytest.raises(BitstreamError):
        codec.decompress(Encoded(((b"x" * 9,),), (1, 1)), codec.operating_points[0])


def test_damaged_headers_end_in_an_error_or_a_size(codec):
    data = packed(codec, picture(9, 9))
    chance = random.Random(0)
    for _ in range(2000):
        bad = bytearray(data[: chance.randint(0, len(data))])
        for _ in range(min(len(bad), 4)):
            bad[chance.randrange(min(len(bad), 16))] = chance.randrange(256)
        with contextlib.suppress(BitstreamError):
            height, width = codec.unpack(bytes(bad))[0].shape
            assert 0 < height * width <= 2**26


def test_alpha_and_animation_are_refused():
    data = packed(Bpg([40]), picture(9, 9))
    for place, flag in ((4, 0x10), (5, 0x04), (5, 0x01)):
        bad = bytearray(data)
        bad[place] |= flag
        with pytest.raises(BitstreamError, match="not a whole bpg file"):
            Bpg([40]).unpack(bytes(bad))


def test_programs_that_are_not_there(stand_ins, tmp_path):
    os.remove(stand_ins / "bpgdec")
    with pytest.raises(
        MissingCodec, match=r"^bpg needs the program bpgdec, which is not on PATH: install libbpg, .*\.$"
    ):
        Bpg()
    os.remove(stand_ins / "EncoderApp")
    with pytest.raises(MissingCodec, match=r"^vtm needs the program EncoderApp, .*: build VTM, .*\.$"):
        Vtm(str(tmp_path / "intra.cfg"))
    assert Bpg(programs=(str(stand_ins / "bpgenc"), str(stand_ins / "bpgenc"))).name == "bpg"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Bpg([52]), r"QPs lie in"),
        (lambda: Bpg([]), "distinct QPs"),
        (lambda: Bpg(encoder="kvazaar"), "x265"),
        (lambda: Bpg(chroma="4:2:2"), "subsampling"),  # type: ignore[arg-type]
        (lambda: Bpg(timeout_s=0), "timeout_s"),
        (lambda: Vtm(), "codec.config=FILE"),
        (lambda: Vtm("nowhere.cfg"), "nowhere.cfg does not exist"),
    ],
)
def test_wrong_settings(make, words):
    with pytest.raises(UserError, match=words):
        make()

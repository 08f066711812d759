"""A medium of its own, sounds of one channel, goes through everything that images go through: nothing else knows it."""

from __future__ import annotations

import csv
import json
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from nic_lightning.baselines.pillow import Jpeg
from nic_lightning.callbacks.evaluation import evaluate_into_run
from nic_lightning.codecs import loading
from nic_lightning.codecs.base import Encoded, OperatingPoint
from nic_lightning.codecs.receiver import Decoded, Decoding
from nic_lightning.codecs.search import search_point
from nic_lightning.commands.bd import bd
from nic_lightning.commands.compress import compress
from nic_lightning.commands.decompress import decompress
from nic_lightning.commands.report import report
from nic_lightning.commands.results import results
from nic_lightning.commands.runs.show import show
from nic_lightning.dashboard.figures import rd_plot
from nic_lightning.errors import BitstreamError, DataError, RunError, UserError
from nic_lightning.media import base
from nic_lightning.media.base import Medium, Quality, Rate, find_medium, register
from nic_lightning.media.handling import Handler
from nic_lightning.report.curves.comparison import compare
from nic_lightning.report.curves.curves import curves
from nic_lightning.report.curves.text import rd_table
from nic_lightning.runs.loggers.wandb import _summary
from nic_lightning.runs.record.record import RunRecord
from nic_lightning.runs.record.results import RESULT_COLUMNS, read_results, write_results

LENGTH = 4000
MAGIC = b"SOUND"


class SoundHandler(Handler):
    """8-bit samples behind a magic number, as tensors (1, L) in [0, 255]."""

    ending = ".sound"

    def read(self, path: Path) -> tuple[Tensor, tuple[str, ...]]:
        look(path)
        return torch.from_numpy(np.fromfile(path, np.uint8, offset=len(MAGIC)).astype(np.float32))[None], ()

    def write(self, decoded: Tensor, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(MAGIC + decoded[0].byte().numpy().tobytes())

    def units(self, x: Tensor) -> int:
        return x.shape[-1]

    def compare(self, original: Tensor, decoded: Tensor, measures: Any) -> dict[str, float | None]:
        return {
            "hits": self.quality("hits", original, decoded),
            "drift": float((original - decoded).abs().mean()) + 0.1,
        }

    def quality(self, key: str, original: Tensor, decoded: Tensor) -> float:
        assert key == "hits"
        return float((original == decoded).float().mean())


def look(path: Path) -> None:
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise DataError(f"{path} is no sound.")


SOUND = Medium(
    name="sound",
    unit="sample",
    units="samples",
    rate=Rate("bps", "bps_estimated", "bit/sample", "rate [bits per sample]", "bits per sample"),
    qualities=(
        Quality("hits", "Accuracy", digits=3, tolerance=0.02),
        Quality("drift", "Drift", "LSB", lower_is_better=True, log_axis=True),
    ),
    default="hits",
    look=look,
    handler=SoundHandler,
)


class Rounding:
    """Samples rounded to multiples of a step, deflated; behind them zeros, `padding` of the length."""

    medium = "sound"
    receiver_options = ()

    def __init__(self, name: str = "rounding", padding: float = 0.0) -> None:
        self.name, self.padding = name, padding

    @property
    def operating_points(self) -> list[OperatingPoint]:
        return [OperatingPoint(i, f"s{step}", step=float(step)) for i, step in enumerate((24, 12, 6, 3))]

    def compress(self, x: Tensor, point: OperatingPoint) -> Encoded:
        step = point.step or 1.0
        symbols = (x / step).round().byte().numpy().tobytes()
        data = zlib.compress(symbols)
        return Encoded(((data + bytes(round(self.padding * len(data))),),), (1, x.shape[-1]))

    def decompress(self, encoded: Encoded, point: OperatingPoint) -> Tensor:
        symbols = np.frombuffer(zlib.decompressobj().decompress(encoded.strings[0][0]), np.uint8)
        return torch.from_numpy(symbols.astype(np.float32) * (point.step or 1.0)).clamp(0, 255)[None]

    def pack(self, encoded: Encoded, point: OperatingPoint) -> bytes:
        return b"NIC1" + bytes([2, 77, point.index]) + encoded.strings[0][0]

    def unpack(self, data: bytes) -> tuple[Encoded, OperatingPoint]:
        if data[:6] != b"NIC1" + bytes([2, 77]):
            raise BitstreamError("This is no file of a sound.")
        return Encoded(((data[7:],),), (1, 0)), self.operating_points[data[6]]

    # What a codec that commands load has, too.

    def require_files(self) -> None: ...

    def decodes_alone(self, point: OperatingPoint) -> bool:
        return True

    def point(self, label: str) -> OperatingPoint:
        return next(point for point in self.operating_points if point.label == label)

    def decoding(self, **wishes: Any) -> Decoding:
        return Decoding((), lambda data: Decoded(((),), iter([self.decompress(*self.unpack(data))])))


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "_REGISTERED", {})
    register(SOUND)


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    """Twelve files of noise."""
    generator = np.random.default_rng(0)
    for number in range(12):
        noise = torch.from_numpy(generator.integers(0, 256, LENGTH).astype(np.float32))
        SoundHandler().write(noise[None], tmp_path / "sounds" / f"{number}.sound")
    return tmp_path / "sounds"


def evaluated(folder: Path, sounds: Path, **more: Any) -> list[dict[str, Any]]:
    """Rows of two codecs on the sounds, in the results table of a run."""
    given = {"run": folder.name, "experiment": "e", "datasets": [str(sounds)], "save_images": 1}
    rows = evaluate_into_run(Rounding(), folder, **{**given, "baselines": [Rounding("padded", 0.1)], **more})
    RunRecord(folder).start({"name": folder.name}, [])
    RunRecord(folder).finish("finished")
    return rows


def test_real_files_become_rows_with_the_medium_s_columns(sounds, tmp_path):
    rows = evaluated(tmp_path / "run", sounds)
    assert len(rows) == 2 * 12 * 4
    kept = read_results(tmp_path / "run" / "results.parquet")
    assert set(kept[0]) - set(RESULT_COLUMNS) == {"medium", "samples", "bps", "hits", "drift"}
    assert {(row["medium"], row["samples"], row["bpp"], row["psnr"]) for row in kept} == {("sound", LENGTH, None, None)}
    assert kept[0]["bps"] == 8 * kept[0]["bytes"] / LENGTH
    decoded = tmp_path / "run/figures/reconstructions"
    names = ["original.sound", *(f"s{step}.sound" for step in (12, 24, 3, 6))]
    assert sorted(path.name for path in decoded.rglob("*.sound")) == names


def test_a_killed_evaluation_goes_on(sounds, tmp_path, monkeypatch):
    class Killed(BaseException): ...

    def done(codec, dataset, item, point):
        if item == "5":
            raise Killed

    with pytest.raises(Killed):
        evaluated(tmp_path / "run", sounds, on_item=done)
    seen: list[str] = []
    evaluated(tmp_path / "run", sounds, on_item=lambda codec, dataset, item, point: seen.append(codec + item))
    assert {item for item in seen if item.startswith("rounding")} == {f"rounding{n}" for n in (5, 6, 7, 8, 9)}


def test_curves_deltas_tables_and_plots_speak_of_it(sounds, tmp_path, capsys):
    rows = evaluated(tmp_path / "run", sounds)
    made = curves(rows)
    assert {curve.medium for curve in made} == {SOUND}
    assert made[0].rates == sorted(made[0].rates)
    dataset = made[0].dataset
    assert rd_table(rows).splitlines()[:2] == [f"{dataset} (12 sounds)", rd_table(rows).splitlines()[1]]
    assert rd_table(rows).splitlines()[1].split() == ["codec", "point", "bit/sample", "estimated", "Accuracy", "Drift"]
    delta = compare(made[1], made[0], "hits", draws=100)
    assert delta.result is not None
    assert delta.result.value == pytest.approx(100 / 1.1 - 100, abs=0.1)
    assert delta.interval is not None
    less = compare(made[1], made[0], "drift")
    assert less.result is not None
    assert less.result.value == pytest.approx(100 / 1.1 - 100, abs=0.1)
    assert bd(tmp_path / "run", draws=0) == 0
    said = capsys.readouterr().out
    assert "BD-rate over Accuracy against" in said
    assert "sounds" in said
    assert bd(tmp_path / "run", metric="drift", kind="quality", draws=0) == 0
    said = capsys.readouterr().out
    assert re.search(r"BD-Drift against .* less is better", said)
    assert " LSB" in said
    assert " bit/sample" in said
    with pytest.raises(UserError, match=r"Sounds have no quality 'psnr'; .*hits, drift"):
        bd(tmp_path / "run", metric="psnr")
    figure = rd_plot(made, "drift")
    assert figure["layout"]["xaxis"]["title"]["text"] == "rate [bits per sample]"
    assert figure["layout"]["yaxis"] | {"type": "log", "title": {"text": "Drift [LSB]"}} == figure["layout"]["yaxis"]
    assert f"{dataset}/rounding/hits@s24" in _summary(rows)


def test_the_report_draws_it_with_its_own_axes_beside_images(sounds, tmp_path, capsys):
    run = tmp_path / "runs" / "sound"
    evaluated(run, sounds)
    dataset = str(sounds)
    image = {"run": "i", "codec": "jpeg", "dataset": dataset, "item": "a", "quality": 5.0}
    points = [{"label": f"q{i}", "bpp": 0.1 * 2**i, "psnr": 28.0 + 2 * i, "pixels": 9, "bytes": 9} for i in range(4)]
    other = tmp_path / "runs" / "image"
    RunRecord(other).start({"name": "image"}, [])
    write_results(other / "results.parquet", [image | point for point in points])
    report([tmp_path / "runs"], out=tmp_path / "page.html", figures=tmp_path / "figures")
    capsys.readouterr()
    (embedded,) = re.findall(r'id="data">(.*?)</script>', (tmp_path / "page.html").read_text(), re.S)
    data = json.loads(embedded)
    apart = f"{dataset} (sounds)"
    assert data["medium_of"] == {dataset: "image", apart: "sound"}
    assert data["media"]["sound"]["axis"] == "rate [bits per sample]"
    axes = {(one["medium"], one["title"], one["lower"], one["log"]) for one in data["metrics"]}
    assert axes == {
        ("image", "PSNR [dB]", False, False),
        ("sound", "Accuracy", False, False),
        ("sound", "Drift [LSB]", True, True),
    }
    of_sounds = [curve for curve in data["curves"] if curve["dataset"] == apart]
    assert {curve["name"] for curve in of_sounds} == {"rounding", "padded"}
    assert all(point["bps"] > 0 and point["hits"] > 0 for curve in of_sounds for point in curve["points"])
    (pair,) = {tuple(one) for key, one in data["deltas"][apart]["pairs"].items()}
    assert pair == ("hits", "drift")
    names = {path.stem.partition("_")[0] + path.suffix for path in (tmp_path / "figures").iterdir()}
    assert names == {"rd.png", "points.csv", "points.tex", "bd.csv", "bd.tex", "images.csv"}
    with (tmp_path / "figures" / "images.csv").open() as file:
        header = next(csv.reader(file))
    assert header == [*RESULT_COLUMNS, "medium", "samples", "bps", "bps_estimated", "hits", "drift"]
    show(run)
    assert re.search(r"means over sounds\n\n.*bps +hits +drift", capsys.readouterr().out)


def test_curves_are_written_for_others_and_read_again(sounds, tmp_path, capsys):
    evaluated(tmp_path / "run", sounds)
    for form in ("json", "csv"):
        results([tmp_path / "run"], out=tmp_path / form, form=form)
        file = next((tmp_path / form).glob("*padded*"))
        capsys.readouterr()
        assert bd(tmp_path / "run", published=(str(file),), anchor="padded", draws=0) == 0
        assert "padded (published)  +0.00 %" in capsys.readouterr().out


def test_media_are_not_compared(sounds, tmp_path):
    (sound, *_) = curves(evaluated(tmp_path / "run", sounds))
    head = {"codec": "jpeg", "dataset": sound.dataset, "item": "0"}
    rows = [head | {"label": str(rate), "bpp": rate, "psnr": 30 * rate} for rate in (1, 2)]
    (image,) = curves(rows)
    problem = "The two curves are of different media: sounds and images."
    assert compare(sound, image, "hits").problem == problem
    with pytest.raises(UserError, match="The baseline jpeg is for images, not for sounds"):
        evaluated(tmp_path / "other", sounds, datasets=[], baselines=[Jpeg([50])])


def test_files_go_there_and_back_by_the_commands(sounds, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(loading, "load_codec", lambda path: Rounding())
    (tmp_path / "run").mkdir()
    (sounds / "song.txt").write_text("la la la")
    inputs = [sounds / "0.sound", sounds / "song.txt"]
    assert compress(inputs, run=tmp_path / "run", out=tmp_path / "files", point="s3") == 2
    said = capsys.readouterr()
    assert re.search(r"0\.nic: [\d,]+ bytes, \d\.\d{4} bit/sample, point s3, 0\.\d{3} Accuracy", said.out)
    assert "song.txt is no sound." in said.err
    assert decompress([tmp_path / "files/0.nic"], run=tmp_path / "run", out=tmp_path / "decoded") == 0
    assert capsys.readouterr().out == f"{tmp_path / 'decoded/0.sound'}: {LENGTH}\n"
    codec, x = Rounding(), SoundHandler().read(sounds / "0.sound")[0]
    point = codec.point("s3")
    there_and_back = SoundHandler().read(tmp_path / "decoded/0.sound")[0]
    assert torch.equal(there_and_back, codec.decompress(codec.compress(x, point), point))
    assert compress(inputs[:1], run=tmp_path / "run", out=tmp_path / "searched", hits=0.33) == 0
    assert "point s3" in capsys.readouterr().out


def test_a_search_takes_the_targets_of_the_medium(sounds):
    x = SoundHandler().read(sounds / "0.sound")[0]
    codec = Rounding()
    wanted = 8 * len(codec.pack(codec.compress(x, codec.point("s6")), codec.point("s6"))) / LENGTH
    found = search_point(codec, x, bps=wanted)
    assert (found.point.label, found.rate, found.message) == ("s6", wanted, None)
    assert 0 < found.quality < 1
    with pytest.raises(UserError, match=r"Sounds have no target 'psnr'; .*bps, hits"):
        search_point(codec, x, psnr=30.0)
    with pytest.raises(UserError, match="Give a target rate or a target Accuracy"):
        search_point(codec, x)


def test_sets_of_files_name_what_they_leave_out(sounds, tmp_path, caplog):
    (sounds / "noise.txt").write_text("hiss")
    assert len(evaluated(tmp_path / "run", sounds)) == 2 * 12 * 4
    assert "left out" in caplog.text
    assert "noise.txt is no sound." in caplog.text
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="There are no sounds in"):
        evaluated(tmp_path / "other", tmp_path / "empty")
    with pytest.raises(UserError, match=r"evaluation\.side makes squares of images, not of sounds"):
        evaluated(tmp_path / "other", sounds, side=8)


def test_a_medium_that_nobody_knows_is_one_sentence(sounds, tmp_path, monkeypatch):
    rows = evaluated(tmp_path / "run", sounds)
    monkeypatch.setattr(base, "_REGISTERED", {})
    sentence = "There is no medium 'sound' here, only image, cloud: import the package that registers it."
    with pytest.raises(UserError, match=sentence):
        curves(rows)
    with pytest.raises(RunError, match=rf"results\.parquet cannot be read: {sentence}"):
        read_results(tmp_path / "run" / "results.parquet")
    with pytest.raises(UserError, match=sentence):
        base.medium_of(Rounding())


def test_a_name_is_given_once():
    assert register(SOUND) is SOUND
    with pytest.raises(UserError, match="There is a medium 'sound' already"):
        register(Medium(**{**vars(SOUND), "default": "drift"}))
    with pytest.raises(UserError, match="There is a medium 'image' already"):
        register(Medium(**{**vars(SOUND), "name": "image"}))


def test_images_are_described_as_their_tables_always_were():
    image = find_medium(None)
    assert image is find_medium("image")
    assert image.rates == ("bpp", "bpp_estimated")
    assert {key: quality.axis for key, quality in image.drawn.items()} == {
        "psnr": "PSNR [dB]",
        "ms_ssim_db": "MS-SSIM [dB]",
        "lpips": "LPIPS",
    }
    assert list(image.targets) == ["bpp", "psnr"]
    assert set(image.columns) < set(RESULT_COLUMNS)
    assert [key for key in image.compared if image.sign(key) < 0] == ["lpips"]

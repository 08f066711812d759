from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from nic_lightning.cli import main
from nic_lightning.flow.io import encode, read_flow

MOVE = (3, -2)


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    """Four frames of texture, each moved by MOVE from the one before, in 8 bits, 16 bits or grey."""
    noise = np.random.default_rng(0).random((96, 128), dtype=np.float32)
    smooth = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2), None, 0, 1, cv2.NORM_MINMAX)
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(4):
        moved = np.roll(smooth, (number * MOVE[1], number * MOVE[0]), (0, 1))
        eight = (255 * moved).astype(np.uint8)
        picture = (65535 * moved).astype(np.uint16) if number == 1 else eight if number == 2 else np.dstack([eight] * 3)
        Image.fromarray(picture).save(folder / f"frame{number}.png")
    return folder


def flow(*arguments: object) -> int:
    return main(["flow", *map(str, arguments)])


def mean_error(path: Path, move=MOVE) -> float:
    return float(np.abs(read_flow(path)[16:-16, 16:-16] - move).mean())


def size(path: Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        return picture.size


def test_a_folder_and_what_was_left_undone(frames, tmp_path, capsys):
    out = tmp_path / "out"
    command = [frames, "-o", out, "--config", "dis_medium", "--show", "colours,warped"]
    assert flow(*command) == 0
    assert "two frames" in capsys.readouterr().out.splitlines()[0]
    names = {path.name for path in out.iterdir()}
    made = {f"frame{n}{suffix}" for n in range(3) for suffix in (".flo", ".colours.png", ".warped.png")}
    assert names == {"flow.json", *made}
    assert all(mean_error(out / f"frame{n}.flo") < 0.3 for n in range(3))
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("frame*")}
    (out / "frame1.warped.png").unlink()
    assert flow(*command) == 0
    said = capsys.readouterr().out
    assert "2 frames were done before and kept" in said
    assert said.count(" s") == 1
    after = {path.name: path.stat().st_mtime_ns for path in out.glob("frame*")}
    assert {name for name in before if after[name] == before[name]} == set(before) - {
        f"frame1{suffix}" for suffix in (".flo", ".colours.png", ".warped.png")
    }
    assert flow(frames, "-o", out, "--config", "dis_fast") == 2
    assert "flow of other settings (config, method)" in capsys.readouterr().err
    assert flow(frames, "-o", out, "--config", "dis_fast", "--overwrite", "--show", "none") == 0
    assert json.loads((out / "flow.json").read_text())["method"] == "dis_fast"
    (frames / "frame3.png").write_text("no picture")
    assert flow(*command, "--overwrite") == 2
    assert "frame3.png" in capsys.readouterr().err
    assert flow(frames, "-o", out, "--config", "dis_fast") == 2
    assert "none of these results" in capsys.readouterr().err  # but of two settings, since that one stopped half-way


def test_truth_formats_and_stages(frames, tmp_path, capsys):
    truth = tmp_path / "truth"
    truth.mkdir()
    (truth / "frame1.png").write_bytes(encode(np.full((96, 128, 2), MOVE, np.float32), "kitti"))
    out = tmp_path / "out"
    arguments = ("--truth", truth, "--show", "errors,stages", "--format", "kitti", "--config", "dis_medium")
    assert flow(frames / "frame*.png", "-o", out, *arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert ["EPE" in line for line in lines] == [False, True, False]
    assert {path.name for path in out.glob("*.errors.png")} == {"frame1.errors.png"}
    assert size(out / "frame1.stages.png") == (2 * 128 + 4, 96)
    assert mean_error(out / "frame1.png") < 0.3
    errors = ("--truth", truth, "--show", "errors", "--format", "png", "--config", "dis_medium")
    assert flow(frames, "-o", tmp_path / "errors", *errors) == 0
    assert {path.name for path in (tmp_path / "errors").iterdir()} == {"flow.json", "frame1.errors.png"}
    same = (tmp_path / "errors" / "frame1.errors.png").read_bytes() == (out / "frame1.errors.png").read_bytes()
    assert same  # of the same frame, though the others were not asked for
    assert flow(frames, "-o", tmp_path / "pfm", "--format", "pfm", "--show", "none", "--config", "dis_medium") == 0
    assert mean_error(tmp_path / "pfm" / "frame2.pfm") < 0.3
    assert flow(frames, "-o", tmp_path / "png", "--format", "png", "--config", "dis_medium") == 0
    assert not list((tmp_path / "png").glob("*.flo"))


def test_a_video(tmp_path, frames, capsys):
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (128, 96))
    for number in (0, 3):
        writer.write(cv2.imread(str(frames / f"frame{number}.png")))
    writer.release()
    assert flow(path, "-o", tmp_path / "out", "--config", "dis_medium", "--show", "none") == 0
    assert mean_error(tmp_path / "out" / "frame_00001.flo", (9, -6)) < 0.5


def test_a_video_that_is_cut_is_told_and_one_that_counts_badly_is_not(tmp_path, frames, refused):
    pictures = [Image.open(frames / f"frame{number % 4}.png") for number in range(8)]
    whole, cut = tmp_path / "whole.avi", tmp_path / "cut.avi"
    writer = cv2.VideoWriter(str(whole), cv2.VideoWriter.fourcc(*"MJPG"), 10, (128, 96))
    for picture in pictures:
        writer.write(np.asarray(picture.convert("RGB"))[..., ::-1].copy())
    writer.release()
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    said = refused("flow", cut, "-o", tmp_path / "half", "--config", "dis_fast", "--show", "none")
    assert "cut.avi claims 8 frames and ends after" in said
    assert 0 < len(list((tmp_path / "half").glob("*.flo"))) < 6
    uneven = tmp_path / "uneven.gif"  # no count in the file, and no even rate to reckon one from
    pictures[0].save(uneven, save_all=True, append_images=pictures[1:], duration=[40, 900, 40, 500, 40, 40, 3000, 40])
    assert flow(uneven, "-o", tmp_path / "gif", "--config", "dis_fast", "--show", "none") == 0
    assert len(list((tmp_path / "gif").glob("*.flo"))) == 7


@pytest.mark.slow
def test_our_own_pipeline(frames, tmp_path, capsys, nic_data, monkeypatch):
    if not (nic_data / "weights" / "dcflow_sintel_weights.npz").is_file():
        pytest.skip("no feature weights in the data root")
    monkeypatch.setenv("NIC_DATA", str(nic_data))
    settings = ("--set", "ratio=1", "--set", "max_displacement=5", "--show", "stages")
    for config in ("timcflow", "simplified"):
        out = tmp_path / config
        assert flow(frames, "-o", out, "--config", config, *settings) == 0
        assert mean_error(out / "frame1.flo") < 0.2, config
        stages = 5 if config == "timcflow" else 3  # frame, labels, what is kept, dense, refined
        assert size(out / "frame1.stages.png") == (stages * (128 + 4) - 4, 96)
    assert "two frames" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--config", "dis_fst"], "the nearest of 10 are dis_fast, dis_ultrafast"),
        (["--config", "raft_small"], "get https://download.pytorch.org"),
        (["--weights", "/nowhere/w.npz"], "no feature weights at /nowhere/w.npz"),
        (["--set", "ratio=0"], "ratio of 1 or more, or 'auto', not 0"),
        (["--set", "max_displacement=0"], "max_displacement is at least"),
        (["--set", "max_displacment=5"], "did you mean 'max_displacement'"),
        (["--set", "ratio"], "KEY=VALUE"),
        (["--set", "ratio=a"], "flow.ratio must be int"),
        (["--set", "refinement.outer=x"], "refinement.outer is a whole number from 1 on, not 'x'"),
        (["--set", "refinement.alpha=-1"], "refinement.alpha is a number of 0 or more, not -1"),
        (["--set", "refinement.inner=0"], "refinement.inner is a whole number from 1 on, not 0"),
        (["--set", "lambdas=[0,0,0]"], "not all 0"),
        (["--show", "color"], "colours, warped, errors, stages"),
        (["--show", "errors"], "give --truth"),
        (["--truth", "/nowhere"], "no true flow at /nowhere"),
        (["--largest", "-1"], "above 0"),
        (["--format", "png", "--show", "none"], "nothing but pictures"),
        (["--device", "gpu"], "A device is cpu, cuda, cuda:1 or auto"),
        (["--device", "cuda:99"], "There is no GPU for device=cuda:99"),
    ],
)
def test_wrong_arguments_end_in_a_sentence(frames, tmp_path, refused, nic_data, monkeypatch, arguments, sentence):
    monkeypatch.setenv("NIC_DATA", str(nic_data))
    assert sentence in refused("flow", frames, "-o", tmp_path / "out", *arguments)
    assert not list(tmp_path.glob("out/*.flo"))


def test_wrong_frames_and_truth_end_in_a_sentence(frames, tmp_path, refused):
    def said(*arguments: object) -> str:
        return refused("flow", *arguments, "-o", tmp_path / "out", "--overwrite", "--config", "dis_fast")

    (tmp_path / "clip.mp4").write_text("no video")
    assert "clip.mp4 cannot be read" in said(tmp_path / "clip.mp4")
    assert flow(frames, "-o", tmp_path / "out", "--config", "dis_fast") == 0  # nothing there was worth keeping
    shutil.rmtree(tmp_path / "out")
    assert "only" in said(frames / "frame0.png")
    assert "no frame, folder or video" in said(tmp_path / "none")
    bad, pair = tmp_path / "bad.flo", [frames / "frame0.png", frames / "frame1.png"]
    bad.write_bytes(b"PIEH" + bytes(20))
    assert "claims 0x0" in said(*pair, "--truth", bad)
    bad.write_bytes(encode(np.zeros((96, 100, 2), np.float32)))
    assert "is 100x96, and the frames are 128x96" in said(*pair, "--truth", bad)
    bad.write_bytes(encode(np.zeros((96, 128, 2), np.float32))[:-3])
    assert "is cut" in said(*pair, "--truth", bad)
    assert "true flow of two frames, and there are more" in said(frames, "--truth", bad)
    Image.fromarray(np.zeros((96, 120, 3), np.uint8)).save(frames / "frame3.png")
    assert "frame2 is 128x96, frame3 is 120x96" in said(frames)
    (tmp_path / "file").write_text("")
    other = tmp_path / "other"
    other.mkdir()
    (other / "frame1.flo").write_bytes(b"somebody's")
    sentence = refused("flow", frames, "-o", other, "--config", "dis_fast")
    assert "frame1.flo is there, and none of these results" in sentence
    assert [path.name for path in other.iterdir()] == ["frame1.flo"]
    inside = refused("flow", frames, "-o", frames, "--format", "kitti", "--config", "dis_fast")
    assert "none of these results" in inside
    assert "is not a folder" in refused("flow", frames, "-o", tmp_path / "file", "--config", "dis_fast")


@pytest.mark.parametrize("fresh", [True, False])
def test_long_videos_are_not_held_in_memory(fresh):
    from nic_lightning.commands.flow_files import _estimates
    from nic_lightning.data.frames import Frame

    alive: set[int] = set()

    class Picture(np.ndarray):
        """Tells when it is gone."""

        def __del__(self) -> None:
            alive.discard(id(self))

    def frames(count: int):
        for number in range(count):
            image = np.zeros((4, 4, 3), np.uint8).view(Picture)
            alive.add(id(image))
            yield Frame(f"frame{number}", image)

    class Still:
        """Finds nothing."""

        def run(self, previous, current, next, after):
            return current

        def sequence(self, images):
            before = None
            for image in images:
                if before is not None:
                    yield before
                before = image

    most = 0
    count = 0
    for window, estimate in _estimates(frames(200), Still(), fresh):
        assert estimate() is window.current.image
        most = max(most, len(alive))
        count += 1
    assert count == 199
    assert most <= 8

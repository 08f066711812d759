from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from nic_lightning.data.frames import Frame, open_frames, windows
from nic_lightning.errors import DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """frame8 to frame11, each filled with its number."""
    for number in (8, 9, 10, 11):
        Image.fromarray(np.full((12, 16, 3), number, np.uint8)).save(tmp_path / f"frame{number}.png")
    (tmp_path / "notes.txt").write_text("no frame")
    return tmp_path


def _values(frames) -> list[int]:
    return [int(frame.image[0, 0, 0]) for frame in frames]


def test_folders_wildcards_and_files_in_order(folder):
    assert _values(open_frames([folder])) == [8, 9, 10, 11]
    assert _values(open_frames([folder / "frame*.png"])) == [8, 9, 10, 11]
    assert _values(open_frames([folder / "frame10.png", folder / "frame9.png"])) == [10, 9]
    frames = open_frames([folder])
    assert _values(frames) == _values(frames)


def test_windows_have_the_neighbours_there_are(folder):
    def numbers(count: int) -> list[tuple]:
        frames = list(open_frames([folder]))[:count]
        return [
            tuple(None if one is None else int(one.image[0, 0, 0]) for one in (w.previous, w.current, w.next, w.after))
            for w in windows(frames)
        ]

    assert numbers(2) == [(None, 8, 9, None)]
    assert numbers(3) == [(None, 8, 9, 10), (8, 9, 10, None)]
    assert numbers(4) == [(None, 8, 9, 10), (8, 9, 10, 11), (9, 10, 11, None)]
    with pytest.raises(DataError, match="the sequence has 1"):
        numbers(1)


def test_windows_read_no_further_ahead_than_they_must():
    read = 0

    def endless():
        nonlocal read
        while True:
            read += 1
            yield Frame(f"frame{read}", np.zeros((2, 2, 3), np.uint8))

    for number, _ in zip(range(1, 1000), windows(endless()), strict=False):
        assert read <= number + 3


def test_grey_sixteen_bits_and_transparency_become_rgb(tmp_path):
    Image.fromarray(np.full((5, 6), 0xAB12, np.uint16)).save(tmp_path / "a1.png")
    Image.fromarray(np.full((5, 6), 7, np.uint8)).save(tmp_path / "a2.png")
    first, second = open_frames([tmp_path])
    assert first.image.shape == second.image.shape == (5, 6, 3)
    assert (first.image == 0xAB).all()
    assert (second.image == 7).all()


def test_wrong_input_is_named(folder):
    with pytest.raises(DataError, match=r"only .*frame8\.png"):
        open_frames([folder / "frame8.png"])
    with pytest.raises(DataError, match=r"There is no frame, folder or video .*missing"):
        open_frames([folder / "missing"])
    with pytest.raises(DataError, match="no frame in"):
        open_frames([folder / "*.jpg"])
    (folder / "frame10.png").write_bytes((folder / "frame10.png").read_bytes()[:45])
    with pytest.raises(DataError, match=r"Cannot read the image .*frame10\.png"):
        list(windows(open_frames([folder])))
    Image.fromarray(np.zeros((12, 17, 3), np.uint8)).save(folder / "frame10.png")
    with pytest.raises(DataError, match="frame9 is 16x12, frame10 is 17x12"):
        list(windows(open_frames([folder])))
    (folder / "b").mkdir()
    Image.fromarray(np.zeros((12, 16, 3), np.uint8)).save(folder / "b" / "frame9.png")
    with pytest.raises(DataError, match="share their name"):
        open_frames([folder / "frame9.png", folder / "b" / "frame9.png"])


def test_a_video_is_streamed(tmp_path):
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for value in (40, 90, 140):
        writer.write(np.full((48, 64, 3), (value, 0, 0), np.uint8))  # blue
    writer.release()
    names, blues = [], []
    for frame in open_frames([path]):
        names.append(frame.name)
        blues.append(int(frame.image[20, 20, 2]))
        assert frame.image.shape == (48, 64, 3)
    assert names == ["frame_00001", "frame_00002", "frame_00003"]
    assert np.abs(np.array(blues) - [40, 90, 140]).max() < 15
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(DataError, match="cannot be read as a video"):
        list(open_frames([path]))
    path.write_bytes(b"no video at all")
    with pytest.raises(DataError, match="cannot be read as a video"):
        list(open_frames([path]))
    with pytest.raises(DataError, match="one video alone"):
        open_frames([path, path])

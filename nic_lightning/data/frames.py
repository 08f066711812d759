"""Frames in time, one after the other: of a folder, of files, or of a video, of which a few are in memory. No torch."""

from __future__ import annotations

import glob
import logging
import os
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nic_lightning.data.images import MAX_PIXELS, SUFFIXES, Pixels, list_images, read_image
from nic_lightning.errors import DataError

log = logging.getLogger(__name__)

VIDEOS = frozenset({".mp4", ".mkv", ".avi", ".mov", ".webm", ".m4v", ".mpg", ".mpeg", ".ogv", ".y4m", ".gif"})
_MISCOUNT = 0.02
"""By how much, and a frame besides, the count that a sound video claims may be too large: some state their duration."""


@dataclass(frozen=True)
class Frame:
    """One picture of a sequence."""

    name: str
    """Of its file without suffix; of a video frame_00001 and so on."""
    image: Pixels
    """uint8 RGB (H, W, 3)."""


@dataclass(frozen=True)
class Window:
    """A frame and its neighbours; None where the sequence has begun or ends."""

    previous: Frame | None
    current: Frame
    next: Frame
    after: Frame | None


@dataclass(frozen=True)
class FrameSequence:
    """A sequence that is read when iterated, again from the start each time."""

    files: tuple[Path, ...] = ()
    video: Path | None = None

    def __iter__(self) -> Iterator[Frame]:
        return _of_video(self.video) if self.video is not None else _of_files(self.files)


def open_frames(sources: Sequence[str | Path]) -> FrameSequence:
    """The sequence that `sources` name: a folder of frames, files in order, wildcards, or one video file.

    Files of a folder or of wildcards come in the order of the numbers in their names: 9 before 10.

    Raises:
        DataError: nothing there, a video among other things, or fewer than two frames.
    """
    given = [Path(source).expanduser() for source in sources]
    if len(given) == 1 and given[0].is_file() and given[0].suffix.lower() in VIDEOS:
        return FrameSequence(video=given[0])
    files: list[Path] = []
    for path in given:
        files += _files(path)
    if len(files) < 2:
        count = f"only {files[0]}" if files else "no frame"
        raise DataError(f"Flow is between two frames, and there is {count} in {', '.join(map(str, given))}.")
    repeated = len(files) - len({path.stem for path in files})
    if repeated:
        raise DataError(f"{repeated} of the {len(files)} frames share their name with another; results would collide.")
    return FrameSequence(files=tuple(files))


def windows(frames: Iterable[Frame]) -> Iterator[Window]:
    """Each frame that has a next one, with its neighbours; four frames are held at a time.

    Raises:
        DataError: a frame of another size than the one before it, or fewer than two frames.
    """
    held: deque[Frame] = deque(maxlen=4)  # previous, current, next, after; the last two once they are read
    count = 0
    for frame in frames:
        count += 1
        if held and frame.image.shape != held[-1].image.shape:
            raise DataError(
                f"Frames of one size are needed: {held[-1].name} is {_size(held[-1])}, {frame.name} is {_size(frame)}."
            )
        held.append(frame)
        if count == 3:
            yield Window(None, held[0], held[1], held[2])
        elif count > 3:
            yield Window(*held)
    if count < 2:
        raise DataError(f"Flow is between two frames, and the sequence has {count}.")
    last = list(held)[-3:]
    yield Window(last[0] if count > 2 else None, last[-2], last[-1], None)


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        found, refused = list_images(path, recursive=False)
        for link in refused:
            log.warning("%s.", link)
        return sorted(found, key=_number)
    if path.is_file():
        if path.suffix.lower() in VIDEOS:
            raise DataError(f"{path} is a video; give one video alone, or frames.")
        return [path]
    if glob.has_magic(str(path)):
        found = [Path(name) for name in glob.glob(str(path)) if Path(name).suffix.lower() in SUFFIXES]
        return sorted(found, key=_number)
    raise DataError(f"There is no frame, folder or video {path}.")


def _number(path: Path) -> list[tuple[int, str]]:
    """Texts and numbers of the path, so that frame9 comes before frame10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d{1,18})", str(path))]


def _of_files(files: Iterable[Path]) -> Iterator[Frame]:
    said: set[str] = set()
    for path in files:
        pixels, changes = read_image(path)
        for change in set(changes) - said:
            log.warning("%s: %s; so it is with all frames of that kind.", path, change)
        said |= set(changes)
        yield Frame(path.stem, pixels)


def _of_video(path: Path) -> Iterator[Frame]:
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # what is wrong is said below, in a sentence
    import cv2

    level = cv2.getLogLevel()
    cv2.setLogLevel(0)
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    cv2.setLogLevel(level)
    try:
        size = (int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)))
        if not capture.isOpened() or not 0 < size[0] * size[1] <= MAX_PIXELS:
            raise DataError(f"{path} cannot be read as a video: it is damaged, or of a kind that OpenCV does not know.")
        told, number = capture.get(cv2.CAP_PROP_FRAME_COUNT), 0  # exact or of the duration; 0 or less: unknown
        while True:
            there, image = capture.read()
            if not there:
                break
            number += 1
            yield Frame(f"frame_{number:05d}", np.asarray(image[..., ::-1], np.uint8, "C"))
        if number < 2:
            raise DataError(f"Flow is between two frames, and {path} holds {number} that can be decoded.")
        if number + 1 < (1 - _MISCOUNT) * told:
            raise DataError(
                f"{path} claims {told:.0f} frames and ends after {number}: it is cut or damaged. What was made of "
                "the frames before is kept."
            )
    finally:
        capture.release()


def _size(frame: Frame) -> str:
    return f"{frame.image.shape[1]}x{frame.image.shape[0]}"

"""`nic flow`: optical flow of frames or a video, as files and pictures."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nic_lightning.baselines.matchers import Found, Matcher, matcher, same_settings
from nic_lightning.commands.flow_arguments import SHOWN
from nic_lightning.data.frames import Frame, Window, open_frames, windows
from nic_lightning.errors import DataError, UserError, counted
from nic_lightning.flow.colour import error_map, to_colours, to_png, warp
from nic_lightning.flow.io import FORMATS, encode, read_flow
from nic_lightning.flow.stages import stage_flows
from nic_lightning.metrics.flow_errors import flow_errors
from nic_lightning.runs.record.files import write_atomically

SETTINGS = "flow.json"
"""In the folder of results: what made them."""
_GAP = 4


@dataclass(frozen=True)
class Wishes:
    """What is to be written."""

    format: str = "flo"
    """A key of `flow.io.FORMATS`, or "png" for pictures alone."""
    shown: tuple[str, ...] = ("colours",)
    """Of `flow_arguments.SHOWN`."""
    truth: Path | None = None
    largest: float | None = None
    overwrite: bool = False

    def check(self) -> None:
        """Raise UserError for pictures that do not exist, or need what was not given."""
        for word in self.shown:
            if word not in SHOWN:
                raise UserError(f"There is no picture {word!r}; --show takes {', '.join(SHOWN)} or none.")
        if "errors" in self.shown and self.truth is None:
            raise UserError("Pictures of errors need the true flow: give --truth PATH.")
        if self.format == "png" and not self.shown:
            raise UserError("--format png writes nothing but pictures, and --show none leaves them out.")
        if self.largest is not None and not self.largest > 0:
            raise UserError(f"--largest is a number of pixels above 0, not {self.largest}.")
        if self.truth is not None and not self.truth.exists():
            raise DataError(f"There is no true flow at {self.truth}.")

    def targets(self, out: Path, name: str, has_truth: bool) -> dict[str, Path]:
        """The files of a frame, by what they are; without the true flow none of errors."""
        files = {} if self.format == "png" else {"flow": out / f"{name}{FORMATS[self.format]}"}
        shown = [what for what in self.shown if what != "errors" or has_truth]
        return files | {what: out / f"{name}.{what}.png" for what in shown}

    def patterns(self) -> list[str]:
        """Wildcards of all files that are written."""
        return [path.name for path in self.targets(Path(), "*", True).values()]


def flow(
    sources: Sequence[str], out: Path, config: str, settings: Sequence[str], weights: str | None, wishes: Wishes
) -> int:
    """Write the flow of every frame but the last into `out`; the exit code, 0.

    Files that are there already are kept, if the same settings made them; what is missing is made.

    Raises:
        UserError: wrong wishes, settings or frames, or results of other settings in `out`.
    """
    wishes.check()
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is not a folder; give one with -o.")
    frames = open_frames(sources)
    made_by = matcher(config, settings, weights)
    settings_of_all = {"config": config, **made_by.settings, "frames": [str(Path(s).resolve()) for s in sources]}
    fresh = _claim(out, settings_of_all, wishes)
    kept = 0
    for window, estimate in _estimates(frames, made_by, fresh):
        truth = _truth_of(wishes.truth, window)
        targets = wishes.targets(out, window.current.name, truth is not None)
        if not wishes.overwrite and all(path.is_file() for path in targets.values()):
            kept += 1
            continue
        start = time.perf_counter()
        found = estimate()
        seconds = time.perf_counter() - start
        true = None if truth is None else _truth(truth, found.flow.shape)
        for what, path in targets.items():
            write_atomically(path, _file(what, found, window, true, wishes))
        print(_line(found, window, targets, true, seconds), flush=True)
    if kept:
        print(f"{counted(kept, 'frame', 'was/were')} done before and kept.")
    write_atomically(out / SETTINGS, _text(settings_of_all))
    return 0


def _estimates(frames: Iterable[Frame], made_by: Matcher, fresh: bool) -> Iterator[tuple[Window, Callable[[], Found]]]:
    """Each window, and what gives its flow.

    When all of them are to be made, what neighbours share is computed once; else only what is asked for.
    """
    if not fresh:
        for window in windows(frames):
            previous, after = (None if frame is None else frame.image for frame in (window.previous, window.after))
            yield window, partial(made_by.run, previous, window.current.image, window.next.image, after)
        return
    waiting: deque[Frame] = deque()  # itertools.tee would hold 57 frames

    def noted() -> Iterator[Frame]:
        for frame in frames:
            waiting.append(frame)
            yield frame

    def handed_on() -> Iterator[Any]:
        while waiting:  # a window is yielded once the frame after its next one is read: no result needs more
            yield waiting.popleft().image

    results = iter(made_by.sequence(handed_on()))
    for window in windows(noted()):
        asked: list[Found] = []

        def estimate(asked: list[Found] = asked) -> Found:
            asked.append(next(results))
            return asked[0]

        yield window, estimate
        if not asked:
            next(results)  # keep step


def _line(found: Found, window: Window, targets: dict[str, Path], truth: NDArray[Any] | None, seconds: float) -> str:
    """What is printed of a frame."""
    name = window.current.name
    first = targets.get("flow", next(iter(targets.values())))
    known = 100 * float(np.isfinite(found.flow).all(-1).mean())
    parts = [f"{first}: {name} to {window.next.name}, {seconds:.1f} s"]
    if window.previous is None:
        parts.append("two frames")
    if known < 100:
        parts.append(f"{known:.1f} % of the pixels known")
    if truth is not None:
        errors = flow_errors(found.flow, truth).row()
        if errors["epe_all"] is not None:
            parts.append(f"EPE {errors['epe_all']:.3f}, Fl {errors['fl']:.2f} %")
    return ", ".join(parts)


def _file(what: str, found: Found, window: Window, truth: NDArray[Any] | None, wishes: Wishes) -> bytes:
    if what == "flow":
        return encode(found.flow, wishes.format)
    if what == "colours":
        return to_png(to_colours(found.flow, wishes.largest))
    if what == "warped":
        return to_png(warp(window.next.image, found.flow))
    if what == "errors":
        assert truth is not None  # `Wishes.check`
        return to_png(error_map(found.flow, truth))
    return to_png(side_by_side([window.current.image, *stage_pictures(found, wishes.largest)]))


def stage_pictures(found: Found, largest: float | None = None) -> list[NDArray[np.uint8]]:
    """Flow in colours after each stage that a result has, all on the scale of the final flow."""
    speed = np.linalg.norm(found.flow, axis=-1)
    scale = largest or (float(np.nanmax(speed)) if np.isfinite(speed).any() else 1.0)
    return [to_colours(flow, scale) for flow in stage_flows(found.flow, found.stages).values()]


def side_by_side(pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Pictures of one size in a row, a white gap between."""
    gap = np.full((pictures[0].shape[0], _GAP, 3), 255, np.uint8)
    row = [part for picture in pictures for part in (picture, gap)]
    return np.concatenate(row[:-1], axis=1)


def _truth_of(place: Path | None, window: Window) -> Path | None:
    """The file of a frame's true flow; None where there is none. UserError for one file and several flows."""
    if place is None:
        return None
    if not place.is_dir():
        if window.previous is not None or window.after is not None:
            raise UserError(f"{place} is true flow of two frames, and there are more: give a folder of such files.")
        return place
    there = (place / f"{window.current.name}{suffix}" for suffix in FORMATS.values())
    return next((path for path in there if path.is_file()), None)


def _truth(path: Path, shape: tuple[int, ...]) -> NDArray[Any]:
    truth = read_flow(path)
    if truth.shape != shape:
        size = "x".join(map(str, truth.shape[1::-1]))
        raise DataError(f"The true flow {path} is {size}, and the frames are {shape[1]}x{shape[0]}.")
    return truth


def _claim(out: Path, settings: dict[str, Any], wishes: Wishes) -> bool:
    """Note what makes the results in `out`, and return whether all of them are to be made.

    Raises UserError when something else made those that are there.
    """
    path = out / SETTINGS
    fresh = wishes.overwrite or not path.exists() or not any(file != path for file in out.iterdir())
    strange = next((file for pattern in wishes.patterns() for file in out.glob(pattern)), None)
    if strange is not None and wishes.overwrite:
        path.unlink(missing_ok=True)  # until all are replaced: stopped half-way, the folder is of nobody's settings
        return True
    if fresh and strange is not None:
        raise UserError(f"{strange} is there, and none of these results; give another folder, or --overwrite.")
    if not fresh:
        try:
            before = json.loads(path.read_text())
        except (ValueError, OSError, RecursionError) as error:
            raise UserError(f"{path} is damaged; give another folder, or --overwrite.") from error
        if not same_settings(before, settings):
            keys = before.keys() | settings.keys() if isinstance(before, dict) else set()
            changed = [key for key in sorted(keys) if before.get(key) != settings.get(key)]
            raise UserError(
                f"{out} holds flow of other settings ({', '.join(changed[:5])}); give another folder, or --overwrite."
            )
    write_atomically(path, _text(settings))
    return fresh


def _text(settings: dict[str, Any]) -> str:
    return json.dumps(settings, indent=2, sort_keys=True) + "\n"

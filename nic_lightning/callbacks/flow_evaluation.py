"""Measure what finds optical flow on data sets and keep the rows, and pictures, in a run folder. No torch needed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nic_lightning.baselines.matchers import Matcher, same_settings
from nic_lightning.callbacks.results_table import RESULTS, GrowingTable, Row
from nic_lightning.data.flow_sets import FlowItem, FlowSet
from nic_lightning.errors import DataError, RunError
from nic_lightning.flow.colour import error_map, to_colours, to_png
from nic_lightning.flow.stages import FINAL, stage_flows
from nic_lightning.metrics.flow_errors import flow_errors
from nic_lightning.metrics.names import FLOW_PICTURES, safe_name
from nic_lightning.runs.index.index import read_run
from nic_lightning.runs.record.files import write_atomically

EVERY = 10.0
"""Seconds after which the table is written: a thousand pairs take hours, and the same command goes on where it was."""


def evaluate_flow_into_run(
    matcher: Matcher,
    folder: Path,
    sets: Sequence[FlowSet],
    *,
    run: str,
    name: str,
    save_images: int = 2,
    limit: int | None = None,
    on_item: Callable[[str, str, float], None] | None = None,
) -> list[Row]:
    """Measure `matcher` on data sets with true flow; rows of the results table, one for each item and stage.

    Rows that `folder`/results.parquet holds already are kept, so that an evaluation that was stopped goes on. The rows'
    "label" is the stage, `flow.stages.FINAL` for the result.

    Args:
        matcher: what finds flow.
        folder: run folder.
        sets: data sets with true flow.
        run: the run's name, for the rows.
        name: how the matcher is called in the rows.
        save_images: items of each data set whose pictures are kept, spread over it.
        limit: first items only.
        on_item: called with data set, item and seconds after each.

    Raises:
        DataError: a file of a data set is damaged.
    """
    with GrowingTable(folder, EVERY) as table:  # written also when a damaged file or Ctrl-C ends it
        done = {(row["codec"], row["dataset"], row["item"]) for row in table.rows}
        for found in sets:
            items = found.items[:limit]
            shown = {len(items) * number // save_images for number in range(save_images)}
            for number, item in enumerate(items):
                if (name, found.name, item.name) in done:
                    continue
                place = folder / FLOW_PICTURES / safe_name(found.name) / safe_name(item.name)
                head = {"run": run, "codec": name, "experiment": name, "dataset": found.name, "item": item.name}
                new = _measure(matcher, item, place if number in shown else None)
                table.add([head | row for row in new])
                if on_item is not None:
                    on_item(found.name, item.name, new[-1]["time"])
    wanted = {found.name for found in sets}
    return [row for row in table.rows if row["codec"] == name and row["dataset"] in wanted]


def refuse_other_settings(folder: Path, matcher: Matcher) -> None:
    """Raise RunError when the rows in `folder` were made by other settings than the matcher's."""
    if not (folder / RESULTS).is_file():
        return
    config = read_run(folder).config or {}
    if not same_settings(config.get("flow"), matcher.settings):
        raise RunError(f"{folder} holds results of something else; give name=NAME for a new run.")


def _measure(matcher: Matcher, item: FlowItem, pictures: Path | None) -> list[Row]:
    previous, current, following, after = item.frames()
    truth = item.truth()
    if truth.flow.shape[:2] != current.shape[:2]:
        raise DataError(f"The frame {item.current} and its true flow differ in size.")
    wall, processor = time.perf_counter(), time.process_time()
    found = matcher.run(previous, current, following, after)
    seconds = {"time": time.perf_counter() - wall, "core": time.process_time() - processor}
    flows = stage_flows(found.flow, found.stages)
    height, width = current.shape[:2]
    same = {"scene": item.scene, "frames": 3 if item.has_previous else 2, "pixels": height * width}
    rows = []
    for index, (stage, flow) in enumerate(flows.items()):
        errors = flow_errors(flow, truth.flow, truth.occluded).row()
        times = seconds | _stage_times(found) if stage == FINAL else {}
        rows.append(same | {"label": stage, "index": index} | errors | times)
    if pictures is not None:
        _save(pictures, current, truth.flow, truth.occluded, flows)
    return rows


def _stage_times(found: Any) -> dict[str, float]:
    """Wall and processor seconds of each stage, as "time_cost_volume" and "core_cost_volume"; a peer reports none."""
    seconds = getattr(found, "seconds", {})
    names = {stage: stage.replace(" ", "_").replace("-", "_") for stage in seconds}
    return {
        f"{kind}_{names[stage]}": value
        for stage, both in seconds.items()
        for kind, value in zip(("time", "core"), both, strict=True)
    }


def _save(
    folder: Path,
    frame: NDArray[np.uint8],
    truth: NDArray[Any],
    occluded: NDArray[np.bool_] | None,
    flows: dict[str, NDArray[Any]],
) -> None:
    """The frame, the true flow, occluded parts darker, and each stage's flow and errors; flows on one scale."""
    speed = np.linalg.norm(truth, axis=-1)
    scale = float(np.nanmax(speed)) if np.isfinite(speed).any() else 1.0
    shown = to_colours(truth, scale)
    if occluded is not None:
        shown[occluded] //= 2
    pictures = {"frame": frame, "truth": shown}
    for stage, flow in flows.items():
        pictures[stage] = to_colours(flow, scale)
        pictures[f"errors_{stage}"] = error_map(flow, truth)
    for name, picture in pictures.items():
        write_atomically(folder / f"{name}.png", to_png(picture))

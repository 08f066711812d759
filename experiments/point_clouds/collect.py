"""Gather what point-cloud runs measured into CSV files, figures and the tables of README.md.

python experiments/point_clouds/collect.py RUNS [--out FOLDER]

RUNS holds the codecs' runs, and those of nic-evaluate codec=draco and codec=gpcc, as run.sh makes them. Rows of
FOLDER's CSV files whose runs are not in RUNS stay; delete the files to begin anew.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any

import numpy as np
import pandas as pd
import yaml

from nic_lightning.analysis.classification_optimum import curve
from nic_lightning.analysis.inference_latency import Strategy, fastest, latency
from nic_lightning.errors import UserError
from nic_lightning.report.curves.clouds import accuracy_figure, latency_figure
from nic_lightning.report.experiments.gathering import Gathering, read_csv, write_csv

HERE = Path(__file__).resolve().parent
SIZES = ("full", "lite", "micro")
MEASURES = ("bits_in_stream", "bits_as_file", "bits_estimated", "accuracy")
COLUMNS = ("size", "points", "lambda", "seed", "clouds", *MEASURES, "encode_ms", "decode_ms")
BASELINE_COLUMNS = ("codec", "size", "points", "grid", "seed", "clouds", "bits", "accuracy", "encode_ms", "decode_ms")
NAMES = {"draco": "Draco", "gpcc": "G-PCC"}
POINTS, RATE_IGNORED = 256, 100_000.0
"""Points of the main table; and the lambda of the classifiers, for which bits hardly count."""
TEST_CLOUDS = (3, 7, 6, 13, 7, 6, 7, 5, 4, 4, 11, 9)
"""Clouds of each class in the furniture set's test split."""
EDGE_SLOWER, ROUND_TRIP_S = 20.0, 0.005
"""The latency diagram's device beside this machine, and its link there and back."""
Row = dict[str, Any]


@dataclass(frozen=True)
class Clouds(Gathering):
    """Accuracy over bits of runs that have one size, number of points, lambda and seed each."""

    def collect(self, runs: Path, out: Path) -> list[str]:
        """Write tables and figures; raises UserError where no run is finished."""
        found = [path.parent for path in sorted(runs.glob("**/status.json")) if _finished(path)]
        rows = [row for run in found for row in _codec_row(run)]
        if not rows:
            raise UserError(f"{runs} has no finished run: train some as README.md tells.")
        by_name = {run.name: run for run in found}
        baselines = [row for run in found for row in _baseline_rows(run, by_name)]
        out.mkdir(parents=True, exist_ok=True)
        rows = _with_recorded(rows, out / "measured.csv", COLUMNS[:4])
        baselines = _with_recorded(baselines, out / "baselines.csv", BASELINE_COLUMNS[:5])
        write_csv(out / "measured.csv", COLUMNS, rows)
        write_csv(out / "baselines.csv", BASELINE_COLUMNS, baselines)
        trained = [row for row in rows if row["lambda"] < RATE_IGNORED]
        parts = {
            "table": _table([row for row in trained if row["points"] == POINTS]),
            "points": _points_table(trained),
            "baselines": _baseline_table(trained, baselines),
        }
        self.fill_readme(out, parts)
        _draw(trained, baselines, out)
        _draw_published(self.home / "published.csv", out)
        return [] if baselines else ["There is no run of codec=draco or codec=gpcc: their table is empty."]


def _finished(status: Path) -> bool:
    return json.loads(status.read_text(encoding="utf-8"))["state"] == "finished"


def _config(run: Path) -> dict[str, Any]:
    return yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))


def _codec_row(run: Path) -> list[Row]:
    config = _config(run)
    codec = config.get("codec") or {}
    if "size" not in codec or codec.get("reconstruct"):  # of the latter one is shown, no curve drawn
        return []
    table = pd.read_parquet(run / "results.parquet")
    bits, size, estimated, accuracy = (
        fmean(table[key].tolist()) for key in ("bits", "bytes", "bits_estimated", "accuracy")
    )
    points = config["codec"].get("points") or config["data"]["points"]
    names = (config["codec"]["size"], points, float(config["codec"]["lmbda"]), config["seed"], len(table))
    times = (round(median(table[key].tolist()), 3) for key in COLUMNS[-2:])
    values = [*names, *(round(m, 4) for m in (bits, 8 * size, estimated, accuracy)), *times]
    return [dict(zip(COLUMNS, values, strict=True))]


def _baseline_rows(run: Path, by_name: Mapping[str, Path]) -> list[Row]:
    """Rows of a run of nic-evaluate with a codec of the geometry; size and seed are those of its classifier."""
    config = _config(run)
    codec = config.get("codec") or {}
    kind = str(codec.get("_target_")).rpartition(".")[0].rpartition(".")[2]
    if kind not in NAMES or not codec.get("classifier"):
        return []
    classifier = _config(by_name[Path(codec["classifier"]).name])  # a path of wherever nic-evaluate was started
    table, found = pd.read_parquet(run / "results.parquet"), []
    for label, group in table.groupby("label"):
        names = (NAMES[kind], classifier["codec"]["size"], codec["points"], int(str(label)[1:]), classifier["seed"])
        means = (round(fmean(group[key].tolist()), 4) for key in ("bits", "accuracy"))
        times = (round(median(group[key].tolist()), 3) for key in ("encode_ms", "decode_ms"))
        found.append(dict(zip(BASELINE_COLUMNS, [*names, len(group), *means, *times], strict=True)))
    return found


def _with_recorded(rows: Sequence[Row], file: Path, names: Sequence[str]) -> list[Row]:
    """The rows, and those of the file that are of other runs, by the columns that name one."""
    recorded = [{key: _typed(value) for key, value in row.items()} for row in read_csv(file)] if file.exists() else []
    by_name = {tuple(row[name] for name in names): row for row in [*recorded, *rows]}
    return [by_name[key] for key in sorted(by_name)]


def _typed(value: str) -> Any:
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value


def _grouped(rows: Sequence[Row], *keys: str) -> dict[tuple[Any, ...], list[Row]]:
    groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows:
        groups[tuple(row[key] for key in keys)].append(row)
    return dict(groups)


def _table(rows: Sequence[Row]) -> str:
    lines = ["| size | lambda | runs | in a stream | a file | estimated | accuracy |", "|---|---|---|---|---|---|---|"]
    for (size, lmbda), group in _grouped(rows, "size", "lambda").items():
        cells = [_spread([run[key] for run in group], 3 if key == "accuracy" else 1) for key in MEASURES]
        lines.append(f"| {size} | {lmbda:g} | {len(group)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _points_table(rows: Sequence[Row]) -> str:
    lines = ["| size | lambda | points | runs | in a stream | accuracy |", "|---|---|---|---|---|---|"]
    counts = _grouped(rows, "size", "lambda", "points")
    swept = {(size, lmbda) for size, lmbda, points in counts if points != POINTS}
    for (size, lmbda, points), group in sorted(counts.items(), key=lambda item: (item[0][0], item[0][1], item[0][2])):
        if (size, lmbda) in swept:
            cells = [
                _spread([run[key] for run in group], digits) for key, digits in ((MEASURES[0], 1), (MEASURES[3], 3))
            ]
            lines.append(f"| {size} | {lmbda:g} | {points} | {len(group)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _baseline_table(rows: Sequence[Row], baselines: Sequence[Row]) -> str:
    """What codecs of the geometry need for the accuracy of each of ours, before the same size of classifier."""
    fronts = {(codec, size): _front(group) for (codec, size), group in _grouped(baselines, "codec", "size").items()}
    lines = [
        "| size | lambda | accuracy | in a stream | a file | Draco | times ours | G-PCC | times ours |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for (size, lmbda), group in _grouped([row for row in rows if row["points"] == POINTS], "size", "lambda").items():
        stream, file, accuracy = (fmean(run[key] for run in group) for key in (*MEASURES[:2], "accuracy"))
        cells = [f"{accuracy:.3f}", f"{stream:.1f}", f"{file:.0f}"]
        for codec in NAMES.values():
            needed = _needed(fronts.get((codec, size), []), accuracy)
            cells += ["-", "-"] if needed is None else [f"{needed:.0f}", f"{needed / stream:.1f}, {needed / file:.1f}"]
        lines.append(f"| {size} | {lmbda:g} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _front(rows: Sequence[Row]) -> list[tuple[float, float]]:
    """(bits, accuracy), means over seeds, of the points and grids that no other beats."""
    means = [
        (fmean(row["bits"] for row in group), fmean(row["accuracy"] for row in group))
        for group in _grouped(rows, "points", "grid").values()
    ]
    front: list[tuple[float, float]] = []
    for bits, accuracy in sorted(means):
        if not front or accuracy > front[-1][1]:
            front.append((bits, accuracy))
    return front


def _needed(front: Sequence[tuple[float, float]], accuracy: float) -> float | None:
    """Bits at an accuracy, between two points of the front linearly; None where it is not reached."""
    if not front or accuracy > front[-1][1]:
        return None
    bits, accuracies = zip(*front, strict=True)
    return float(np.interp(accuracy, accuracies, bits))


def _spread(values: list[float], digits: int) -> str:
    told = f"{fmean(values):.{digits}f}"
    return f"{told} ± {stdev(values):.{digits}f}" if len(values) > 1 else told


def _draw(rows: Sequence[Row], baselines: Sequence[Row], out: Path) -> None:
    curves: dict[str, list[tuple[float, float]]] = {}
    for size, lmbda in _grouped(rows, "size", "lambda"):
        group = [row for row in rows if (row["size"], row["lambda"], row["points"]) == (size, lmbda, POINTS)]
        if group:
            point = (fmean(row["bits_in_stream"] for row in group), fmean(row["accuracy"] for row in group))
            curves.setdefault(f"{size}, in a stream", []).append(point)
    for (codec, size), group in _grouped(baselines, "codec", "size").items():
        curves[f"{codec}, classifier {size}"] = _front(group)
    accuracies = np.linspace(max(TEST_CLOUDS) / sum(TEST_CLOUDS) + 0.01, 0.95, 40)
    optimum = [(bits, accuracy) for bits, accuracy in curve(TEST_CLOUDS, accuracies.tolist()) if bits >= 0.5]
    accuracy_figure(curves, optimum, out / "accuracy.png")
    strategies = _strategies(rows, baselines)
    rates = np.geomspace(1e2, 1e7, 120).tolist()
    lines = {s.name: [latency(s, rate, ROUND_TRIP_S) for rate in rates] for s in strategies}
    latency_figure(rates, lines, fastest(strategies, rates, ROUND_TRIP_S), out / "latency.png")


def _strategies(rows: Sequence[Row], baselines: Sequence[Row]) -> list[Strategy]:
    """Medians of what was measured: micro at lambda 160, and the largest classifier alone and behind Draco."""
    largest = next(size for size in SIZES if any(row["size"] == size for row in rows))
    whole, ours = ([row for row in rows if row["size"] == size] for size in (largest, "micro"))
    edge, server = (median(row[key] for row in whole) / 1000 for key in ("encode_ms", "decode_ms"))
    found = [Strategy(f"device alone ({largest})", EDGE_SLOWER * (edge + server), 0.0)]
    sent = [row for row in baselines if row["codec"] == "Draco" and row["grid"] == 4]
    if sent:
        times = (median(row[key] for row in sent) / 1000 for key in ("encode_ms", "decode_ms"))
        encode, decode = times
        found.append(Strategy("server alone (Draco)", EDGE_SLOWER * encode, fmean(r["bits"] for r in sent), decode))
    shared = [row for row in ours if row["points"] == POINTS] or whole
    encode, decode = (median(row[key] for row in shared) / 1000 for key in ("encode_ms", "decode_ms"))
    name = f"shared ({shared[0]['size']})"
    return [*found, Strategy(name, EDGE_SLOWER * encode, fmean(row["bits_in_stream"] for row in shared), decode)]


def _draw_published(path: Path, out: Path) -> None:
    from nic_lightning.analysis.classification_optimum import MODELNET40_TEST

    curves: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for row in read_csv(path):
        if "16 points" not in row["name"] and "64 points" not in row["name"]:
            curves[row["name"]].append((float(row["bits_estimated"]), float(row["accuracy"]) / 100))
    optimum = curve(MODELNET40_TEST, np.linspace(0.1, 0.95, 40).tolist())
    accuracy_figure(curves, [point for point in optimum if point[0] >= 0.5], out / "published.png")


if __name__ == "__main__":
    sys.exit(Clouds(HERE).main())

"""Draw Figures 5.3 to 5.5 from the runs of experiments/timcflow.sh.

python experiments/timcflow_figures/collect.py RUNS [--out FOLDER]

Figure 5.3's numbers go to measured.csv and README.md, and are drawn into figure_5_3.png. Figures 5.4 and 5.5, which
show frames of the data set, go to RUNS/figures, whatever FOLDER is.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nic_lightning.metrics.names import FLOW_PICTURES
from nic_lightning.report.experiments.flow_experiment import COMPLETE, FlowExperiment
from nic_lightning.runs.record.files import write_atomically

STEPS = {"wta": "cheapest labels", "sgm": "semi-global", "kept": "kept", "dense": "interpolated", "flow": "refined"}
PIPELINES = {"two frames": ("wta_two", "dcflow"), "three frames": ("wta_three", "timcflow")}
STAGES = {"wta": "flow", "sgm": "labels"}
"""What a run calls a step; the others by their own names."""
FIGURES: dict[str, Sequence[tuple[str, str, str]]] = {
    "figure_5_4": (
        ("frame", "dcflow", "frame"),
        ("true flow, occluded parts darker", "dcflow", "truth"),
        ("two frames", "dcflow", "labels"),
        ("two frames, after the check", "dcflow", "kept"),
        ("three frames", "timcflow", "labels"),
        ("three frames, strategy 1", "strategy1", "kept"),
        ("three frames, strategy 2", "strategy2", "kept"),
        ("three frames, strategy 3", "timcflow", "kept"),
        ("three frames, strategy 4", "strategy4", "kept"),
    ),
    "figure_5_5": (
        ("frame", "dcflow", "frame"),
        ("true flow, occluded parts darker", "dcflow", "truth"),
        ("two frames", "dcflow", "labels"),
        ("three frames", "timcflow", "labels"),
        ("three frames +", "simplified", "labels"),
        ("three frames ++", "simplified", "flow"),
        ("errors of two frames", "dcflow", "errors_labels"),
        ("errors of three frames", "timcflow", "errors_labels"),
        ("errors of three frames +", "simplified", "errors_labels"),
        ("errors of three frames ++", "simplified", "errors_flow"),
    ),
}
"""Title of each row, run and picture."""


class Figures(FlowExperiment):
    """Errors after every step, and what they look like."""

    def collect(self, runs: Path, out: Path) -> list[str]:
        """Write all files."""
        notes = super().collect(runs, out)
        for dataset in sorted({line["dataset"] for line in self.published()}):
            for name, rows in FIGURES.items():
                notes += [] if montage(runs / dataset, rows, runs / "figures" / f"{name}_{dataset}.png") else [
                    f"{name} is not drawn: {runs / dataset} lacks pictures."
                ]  # fmt: skip
        return notes

    def draw(self, measured: Sequence[Mapping[str, Any]], out: Path) -> None:
        """Figure 5.3."""
        steps_figure(self.published(), measured, out / "figure_5_3.png")


def steps_figure(published: Sequence[Mapping[str, Any]], measured: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Errors after every step: published ones beside measured ones, on axes of their own, since the sets differ."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    images = max(int(line["images"]) for line in measured)
    whole = COMPLETE["sintel_final"]
    titles = (f"published: all {whole:,} pairs", f"measured: {images:,} of {whole:,} pairs")
    for axes, lines, title in zip(figure.subplots(1, 2), (published, measured), titles, strict=True):
        values = {str(line["method"]): line["epe_all"] for line in lines}
        for pipeline, style in zip(PIPELINES, ("o--", "o-"), strict=True):
            told = [(k, values.get(f"{pipeline}, {title}")) for k, title in enumerate(STEPS.values())]
            places = [k for k, value in told if value]
            axes.plot(places, [float(value) for _, value in told if value], style, label=pipeline)
        axes.set_xticks(range(len(STEPS)), list(STEPS.values()), rotation=20)
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("{x:g}")
        axes.set_title(title, fontsize=10)
        axes.set_ylabel("end-point error [pixels]")
        axes.grid(alpha=0.3, which="both")
        axes.legend(frameon=False, fontsize=9)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    write_atomically(path, buffer.getvalue())


def montage(runs: Path, rows: Sequence[tuple[str, str, str]], path: Path) -> bool:
    """A column for each item of which all pictures are there, or no file at all."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.image import imread

    places = [runs / run / FLOW_PICTURES / runs.name for _, run, _ in rows]
    items = sorted(folder.name for folder in places[0].glob("*") if folder.is_dir())
    files = {item: [place / item / f"{row[2]}.png" for place, row in zip(places, rows, strict=True)] for item in items}
    files = {item: each for item, each in files.items() if all(file.is_file() for file in each)}
    if not files:
        return False
    figure = Figure(figsize=(3.4 * len(files) + 0.3, 1.55 * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    for column, (item, pictures) in enumerate(files.items()):
        for row, (picture, (title, _, _)) in enumerate(zip(pictures, rows, strict=True)):
            axes = figure.add_subplot(len(rows), len(files), row * len(files) + column + 1)
            axes.imshow(imread(picture))
            axes.set_xticks([])
            axes.set_yticks([])
            axes.set_title(f"{item}: {title}" if row == 0 else title, fontsize=8, pad=2)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    write_atomically(path, buffer.getvalue())
    return True


EXPERIMENT = Figures(
    home=Path(__file__).resolve().parent,
    methods={
        f"{pipeline}, {title}": (runs[0] if step == "wta" else runs[1], STAGES.get(step, step))
        for pipeline, runs in PIPELINES.items()
        for step, title in STEPS.items()
    },
    columns={"epe_all": "all", "epe_noc": "noc", "epe_occ": "occ"},
    averages=("pooled", "sequence"),
)

if __name__ == "__main__":
    sys.exit(EXPERIMENT.main())

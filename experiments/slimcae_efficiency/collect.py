"""Measure what the methods of thesis chapter 3 cost, into measured.csv, memory.png and the tables of README.md.

python experiments/slimcae_efficiency/collect.py [--out FOLDER] [--repeat N] [--no-latency]
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from nic_lightning.report.experiments.gathering import fill, read_csv, write_csv

HERE = Path(__file__).resolve().parent
WIDTHS = (48, 72, 96, 144, 192)
RATES = ("1", "2", "3", "4", "5")
"""Five rates, low to high: a width each where the method has widths."""
METHODS = ("independent", "bottleneck_scaling", "modulated", "conditional", "slimmable")
QUANTITIES = {
    "memory_mib": "Memory, MiB (figure 3.10): parameters of all five rates and features of the encoder, 512x768",
    "gmac": "Cost, 10⁹ multiply-accumulates, encoder and decoder, 512x768",
    "thesis_mflop": "The thesis' count, 10⁶ FLOPs (table 3.2)",
    "encode_ms": "Encoder's transform, ms (table 3.3)",
    "decode_ms": "Decoder's transform, ms (table 3.3)",
}
Row = dict[str, object]


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE, help="folder to write into (default: this one)")
    parser.add_argument("--repeat", type=int, default=9, help="rounds of the latency measurement")
    parser.add_argument(
        "--no-latency", action="store_true", help="only what can be counted; latencies stay as they are"
    )
    args = parser.parse_args(arguments)
    args.out.mkdir(parents=True, exist_ok=True)
    if not (args.out / "README.md").exists():
        shutil.copyfile(HERE / "README.md", args.out / "README.md")
    rows = counted()
    if args.no_latency:
        earlier = read_csv(HERE / "measured.csv") if (HERE / "measured.csv").exists() else []
        rows += [line for line in earlier if line["quantity"].endswith("_ms")]
    else:
        rows += timed(args.repeat)
    write_csv(args.out / "measured.csv", ["quantity", "method", *RATES], rows)
    memory_figure(rows, args.out / "memory.png")
    fill(args.out / "README.md", {"measured": tables(rows)})
    return 0


def codecs() -> dict[str, list]:
    """The codecs of each method: one for all five rates, or five."""
    import torch

    from nic_lightning.codecs.bottleneck_scaling import BottleneckScaling
    from nic_lightning.codecs.cae import CompressiveAutoencoder
    from nic_lightning.codecs.conditional import ConditionalAutoencoder
    from nic_lightning.codecs.modulated import ModulatedAutoencoder
    from nic_lightning.codecs.slimmable import SlimmableAutoencoder

    torch.manual_seed(0)
    lambdas = (128, 256, 512, 1024, 2048)
    return {
        "independent": [CompressiveAutoencoder(width) for width in WIDTHS],
        "bottleneck_scaling": [BottleneckScaling(192, lambdas)],
        "modulated": [ModulatedAutoencoder(192, lambdas)],
        "conditional": [ConditionalAutoencoder(192, lambdas)],
        "slimmable": [SlimmableAutoencoder(WIDTHS)],
    }


def counted() -> list[Row]:
    """Memory, multiply-accumulates and the thesis' count."""
    from nic_lightning.analysis.efficiency import measure

    found: dict[str, list[Row]] = {"memory_mib": [], "gmac": [], "thesis_mflop": []}
    for method, models in codecs().items():
        costs = [measure(model) for model in models]
        stored = sum(cost.parameters_mib for cost in costs)
        points = [point for cost in costs for point in cost.points]
        values = {
            "memory_mib": [stored + p.analysis.features_mib for p in points],
            "gmac": [(p.analysis.macs + p.synthesis.macs) / 1e9 for p in points],
            "thesis_mflop": [p.thesis_mflop for p in points],
        }
        for quantity, numbers in values.items():
            found[quantity].append(row(quantity, method, numbers))
    return [line for lines in found.values() for line in lines]


def timed(repeat: int) -> list[Row]:
    """Medians of both transforms on this machine; methods and points take turns."""
    import statistics

    import torch

    from nic_lightning.analysis.latency import photograph, stage_times

    models = codecs()
    x = photograph((512, 768))
    seen: dict[tuple[str, str], list[list[float]]] = {}
    for turn in range(repeat + 1):
        for method, those in models.items():
            times = [stage_times(c.eval(), x, p, coding=False) for c in those for p in c.operating_points]
            for quantity, stage in (("encode_ms", "analysis"), ("decode_ms", "synthesis")):
                if turn:  # the first one warms up
                    seen.setdefault((quantity, method), []).append([t[stage] for t in times])
    print(f"{torch.get_num_threads()} threads, medians of {repeat} rounds", file=sys.stderr)
    lines = {key: [statistics.median(column) for column in zip(*rounds, strict=True)] for key, rounds in seen.items()}
    return [row(q, m, lines[q, m]) for q in ("encode_ms", "decode_ms") for m in METHODS]


def row(quantity: str, method: str, values: Sequence[float | None]) -> Row:
    """A line of measured.csv, the rates from low to high."""
    rounded = [None if value is None else round(value, 2) for value in values]
    return {"quantity": quantity, "method": method, **dict(zip(RATES, rounded, strict=True))}


def tables(rows: Sequence[Row]) -> str:
    """Markdown: a table for each quantity, published above measured."""
    published = read_csv(HERE / "published.csv")
    parts = []
    for quantity, title in QUANTITIES.items():
        parts += [f"**{title}**", "", "| method | | low rate | | | | high rate |", "|---|---|---|---|---|---|---|"]
        for method in METHODS:
            for source, name in ((published, "published"), (rows, "measured")):
                parts += [
                    f"| {method} | {name} | " + " | ".join(str(line[r] or "-") for r in RATES) + " |"
                    for line in source
                    if (line["quantity"], line["method"]) == (quantity, method)
                    and any(line[r] not in (None, "") for r in RATES)
                ]
        parts.append("")
    return "\n".join(parts).rstrip()


def memory_figure(rows: Sequence[Row], path: Path) -> None:
    """Figure 3.10: memory of every method at five rates."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    memory = [line for line in rows if line["quantity"] == "memory_mib"]
    for i, line in enumerate(memory):
        places = [k + (i - 2) * 0.16 for k in range(5)]
        axes.bar(places, [float(str(line[r])) for r in RATES], width=0.15, label=str(line["method"]))
    axes.set_xticks(range(5), [f"w = {width}" for width in WIDTHS])
    axes.set_ylabel("parameters and encoder features [MiB]")
    axes.legend(frameon=False, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(memory))
    axes.grid(axis="y", alpha=0.3)
    figure.savefig(path, dpi=130)


if __name__ == "__main__":
    sys.exit(main())

"""Tables of README.md from measured.csv and published.csv."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from nic_lightning.report.experiments.gathering import fill, read_csv

HERE = Path(__file__).parent
METRICS = ("epe_all", "epe_noc", "epe_occ")


def errors(row: dict[str, str]) -> str:
    return " / ".join(f"{float(row[metric]):.2f}" for metric in METRICS)


def frames_table(rows: list[dict[str, str]], stage: str) -> Iterable[str]:
    """Two against three frames, frame by frame, and over all pixels."""
    yield "| frame | two frames: all / noc / occ | three frames: all / noc / occ | noc | occ |"
    yield "|---|---|---|---|---|"
    found = {(row["method"], row["frame"]): row for row in rows if row["stage"] == stage}
    names = sorted({frame for _, frame in found})
    for name in names:
        two, three = found["dcflow", name], found["timcflow", name]
        yield line(name, two, three)
    yield line("**all pixels**", *(pooled([found[m, name] for name in names]) for m in ("dcflow", "timcflow")))


def line(name: str, two: dict[str, str], three: dict[str, str]) -> str:
    changes = [f"{100 * (float(three[m]) / float(two[m]) - 1):+.0f} %" for m in ("epe_noc", "epe_occ")]
    return f"| {name} | {errors(two)} | {errors(three)} | {changes[0]} | {changes[1]} |"


def pooled(rows: list[dict[str, str]]) -> dict[str, str]:
    """Means over all pixels of some frames."""
    out = {}
    for metric in METRICS:
        counts = [int(row[metric.replace("epe", "n")]) for row in rows]
        out[metric] = str(sum(float(row[metric]) * n for row, n in zip(rows, counts, strict=True)) / sum(counts))
    return out


def stages_table(rows: list[dict[str, str]], published: list[dict[str, str]]) -> Iterable[str]:
    """Every stage: ours over the pixels of the frames at hand, the thesis' over all 23 sequences."""
    yield "| stage | pipeline | measured, 7 frames: all / noc / occ | published, 1041 frames: all / noc / occ | table |"
    yield "|---|---|---|---|---|"
    groups = defaultdict(list)
    for row in rows:
        groups[row["stage"], row["method"]].append(row)
    theirs = {(row["stage"], row["method"]): row for row in published if row["scene"] == "all 23"}
    for stage in ("wta", "sgm", "sgm_filtered", "interpolated", "refined"):
        for method in ("dcflow", "timcflow", "simplified"):
            if (stage, method) in groups:
                row = theirs.get((stage, method))
                said = f"{errors(row)} | {row['table']}" if row else "- | -"
                yield f"| {stage} | {method} | {errors(pooled(groups[stage, method]))} | {said} |"


def main() -> None:
    rows, published = read_csv(HERE / "measured.csv"), read_csv(HERE / "published.csv")
    text = ["Winner takes all:", "", *frames_table(rows, "wta"), "", "Semi-global matching:", ""]
    text += [*frames_table(rows, "sgm"), "", "Stages:", "", *stages_table(rows, published)]
    fill(HERE / "README.md", {"compared": "\n".join(text)})


if __name__ == "__main__":
    main()

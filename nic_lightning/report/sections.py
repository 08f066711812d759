"""The report's tables: runs, BD-rates, operating points, configurations."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from nic_lightning.report.comparison import Comparison, compare
from nic_lightning.report.curves import METRICS, Curve, datasets
from nic_lightning.report.markup import DASH, details, escaped, number, section, table, tabs
from nic_lightning.runs.index import Run

MAX_MATRIX = 8
"""More curves than that make no readable matrix."""
_MAX_CODE = 100_000
_UNITS = {"psnr": " dB", "ms_ssim_db": " dB", "lpips": ""}
_SHOWN_PACKAGES = ("torch", "compressai", "pillow")


def summary(runs: Sequence[tuple[Run, Sequence[dict[str, Any]]]], made: Sequence[Curve]) -> str:
    """Counts at a glance, and a line for each run."""
    images = {(row["dataset"], row["item"]) for _, rows in runs for row in rows}
    learned = sum(len(curve.points) for curve in made if not curve.classic)
    facts = [("runs", len(runs)), ("data sets", len(datasets(made))), ("images", len(images))]
    facts += [("learned operating points", learned)]
    cards = "".join(f'<div class="card"><b>{n}</b><span>{name}</span></div>' for name, n in facts)
    lines = []
    for run, rows in runs:
        codecs = dict.fromkeys(str(row["codec"]) for row in rows)
        sets = dict.fromkeys(str(row["dataset"]) for row in rows)
        state = f'<span class="state {escaped(run.state)}">{escaped(run.state)}</span>'
        started = str((run.status or {}).get("started") or "")[:16].replace("T", " ")
        cells = [run.name, ", ".join(codecs) or DASH, ", ".join(sets) or DASH, started or DASH]
        lines.append([c if c == DASH else escaped(c) for c in cells] + [state])
    header = ["run", "codecs", "data sets", "started", "state"]
    return f'<div class="cards">{cards}</div>' + table(header, lines, text_columns=5)


def bd_tables(made: Sequence[Curve], anchors: dict[str, Curve]) -> str:
    """BD-rates of every curve against its data set's anchor, with the overlap; every pair if they are few."""
    parts = []
    for dataset in datasets(made):
        here = [curve for curve in made if curve.dataset == dataset]
        if len(here) > 1:
            body = _bd_table(here, anchors[dataset])
            parts.append((dataset, body + (_bd_matrix(here) if 2 < len(here) <= MAX_MATRIX else "")))
    return tabs("bd", parts) if parts else ""


def rate_tables(made: Sequence[Curve]) -> str:
    """Real and estimated rate of every learned point, and every point with its times, folded away."""
    parts = []
    for dataset in datasets(made):
        here = [curve for curve in made if curve.dataset == dataset]
        learned = [c for c in here if any(p["bpp_estimated"] is not None for p in c.points)]
        body = _rates(learned) if learned else ""
        folded = details("Every operating point", _points(here), is_open=not learned)
        parts.append((dataset, body + folded))
    return tabs("rates", parts) if parts else ""


def configurations(runs: Sequence[Run]) -> str:
    """Each run's configuration, command-line overrides and environment, folded away."""
    return "".join(details(escaped(run.name), _configuration(run)) for run in runs)


def problem_list(problems: Sequence[str]) -> str:
    """What could not be read or compared, as a section."""
    items = "".join(f"<li>{escaped(problem)}</li>" for problem in problems)
    return section("problems", "Problems", f'<ul class="problems">{items}</ul>' if items else "")


def _bd_table(here: Sequence[Curve], anchor: Curve) -> str:
    notes: list[str] = []
    metrics = [m for m in METRICS if anchor.has(m) and sum(curve.has(m) for curve in here) > 1]
    rows = []
    for curve in (c for c in here if c is not anchor):
        cells = [escaped(curve.name)]
        for metric in metrics:
            cells += _bd_cells(compare(anchor, curve, metric), notes) if curve.has(metric) else [DASH, DASH]
        rows.append(cells)
    titles = [METRICS[metric].split(" [")[0] for metric in metrics]
    header = ["codec"] + [text for title in titles for text in (f"BD-rate, {title}", "over")]
    listed = "".join(f"<li>{escaped(note)}</li>" for note in notes)
    name = f"<b>{escaped(anchor.name)}</b>"
    caption = f'<p class="note">Rate against {name} at equal quality; less is better.</p>'
    return caption + table(header, rows) + (f'<ol class="notes">{listed}</ol>' if notes else "")


def _bd_cells(comparison: Comparison, notes: list[str]) -> list[str]:
    """Value and overlap; or a mark that leads to the note that says why there is none."""
    if comparison.result is None:
        notes.append(f"{comparison.test}: {comparison.problem}")
        return [f"no value<sup>{len(notes)}</sup>", DASH]
    low, high = comparison.result.overlap
    unit, digits = _UNITS[comparison.metric], 3 if comparison.metric == "lpips" else 1
    part = f"{low:.{digits}f} to {high:.{digits}f}{unit}, {comparison.result.overlap_fraction:.0%}"
    weak = ' class="weak"' if comparison.result.overlap_fraction < 0.5 else ""
    return [_bd_value(comparison.result.value), f"<span{weak}>{part}</span>"]


def _bd_matrix(here: Sequence[Curve]) -> str:
    rows = []
    for curve in here:
        cells = [escaped(curve.name)]
        for anchor in here:
            result = compare(anchor, curve, "psnr").result if curve is not anchor else None
            cells.append(DASH if result is None else _bd_value(result.value))
        rows.append(cells)
    header = ["codec \\ anchor", *(escaped(curve.name) for curve in here)]
    return details("Every pair (BD-rate over PSNR)", table(header, rows))


def _bd_value(value: float) -> str:
    kind = "same" if abs(value) < 0.05 else "good" if value < 0 else "bad"
    return f'<span class="{kind}">{value:+.1f}&thinsp;%</span>'


def _rates(learned: Sequence[Curve]) -> str:
    rows = []
    for curve in learned:
        for point in curve.points:
            estimated = point["bpp_estimated"]
            gap = (point["bpp"] / estimated - 1) * 100 if estimated else None
            cells = [escaped(curve.name), escaped(point["label"])]
            cells += [number(point["bpp"], 4), number(estimated, 4)]
            rows.append([*cells, DASH if gap is None else f"{gap:+.2f}&thinsp;%"])
    return table(["codec", "point", "bpp of the files", "bpp estimated", "difference"], rows, text_columns=2)


def _points(here: Sequence[Curve]) -> str:
    keys = {"bpp": 4, "psnr": 2, "ms_ssim": 4, "ms_ssim_db": 2, "lpips": 4, "encode_ms": 1, "decode_ms": 1}
    rows = []
    for curve in here:
        for point in curve.points:
            cells = [escaped(curve.name), escaped(point["label"]), str(point["images"])]
            rows.append(cells + [number(point[key], digits) for key, digits in keys.items()])
    header = ["codec", "point", "images", "bpp", "PSNR dB", "MS-SSIM", "MS-SSIM dB", "LPIPS"]
    return table([*header, "encode ms", "decode ms"], rows, text_columns=2)


def _configuration(run: Run) -> str:
    parts = []
    if run.overrides:
        parts.append(f"<h4>Overrides</h4><pre>{escaped(' '.join(run.overrides)[:_MAX_CODE])}</pre>")
    environment = _environment(run)
    if environment:
        parts.append(f"<h4>Environment</h4><p>{environment}</p>")
    if run.config_text:
        parts.append(f"<h4>Configuration</h4><pre>{escaped(run.config_text[:_MAX_CODE])}</pre>")
    return "".join(parts) or '<p class="note">Nothing was recorded.</p>'


def _environment(run: Run) -> str:
    """One line of what matters most of environment.json."""
    if not (run.folder / "environment.json").exists():
        return ""
    try:
        facts = json.loads(run.read_text("environment.json") or "{}")
    except (ValueError, RecursionError):
        return "environment.json is damaged."
    if not isinstance(facts, dict):
        return "environment.json is damaged."
    git, packages = facts.get("git"), facts.get("packages")
    shown = [f"Python {facts.get('python')}", str(facts.get("platform"))]
    if isinstance(packages, dict):
        shown += [f"{name} {packages[name]}" for name in _SHOWN_PACKAGES if name in packages]
    if isinstance(git, dict):
        shown.append(f"commit {str(git.get('commit'))[:10]}{' with changes' if git.get('dirty') else ''}")
    if isinstance(facts.get("gpus"), list) and facts["gpus"]:
        shown.append(", ".join(map(str, facts["gpus"])))
    return escaped("; ".join(shown)[:2000])

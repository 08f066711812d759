"""Tables of the page, as Dash components: every text goes in as text, never as markup."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dash import html

from nic_lightning.media.base import Quality, all_media, find_medium
from nic_lightning.report.curves.comparison import compare
from nic_lightning.report.curves.curve import Curve
from nic_lightning.runs.index.index import Run
from nic_lightning.runs.index.overview import shown
from nic_lightning.runs.index.summary import differences, gap_notes, summary

MAX_SHOWN = 8
"""Runs whose facts are shown side by side."""
_STATES = ("running", "finished", "failed", "interrupted", "elsewhere", "damaged", "unknown", "reading")


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Any:
    """A table that scrolls sideways where it is too wide."""
    head = html.Thead(html.Tr([html.Th(text) for text in header]))
    body = html.Tbody([html.Tr([html.Td(cell) for cell in row]) for row in rows])
    return html.Div(html.Table([head, body]), className="scroll")


def states(rows: Sequence[Mapping[str, Any]]) -> list[Any]:
    """How many runs are in which state, as small marks."""
    counts = {state: sum(row["state"] == state for row in rows) for state in _STATES}
    return [html.Span(f"{n} {state}", className=f"state {state}") for state, n in counts.items() if n]


def groups(rows: Sequence[Mapping[str, Any]], key: str) -> Any:
    """A line for each group: how many runs, how far, and a button that selects them."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault(row[key] or "", []).append(row)
    lines = []
    best = _told_first(rows)
    for name in sorted(found):
        members = found[name]
        done = [row["progress"] for row in members if row["progress"] is not None]
        button = html.Button("select", id={"type": "group", "key": key, "value": name}, className="small")
        lines.append(
            (
                name or "-",
                len(members),
                html.Span(states(members)),
                f"{sum(done) / len(done):.0%}" if done else "-",
                *(_best(members, quality) for quality in best),
                button,
            )
        )
    return table([key, "runs", "states", "progress", *(f"best {quality.title}" for quality in best), ""], lines)


def _told_first(rows: Sequence[Mapping[str, Any]]) -> list[Quality]:
    """The first quality of each medium that some run has, that of images always."""
    firsts = {medium.default: medium.quality(medium.default) for medium in all_media()}
    used = {key for key in firsts if any(row.get(key) is not None for row in rows)}
    return [quality for key, quality in firsts.items() if key in used | {find_medium(None).default}]


def _best(members: Sequence[Mapping[str, Any]], quality: Quality) -> str:
    values = [row[quality.key] for row in members if row.get(quality.key) is not None]
    best = (min if quality.lower_is_better else max)(values) if values else None
    return "-" if best is None else f"{best:.{quality.digits}f}{quality.suffix}"


def bd_table(made: Sequence[Curve], anchor: Curve) -> list[Any]:
    """BD-rate of every other curve, and the sentences where there is none."""
    drawn = anchor.medium.drawn
    metrics = [metric for metric in drawn if anchor.has(metric)]
    rows, notes = [], []
    for curve in (curve for curve in made if curve is not anchor):
        cells: list[Any] = [curve.name]
        for metric in metrics:
            found = compare(anchor, curve, metric) if curve.has(metric) else None
            if found is None or found.result is None:
                cells += ["no value" if found else "-", "-"]
                notes += [f"{curve.name}, {drawn[metric].axis}: {found.problem}"] if found else []
            else:
                low, high = found.result.overlap
                if found.without:
                    notes.append(f"{curve.name}, {drawn[metric].axis}: {found.note}")
                weak = "weak" if found.result.overlap_fraction < 0.5 else ""
                cells += [f"{found.result.value:+.1f} %", html.Span(f"{low:.4g} to {high:.4g}", className=weak)]
        rows.append(cells)
    header = ["against " + anchor.name]
    for metric in metrics:
        header += [f"BD-rate, {drawn[metric].title}", "over"]
    listed = html.Ul([html.Li(note) for note in notes])
    why = html.Details([html.Summary("Values that are missing, or of some images only"), listed])
    return [table(header, rows), *([why] if notes else [])]


def facts(runs: Sequence[Run]) -> list[Any]:
    """State, last metrics, results and configuration of each run, and what sets them apart."""
    parts: list[Any] = []
    if len(runs) > 1:
        different = differences([run.config or {} for run in runs])
        rows = [[key, *("-" if v is None else shown(v) for v in values)] for key, values in different.items()]
        parts.append(html.H3("What sets them apart"))
        parts.append(table(["key", *(run.name for run in runs)], rows) if rows else html.P("Nothing but their names."))
    return parts + [_facts_of(summary(run)) for run in runs]


def _facts_of(found: Mapping[str, Any]) -> Any:
    sentences = [sentence for sentence in (found["problem"], *found["problems"]) if sentence]
    steps = " of ".join(str(count) for count in (found["step"], found["max_steps"]) if count is not None)
    seen = [("state", found["state"]), ("steps", steps)]
    seen += [("started", found["started"]), ("ended", found["ended"]), ("tags", ", ".join(found["tags"]))]
    checkpoints = ", ".join(f"{c['name']} ({c['bytes'] / 2**20:.1f} MiB)" for c in found["checkpoints"])
    seen += [("checkpoints", checkpoints), ("overrides", " ".join(found["overrides"]))]
    parts: list[Any] = [html.Ul([html.Li(shown(s)) for s in sentences], className="notes problems")]
    parts.append(table(["", ""], [(key, shown(str(value))) for key, value in seen if value]))
    if found["metrics"]:
        numbers = [(key, f"{float(value):.6g}") for key, value in found["metrics"].items() if key != "time"]
        parts.append(html.Details([html.Summary("Last metrics"), table(["metric", "last value"], numbers)], open=True))
    if found["results"]:
        header = list(dict.fromkeys(key for point in found["results"] for key in point if key != "gaps"))
        rows = [[_cell(point.get(key)) for key in header] for point in found["results"]]
        notes = html.Ul([html.Li(shown(note)) for note in gap_notes(found["results"])], className="notes")
        parts.append(html.Details([html.Summary("Results, means over images"), table(header, rows), notes], open=True))
    settings = [(shown(key), shown(value)) for key, value in found["config"].items()]
    parts.append(html.Details([html.Summary("Configuration"), table(["key", "value"], settings)]))
    return html.Div([html.H3(shown(found["name"])), *parts], className="run")


def _cell(value: Any) -> str:
    return "-" if value is None else f"{value:.4f}" if isinstance(value, float) else shown(str(value))

"""The report's tables: runs, BD-rates, operating points, configurations."""

from __future__ import annotations

import json
from collections.abc import Sequence

from nic_lightning.errors import counted
from nic_lightning.report.curves.curve import TIMES, Curve, gaps_of
from nic_lightning.report.curves.curves import datasets
from nic_lightning.report.page.features import trains_features
from nic_lightning.report.page.markup import DASH, details, escaped, number, section, table, tabs
from nic_lightning.report.page.reading import Source
from nic_lightning.runs.index.index import Run

_MAX_CODE = 100_000
_MAX_OPEN = 40
"""Rows of a table that is not folded away at first."""
_MAX_PROBLEMS = 500
_MAX_CONFIGURATIONS = 8_000_000
_SHOWN_PACKAGES = ("torch", "compressai", "pillow")


def summary(sources: Sequence[Source], made: Sequence[Curve], items: str = "images") -> str:
    """Counts at a glance, of inputs that are called `items`, too, and a line for each run."""
    images = {(row["dataset"], row["item"]) for source in sources for row in source.rows}
    known = {dataset for dataset, _ in images} | set(datasets(made))  # flow has no curves, published ones have no rows
    learned = sum(len(curve.points) for curve in made if not curve.classic and not curve.published)
    facts = [("runs", len(sources)), ("data sets", len(known)), (items, len(images))]
    facts += [("learned operating points", learned)] if made else []
    cards = "".join(f'<div class="card"><b>{n}</b><span>{name}</span></div>' for name, n in facts)
    lines = []
    for source in sources:
        run = source.run
        codecs = dict.fromkeys(str(row["codec"]) for row in source.rows)
        codecs |= {"features of flow": None} if trains_features(run) else {}
        sets = dict.fromkeys(str(row["dataset"]) for row in source.rows)
        steps = DASH if source.steps is None else f"{source.steps:,}"
        state = f'<span class="state {escaped(run.state)}">{escaped(run.state)}</span>'
        started = str((run.status or {}).get("started") or "")[:16].replace("T", " ")
        cells = [run.name, ", ".join(codecs) or DASH, ", ".join(sets) or DASH, started or DASH]
        damage = ' <a class="damaged" href="#problems">damaged</a>' if run.problems else ""
        lines.append([c if c == DASH else escaped(c) for c in cells] + [state + damage, steps])
    header = ["run", "codecs", "data sets", "started", "state", "steps"]
    return f'<div class="cards">{cards}</div>' + table(header, lines, text_columns=5)


def rate_tables(made: Sequence[Curve]) -> str:
    """Real and estimated rate of every learned point, and every point with its times, folded away."""
    parts = []
    for dataset in datasets(made):
        here = [curve for curve in made if curve.dataset == dataset]
        learned = [c for c in here if any(p[c.medium.rate.estimated] is not None for p in c.points)]
        here = [c for c in here if not c.published]
        count = sum(len(curve.points) for curve in learned)
        body = (
            details("Rate of the files and of the entropy model", _rates(learned), 0 < count <= _MAX_OPEN)
            if learned
            else ""
        )
        body += details("Every operating point", _points(here), not learned)
        for gap in gaps_of(here):
            keys = (here[0].medium.rate.key, gap.metric)
            body += details(escaped(f"Rates and quality over {gap.about}"), _points(gap.curves, keys), True)
        parts.append((dataset, body))
    return tabs("rates", parts) if parts else ""


def configurations(runs: Sequence[Run]) -> str:
    """Each run's configuration, command-line overrides and environment, folded away; as many as a page holds."""
    parts: list[str] = []
    size = 0
    for run in runs:
        part = details(escaped(run.name), _configuration(run))
        size += len(part)
        if size > _MAX_CONFIGURATIONS:
            parts.append(f'<p class="note">{counted(len(runs) - len(parts), "more run")}: see their folders.</p>')
            break
        parts.append(part)
    return f'<div id="config-differences"></div>{details("Whole configurations", "".join(parts))}' if parts else ""


def problem_list(problems: Sequence[str]) -> str:
    """What could not be read or compared, as a section."""
    shown = [problem if len(problem) < 1000 else problem[:1000] + "…" for problem in problems[:_MAX_PROBLEMS]]
    if len(problems) > len(shown):
        shown.append(f"{len(problems) - len(shown)} more.")
    items = "".join(f"<li>{escaped(problem)}</li>" for problem in shown)
    return section("problems", "Problems", f'<ul class="problems">{items}</ul>' if items else "")


def _rates(learned: Sequence[Curve]) -> str:
    rows = []
    medium = learned[0].medium
    for curve in learned:
        for point, rate in zip(curve.points, curve.rates, strict=True):
            estimated = point[medium.rate.estimated]
            gap = (rate / estimated - 1) * 100 if estimated else None
            cells = [escaped(curve.name), escaped(point["label"])]
            cells += [number(rate, 4), number(estimated, 4)]
            rows.append([*cells, DASH if gap is None else f"{gap:+.2f}&thinsp;%"])
    unit = escaped(medium.rate.unit)
    return table(["codec", "point", f"{unit} of the files", f"{unit} estimated", "difference"], rows, text_columns=2)


def _points(here: Sequence[Curve], keys: Sequence[str] = ()) -> str:
    if not here:
        return ""
    medium, rows = here[0].medium, []
    columns = {medium.rate.key: (medium.rate.unit, 4)}
    columns |= {key: (f"{one.title}{one.suffix}", one.digits) for key, one in medium.measured.items()}
    columns |= {key: (key.replace("_", " "), 1) for key in TIMES}
    shown = [key for key in columns if key in (keys or columns)]
    for curve in here:
        for point in curve.points:
            cells = [escaped(curve.name), escaped(point["label"]), str(point["images"])]
            rows.append(cells + [number(point[key], columns[key][1]) for key in shown])
    header = ["codec", "point", medium.items, *(escaped(columns[key][0]) for key in shown)]
    return table(header, rows, text_columns=2)


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

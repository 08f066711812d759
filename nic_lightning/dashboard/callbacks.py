"""What the page asks for, and what it gets. A request names runs by their ids in the list, never by a path."""

from __future__ import annotations

from collections.abc import Container
from typing import Any
from urllib.parse import urlencode

from dash import ALL, Dash, Input, Output, State, no_update

from nic_lightning.dashboard import tables
from nic_lightning.dashboard.catalogue import Catalogue
from nic_lightning.dashboard.figures import AXES, curve_plot, rd_plot, titles
from nic_lightning.dashboard.live import MAX_RUNS_DRAWN, Live
from nic_lightning.dashboard.page import GROUPS
from nic_lightning.report.curves.curve import IMAGE
from nic_lightning.report.curves.curves import curves, datasets, default_anchor
from nic_lightning.runs.index.index import read_run

MAX_COMPARED = 64
"""Runs whose results are compared at once."""


def connect(app: Dash, catalogue: Catalogue, live: Live) -> None:
    """Give the page its callbacks."""
    _list(app, catalogue)
    _in_the_browser(app)
    _training(app, catalogue, live)
    _comparison(app, catalogue, live)
    _facts(app, catalogue)


def _list(app: Dash, catalogue: Catalogue) -> None:
    @app.callback(
        Output("delta", "data"),
        Output("known", "data"),
        Output("counts", "children"),
        Input("tick", "n_intervals"),
        State("known", "data"),
    )
    def refresh(_: Any, known: Any) -> Any:
        changes = catalogue.changes(known if isinstance(known, str) else None)
        if changes.version == known:
            return no_update, no_update, no_update
        return {"rows": changes.rows, "reset": changes.reset}, changes.version, tables.states(catalogue.rows())

    @app.callback(Output("groups", "children"), Input("group", "value"), Input("known", "data"))
    def group(key: Any, _: Any) -> Any:
        return tables.groups(catalogue.rows(), key) if _one_of(GROUPS, key, "") else None


def _in_the_browser(app: Dash) -> None:
    """Selecting, searching and grouping need no server: the functions are in assets/dashboard.js."""

    def run(name: str, *wires: Any) -> None:
        app.clientside_callback(f"function(...all) {{ return window.nic.{name}(...all); }}", *wires)

    run("merge", Input("delta", "data"))
    run("search", Input("search", "value"))
    run("group", Input("group", "value"))
    run("chosen", Output("chosen", "data"), Input("runs", "selectedRows"))
    run("turn", Output("tab", "value"), Input("chosen", "data"), State("tab", "value"))
    groups = Input({"type": "group", "key": ALL, "value": ALL}, "n_clicks")
    run("select", Input("all", "n_clicks"), Input("none", "n_clicks"), groups)


def _training(app: Dash, catalogue: Catalogue, live: Live) -> None:
    @app.callback(
        Output("curves", "figure"),
        Output("metric", "options"),
        Output("metric", "value"),
        Output("curves-note", "children"),
        Output("drawn", "data"),
        Input("tick", "n_intervals"),
        Input("chosen", "data"),
        Input("metric", "value"),
        Input("axis", "value"),
        Input("log", "value"),
        Input("tab", "value"),
        State("drawn", "data"),
        running=[(Output("tick", "disabled"), True, False)],  # a slow answer would be overtaken for ever
    )
    def draw(_: Any, chosen: Any, metric: Any, axis: Any, log: Any, tab: Any, drawn: Any) -> Any:
        if tab != "training":
            return (no_update,) * 5
        folders = catalogue.folders(_ids(chosen))
        curves = live.curves(folders)
        known = titles(curves.values())
        title = metric if metric in known else known[0] if known else ""
        wanted = (title, _one_of(AXES, axis, "step"), bool(log))
        state = [*wanted, [[key, run.version] for key, run in curves.items()]]
        if state == drawn:
            return (no_update,) * 5
        return curve_plot(curves, *wanted), known, title or None, _note(folders, curves), state


def _comparison(app: Dash, catalogue: Catalogue, live: Live) -> None:
    @app.callback(
        Output("rd", "figure"),
        Output("bd", "children"),
        Output("rd-note", "children"),
        Output("dataset", "options"),
        Output("dataset", "value"),
        Output("anchor", "options"),
        Output("anchor", "value"),
        Output("report", "href"),
        Input("chosen", "data"),
        Input("dataset", "value"),
        Input("quality", "value"),
        Input("anchor", "value"),
        Input("tab", "value"),
    )
    def compare(chosen: Any, dataset: Any, quality: Any, anchor: Any, tab: Any) -> Any:
        if tab != "comparison":
            return (no_update,) * 8
        ids = _ids(chosen)
        rows, problems = live.rows(catalogue.folders(ids))
        made = curves(rows)
        sets = datasets(made)
        dataset = dataset if dataset in sets else sets[0] if sets else None
        here = [curve for curve in made if curve.dataset == dataset]
        by_name = {curve.name: curve for curve in here}
        reference = by_name.get(anchor if isinstance(anchor, str) else "") or default_anchor(here)
        bd = tables.bd_table(here, reference) if reference is not None and len(here) > 1 else None
        note = " ".join(problems) or (None if made else "No selected run holds results; nic-evaluate writes them.")
        link = "/report?" + urlencode([("run", key) for key in ids]) if made else None
        name = reference.name if reference else None
        medium = here[0].medium if here else IMAGE
        figure = rd_plot(here, _one_of(medium.drawn, quality, medium.default))
        return figure, bd, note, sets, dataset, list(by_name), name, link


def _facts(app: Dash, catalogue: Catalogue) -> None:
    @app.callback(Output("facts", "children"), Input("chosen", "data"), Input("tab", "value"))
    def show(chosen: Any, tab: Any) -> Any:
        if tab != "facts":
            return no_update
        folders = list(catalogue.folders(_ids(chosen)).items())
        if not folders:
            return "Select runs in the list."
        shown = [read_run(folder, key) for key, folder in folders[: tables.MAX_SHOWN]]
        return tables.facts(shown)


def _ids(chosen: Any) -> list[str]:
    """What the page says is selected: text, and not without end."""
    ids = chosen if isinstance(chosen, list) else []
    return [key for key in ids if isinstance(key, str)][:MAX_COMPARED]


def _one_of(known: Container[str], value: Any, default: str) -> str:
    return value if isinstance(value, str) and value in known else default


def _note(folders: Any, curves: Any) -> str | None:
    if not folders:
        return "Select runs in the list to see their curves."
    behind = sum(run.behind for run in curves.values())
    told = [f"{behind / 2**20:.0f} MiB are still to be read."] if behind else []
    if len(folders) > MAX_RUNS_DRAWN:
        told.append(f"The first {MAX_RUNS_DRAWN} of {len(folders)} selected runs are drawn.")
    return " ".join(told) or None

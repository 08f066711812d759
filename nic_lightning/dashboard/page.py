"""What stands on the page, before any data is in it."""

from __future__ import annotations

from typing import Any

import dash_ag_grid as dag
from dash import dcc, html

from nic_lightning.media.base import all_media, find_medium

REFRESH_MS = 2000
GROUPS = {"": "no groups", "sweep": "by sweep", "codec": "by codec", "state": "by state", "tags": "by tags"}
_NUMBER = {"filter": "agNumberColumnFilter", "type": "rightAligned"}


def _number(form: str) -> dict[str, str]:
    """A column's formatter, in d3's language; a number that is not there is a dash."""
    return {"function": f"params.value == null ? '\u2013' : d3.format('{form}')(params.value)"}


def columns() -> list[dict[str, Any]]:
    """The list's columns."""
    name = {"field": "name", "headerName": "Run", "pinned": "left", "minWidth": 120, "width": 260}
    return [
        name | {"tooltipField": "name"},
        {"field": "state", "cellRenderer": "NicState", "width": 125},
        {"field": "progress", "cellRenderer": "NicProgress", "width": 120, "filter": "agNumberColumnFilter"},
        {"field": "step", "width": 105, **_NUMBER, "valueFormatter": _number(",")},
        {"field": "left", "headerName": "Time left", "width": 110, "cellRenderer": "NicLeft", **_NUMBER},
        {"field": "loss", "width": 105, **_NUMBER, "cellRenderer": "NicLoss"},
        *_measures(),
        {"field": "codec", "width": 140},
        {"field": "sweep", "width": 160},
        {"field": "tags", "width": 130},
        {"field": "measured", "width": 105, "valueFormatter": {"function": "params.value ? 'yes' : ''"}},
        {"field": "when", "headerName": "Last sign", "width": 160, "sort": "desc"},
        {"field": "problem", "width": 300, "tooltipField": "problem"},
    ]


def _measures() -> list[dict[str, Any]]:
    """The rate and the first quality of each medium."""
    found: dict[str, dict[str, Any]] = {}
    for medium in all_media():
        quality = medium.quality(medium.default)
        for key, title, digits in (
            (medium.rate.key, medium.rate.unit, 4),
            (quality.key, quality.title, quality.digits),
        ):
            shown = {"field": key, "headerName": title, "width": 95}
            found[key] = shown | {**_NUMBER, "valueFormatter": _number(f".{digits}f")}
    return list(found.values())


def page(folder: str) -> Any:
    """The layout; `folder` is shown as it was given."""
    return html.Div(
        [
            dcc.Interval(id="tick", interval=REFRESH_MS),
            dcc.Store(id="known"),
            dcc.Store(id="delta"),
            dcc.Store(id="drawn"),
            dcc.Store(id="chosen", data=[]),
            html.Header([html.H1("nic_lightning"), html.Code(folder), html.Div(id="counts")]),
            html.Section([_tools(), html.Div(id="groups"), _grid()], className="list"),
            html.Section(
                [
                    html.Div(id="selection"),
                    dcc.Tabs(id="tab", value="facts", children=[_training(), _comparison(), _facts()]),
                ]
            ),
        ],
        className="page",
    )


def _tools() -> Any:
    options = [{"label": label, "value": value} for value, label in GROUPS.items()]
    return html.Div(
        [
            dcc.Input(id="search", type="search", placeholder="Search runs, codecs, tags, states", debounce=False),
            dcc.Dropdown(id="group", options=options, value="", clearable=False, searchable=False),
            html.Button("Select all shown", id="all"),
            html.Button("Select none", id="none"),
        ],
        className="tools",
    )


def _grid() -> Any:
    return dag.AgGrid(
        id="runs",
        columnDefs=columns(),
        rowData=[],
        getRowId="params.data.id",
        defaultColDef={"sortable": True, "resizable": True, "filter": True, "floatingFilter": True},
        dashGridOptions={
            "rowSelection": {"mode": "multiRow", "enableClickSelection": True, "enableSelectionWithoutKeys": True},
            "selectionColumnDef": {"pinned": "left", "width": 44},
            "postSortRows": {"function": "nicCluster(params)"},
            "rowClassRules": {"cluster": "params.data.cluster"},
            "animateRows": False,
            "tooltipShowDelay": 300,
            "suppressFieldDotNotation": True,
        },
        style={"height": None, "width": "100%"},
        className="grid",
    )


def _training() -> Any:
    axes = [{"label": "steps", "value": "step"}, {"label": "hours", "value": "time"}]
    tools = [
        dcc.Dropdown(id="metric", clearable=False, placeholder="metric"),
        dcc.Dropdown(id="axis", options=axes, value="step", clearable=False, searchable=False),
        dcc.Checklist(id="log", options=[{"label": "logarithmic", "value": "log"}], value=[]),
    ]
    return dcc.Tab(
        label="Training curves",
        value="training",
        children=[html.Div(tools, className="tools"), html.P(id="curves-note", className="note"), _graph("curves")],
    )


def _comparison() -> Any:
    drawn = {key: quality.axis for medium in all_media() for key, quality in medium.drawn.items()}
    qualities = [{"label": label, "value": key} for key, label in drawn.items()]
    default = find_medium(None).default
    tools = [
        dcc.Dropdown(id="dataset", clearable=False, placeholder="data set"),
        dcc.Dropdown(id="quality", options=qualities, value=default, clearable=False, searchable=False),
        dcc.Dropdown(id="anchor", clearable=False, placeholder="anchor of BD-rates"),
        html.A("Full report", id="report", target="_blank", rel="noopener", className="button"),
    ]
    return dcc.Tab(
        label="Rate-distortion",
        value="comparison",
        children=[
            html.Div(tools, className="tools"),
            html.P(id="rd-note", className="note"),
            _graph("rd"),
            html.Div(id="bd"),
        ],
    )


def _facts() -> Any:
    return dcc.Tab(label="Facts", value="facts", children=[html.Div(id="facts")])


def _graph(name: str) -> Any:
    config: Any = {"displaylogo": False, "responsive": True, "modeBarButtonsToRemove": ["select2d", "lasso2d"]}
    empty = {"data": [], "layout": {"xaxis": {"visible": False}, "yaxis": {"visible": False}}}
    graph = dcc.Graph(id=name, config=config, figure=empty, responsive=True, style={"height": "100%"})
    return html.Div(graph, className="plot")

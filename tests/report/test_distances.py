from __future__ import annotations

from nic_lightning.report.page.distances import distance_plots, distance_section, distance_table
from nic_lightning.report.page.html import write_report
from nic_lightning.report.page.reading import read_sources
from nic_lightning.runs.record.distances import DISTANCES, write_distances

from .samples import learned_rows, make_run

NAME = "fid256_alexnet"


def distances(labels, **more):
    place = {"codec": "mae", "dataset": "kodak", "name": NAME, "patches": 40}
    return [{**place, "label": label, "value": 10.0 / (i + 1), **more} for i, label in enumerate(labels)]


def test_a_table_and_a_plot_over_rate(tmp_path):
    rows = learned_rows("mae", dataset="kodak", run="mae")
    labels = list(dict.fromkeys(row["label"] for row in rows))
    folder = make_run(tmp_path / "mae", rows)
    write_distances(folder, distances(labels, note="<few>"))
    sources = read_sources([folder])
    text = distance_section(sources)
    assert text.count("<td>fid256_alexnet</td>") == len(labels)
    assert "&lt;few&gt;" in text
    ((title, figure),) = distance_plots(sources)
    assert title == f"kodak: {NAME}"
    assert figure["layout"]["yaxis"]["title"]["text"] == "Fréchet distance"
    (trace,) = figure["data"]
    rates = {row["label"]: [r["bpp"] for r in rows if r["label"] == row["label"]] for row in rows}
    assert list(trace["x"]) == sorted(sum(r) / len(r) for r in rates.values())
    assert list(trace["y"]) == [10.0 / (i + 1) for i in range(len(labels))]
    assert write_report([folder], tmp_path / "report.html") == []
    assert 'id="distances"' in (tmp_path / "report.html").read_text()
    lines = distance_table(distances(labels, note="few")).splitlines()
    assert len(lines) == len(labels) + 3
    assert lines[-1] == "Note: few"


def test_rates_are_those_of_the_images_behind_a_distance(tmp_path):
    folder = make_run(tmp_path / "mae", learned_rows("mae", run="mae"))
    write_distances(folder, distances(["64"], bpp=0.75, images=2, images_in_all=3))
    sources = read_sources([folder])
    ((_, figure),) = distance_plots(sources)
    assert list(figure["data"][0]["x"]) == [0.75]
    assert '<td class="n">0.7500</td>' in distance_section(sources)
    assert '<td class="n">2 of 3</td>' in distance_section(sources)
    last = distance_table(distances(["64"], bpp=0.75, images=2, images_in_all=3)).splitlines()[-1]
    assert last.split()[4:] == ["0.7500", "10.000", "40", "2", "of", "3"]


def test_none_and_damaged_ones(tmp_path):
    folder = make_run(tmp_path / "mae", learned_rows("mae", run="mae"))
    assert distance_section(read_sources([folder])) == ""
    (folder / DISTANCES).write_text('{"schema": 1, "rows": [{"codec": "mae"}]}')
    (problem,) = write_report([folder], tmp_path / "report.html")
    assert problem.endswith("distances.json is damaged.")

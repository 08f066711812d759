"""`nic report`: the HTML page, its R-D table in the terminal, and on request figures and tables as files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nic_lightning.errors import counted
from nic_lightning.report.curves.folder import write_figures
from nic_lightning.report.curves.text import rd_table
from nic_lightning.report.page.features import features_lines
from nic_lightning.report.page.flow import flow_table
from nic_lightning.report.page.html import all_curves, choose_anchors, write_page
from nic_lightning.report.page.reading import read_sources


def report(
    runs: Sequence[Path],
    out: Path,
    *,
    anchor: str | None = None,
    published: Sequence[str] = (),
    figures: Path | None = None,
) -> None:
    """Write the page about `runs` to `out`, and figures and tables into the folder `figures`.

    Prints the R-D table, what could not be read, and where the page is.
    """
    sources = read_sources(runs)
    made = all_curves(sources, published)
    problems = write_page(sources, made, out, anchor=anchor)
    tables = [rd_table(sources.rows)] if made else []
    if of_flow := flow_table(sources.rows):
        tables.append(of_flow)
    if features := features_lines(sources.runs):
        tables.append(features)
    print("\n\n".join(tables) or rd_table([]))
    if problems:
        print(f"\n{counted(len(problems), 'problem')}, which the page lists; the first: {_printable(problems[0])}")
    if figures is not None:
        written = write_figures(made, choose_anchors(made, anchor), sources.rows, figures)
        print(f"\nFigures and tables: {counted(len(written), 'file')} in {figures.resolve()}")
    print(f"\nReport: {out.resolve()}")


def _printable(text: str) -> str:
    return "".join(sign if sign.isprintable() else "?" for sign in text[:500])

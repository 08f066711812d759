"""`nic report`: one HTML page that compares runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from nic_lightning.commands.options import Runs
from nic_lightning.errors import UserError, counted
from nic_lightning.report.curves.folder import write_figures
from nic_lightning.report.curves.text import rd_table
from nic_lightning.report.page.features import features_lines
from nic_lightning.report.page.flow import flow_table
from nic_lightning.report.page.html import all_curves, choose_anchors, write_page
from nic_lightning.report.page.latent_motion import latent_motion_lines
from nic_lightning.report.page.reading import read_sources


def report(
    runs: Runs,
    /,
    *,
    out: Annotated[Path, Parameter(name=("--out", "-o"), metavar="FILE")] = Path("report.html"),
    anchor: Annotated[str | None, Parameter(metavar="NAME")] = None,
    published: Annotated[tuple[str, ...], Parameter(metavar="NAME")] = (),
    figures: Annotated[Path | None, Parameter(metavar="DIR")] = None,
) -> None:
    """Write one HTML page about runs, and print its R-D table.

    What could not be read is named, on the page, too.

    Args:
        runs: run folder, or a folder of runs
        out: the page; an older report of that name is replaced, another file never
        anchor: curve, run or codec that BD-rates are computed against at first
        published: published curve (vtm, cheng2020-anchor, ..., all), or a CSV or JSON file of curves; may be repeated
        figures: write PNG figures, CSV and LaTeX tables, too

    Examples:
        nic report runs -o report.html --published vtm
        nic report runs/a runs/b --anchor a --figures figures
    """
    _require_replaceable(out)
    sources = read_sources(runs)
    made = all_curves(sources, published)
    problems = write_page(sources, made, out, anchor=anchor)
    others = (flow_table(sources.rows), features_lines(sources.runs), latent_motion_lines(sources.runs))
    tables = [*([rd_table(sources.rows)] if made else []), *filter(None, others)]
    print("\n\n".join(tables) or rd_table([]))
    if problems:
        print(f"\n{counted(len(problems), 'problem')}, which the page lists; the first: {_printable(problems[0])}")
    if figures is not None:
        written = write_figures(made, choose_anchors(made, anchor), sources.rows, figures)
        print(f"\nFigures and tables: {counted(len(written), 'file')} in {figures.resolve()}")
    print(f"\nReport: {out.resolve()}")


def _require_replaceable(out: Path) -> None:
    """Raise UserError for a file that is no page of ours: a photograph, or what somebody wrote by hand."""
    if out.is_file() and out.stat().st_size:
        with out.open("rb") as file:
            head = file.read(1 << 18)
        if not (head.startswith(b"<!DOCTYPE html>") and b" by nic_lightning</p>" in head):
            raise UserError(f"{out} exists and is no report, so it is not replaced; give another name by -o.")


def _printable(text: str) -> str:
    return "".join(sign if sign.isprintable() else "?" for sign in text[:500])

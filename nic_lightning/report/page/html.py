"""One self-contained page about any number of runs: nothing it shows is fetched from anywhere."""

from __future__ import annotations

import base64
import hashlib
import json
import string
import time
from collections.abc import Iterable, Sequence
from importlib.resources import files
from pathlib import Path

from nic_lightning.errors import RunError, UserError, choices
from nic_lightning.report.curves.curve import Curve
from nic_lightning.report.curves.curves import curves, datasets, default_anchor, named
from nic_lightning.report.curves.published import published_curves
from nic_lightning.report.page import sections
from nic_lightning.report.page.amortisation import POINTS
from nic_lightning.report.page.embedded import MAX_CURVES, MAX_ROWS
from nic_lightning.report.page.features import trains_features
from nic_lightning.report.page.gallery import gallery
from nic_lightning.report.page.layout import Data, body, page_data
from nic_lightning.report.page.markup import escaped
from nic_lightning.report.page.reading import Source, Sources, read_sources
from nic_lightning.runs.index.owner import refuse_record
from nic_lightning.runs.record.critical_points import FOLDER as CRITICAL_POINTS
from nic_lightning.runs.record.files import write_atomically
from nic_lightning.runs.record.latent_motion import LATENT_MOTION
from nic_lightning.runs.record.translation import TRANSLATION

_PLOTS = ("base", "sketch", "plots", "curves", "deltas", "complexity")
SCRIPTS = (*_PLOTS, "images", "pictures", "channels", "configs", "page")
"""Parts of the page's own script, in order."""


def write_report(
    runs: Iterable[str | Path],
    out: str | Path,
    *,
    title: str = "Rate-distortion report",
    anchor: str | None = None,
    published: Sequence[str] = (),
) -> list[str]:
    """Write the page to `out`, whole or not at all.

    Args:
        runs: run folders, or folders of runs.
        out: HTML file to write.
        title: heading of the page.
        anchor: curve or codec that the page computes BD-rates against at first; None: the first classic codec, else the
            first curve.
        published: names of published curves, or their files, to draw beside the runs'.

    Returns:
        Sentences about what could not be read or compared; the page shows them too.

    Raises:
        RunError: a path holds no run, or `out` cannot be written.
        UserError: no curve is named `anchor`, or no published one as asked for.
    """
    sources = read_sources(runs)
    made = all_curves(sources, published)
    return write_page(sources, made, out, title=title, anchor=anchor)


def all_curves(sources: Sources, published: Sequence[str] = ()) -> list[Curve]:
    """The curves of the runs, and of each data set the published ones that are known there.

    Raises UserError when one of `published` is known on none of the data sets.
    """
    made = curves(sources.rows)
    for name in published:
        found: list[Curve] = []
        refused: UserError | None = None
        for dataset in datasets(made):
            try:
                medium = next(curve.medium for curve in made if curve.dataset == dataset)
                found += published_curves([name], dataset, medium)
            except UserError as error:
                refused = refused or error
        if not found and refused is not None:
            raise refused
        made += [curve for curve in found if (curve.name, curve.dataset) not in {(c.name, c.dataset) for c in made}]
    return made


def write_page(
    sources: Sources,
    made: Sequence[Curve],
    out: str | Path,
    *,
    title: str = "Rate-distortion report",
    anchor: str | None = None,
) -> list[str]:
    """`write_report` of runs that were read already, with `all_curves` of them."""
    refuse_record(Path(out))
    problems = list(sources.problems)
    if not any(_has_results(source) for source in sources.all):
        problems.append("No run holds results; nic-evaluate writes them.")
    anchors = choose_anchors(made, anchor)
    if len(made) > MAX_CURVES:
        problems.append(f"There are {len(made):,} curves, and the page shows {MAX_CURVES}; name fewer runs.")
        kept = {id(curve) for curve in [*anchors.values(), *made][:MAX_CURVES]}
        made = [curve for curve in made if id(curve) in kept]
    pictures = gallery(sources, made)
    if pictures.left_out:
        problems.append(f"There are more pictures than one page holds; {pictures.left_out} are left out.")
    figures: dict[str, Data] = {}
    parts = body(sources, made, pictures, figures)
    rows = sources.rows
    if len(rows) > MAX_ROWS:
        problems.append(f"There are {len(rows):,} rows of results, and the page's table shows {MAX_ROWS:,} of them.")
    data = page_data(sources, made, anchors, rows[:MAX_ROWS]) | {"pictures": pictures.items, "figures": figures}
    problems += dict.fromkeys(curve.note for curve in made if curve.note)
    problems += [problem for run in sources.runs for problem in run.problems]
    parts.append(sections.problem_list(problems))
    out = Path(out)
    try:
        write_atomically(out, _page(title, "\n".join(parts), data, pictures.blocks))
    except OSError as error:
        raise RunError(f"The report {out} cannot be written: {error.strerror}.") from error
    return problems


def _has_results(source: Source) -> bool:
    others = any((source.run.folder / name).exists() for name in (TRANSLATION, POINTS, CRITICAL_POINTS, LATENT_MOTION))
    return bool(source.rows) or others or trains_features(source.run)


def choose_anchors(made: Sequence[Curve], wanted: str | None) -> dict[str, Curve]:
    """The anchor of each data set; UserError when no curve is named `wanted`."""
    chosen: dict[str, Curve] = {}
    for dataset in datasets(made):
        here = [curve for curve in made if curve.dataset == dataset]
        found = (None if wanted is None else named(here, wanted)) or default_anchor(here)
        if found is not None:
            chosen[dataset] = found
    if wanted is not None and named(made, wanted) is None:
        raise UserError(f"No curve is named {wanted!r}; {choices(wanted, [curve.name for curve in made])}.")
    return chosen


def _page(title: str, content: str, data: Data, blocks: Sequence[str]) -> str:
    """The page around the sections. Only the two scripts that are named by their hash may run; Plotly waits as text."""
    from plotly.offline import get_plotlyjs

    assets = files("nic_lightning.report") / "assets"
    parts = [(assets / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS]
    own = '"use strict";\n(() => {\n' + "\n".join(parts) + "\n})();\n"
    scripts = [_unix(get_plotlyjs()), _unix(own)]
    policy = "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src "
    policy += " ".join(f"'sha256-{_hash(script)}'" for script in scripts)
    # "<" would end the block that the browser reads as data.
    embedded = json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    pictures = "\n".join(f'<script type="text/plain" id="picture-{i}">{text}</script>' for i, text in enumerate(blocks))
    return string.Template((assets / "page.html").read_text(encoding="utf-8")).substitute(
        title=escaped(title),
        policy=escaped(policy),
        style=(assets / "page.css").read_text(encoding="utf-8"),
        made=time.strftime("%Y-%m-%d %H:%M"),
        body=content,
        data=embedded,
        pictures=pictures,
        plotly=scripts[0],
        script=scripts[1],
    )


def _hash(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _unix(text: str) -> str:
    """Line ends as an HTML parser makes them, since the hash is taken after that."""
    return text.replace("\r\n", "\n").replace("\r", "\n")

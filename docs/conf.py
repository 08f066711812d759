"""The documentation site: `make docs` builds it without a network, and a warning is an error."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parent
sys.path.insert(0, str(HERE))

project = "nic_lightning"
author = "the developers of nic_lightning"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "command_pages"]
html_theme = "furo"
html_title = "nic_lightning"
exclude_patterns = ["built/**"]
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"
"""Notebooks are run by the tests, and on the site with `make docs NOTEBOOKS=force`."""
autodoc_typehints = "description"
autodoc_member_order = "bysource"
suppress_warnings = ["misc.highlighting_failure"]

_OUTSIDE = re.compile(r"\]\(\.\./((?!docs/)[^)#]+)(#[^)]*)?\)")


def _without_links_to_files(app, name: str, source: list[str]) -> None:
    """What lies outside of docs/ has no page: its path is told instead of a link."""
    source[0] = _OUTSIDE.sub(r"] (`\1`)", source[0]).replace("(docs/", "(")


def _copied_notebooks() -> None:
    """Sphinx reads below docs/ only."""
    target = HERE / "notebooks"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(CHECKOUT / "notebooks", target, ignore=shutil.ignore_patterns(".*"))


def setup(app) -> None:
    """Sphinx asks for this."""
    _copied_notebooks()
    app.connect("source-read", _without_links_to_files)

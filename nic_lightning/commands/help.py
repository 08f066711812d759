"""The pages of help of `nic`, made from docstrings. Starts without torch."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import rich.console
from cyclopts import App
from cyclopts.help import DefaultFormatter
from rich.text import Text

if TYPE_CHECKING:
    from cyclopts.help import HelpPanel

ROOT = """Inspect, use and compare learned codecs. nic-train trains them, and nic-evaluate measures them.

Examples:
    nic inspect codec=modulated
    nic compress photo.jpg
    nic compress photo.png --run runs/first --point 512 -o files
    nic report runs -o report.html
"""


class Console(rich.console.Console):
    """Leaves a reader that has gone to `errors.readers_may_leave`; rich's own would end with code 1."""

    def on_broken_pipe(self) -> NoReturn:
        """Raise the error that rich is handling."""
        raise


class Pages(DefaultFormatter):
    """Fills the lines of what the docstring says of an option."""

    def __call__(self, console: Any, options: Any, panel: HelpPanel) -> None:
        """Print one panel."""
        for entry in panel.entries:
            text = getattr(entry.description, "primary_renderable", None)
            if isinstance(text, Text):
                text.plain = " ".join(text.plain.split())
        super().__call__(console, options, panel)


def summary(file: Path) -> str:
    """What a list of commands says of the command in a file: the first line of the file, which is not imported."""
    with file.open() as lines:
        return lines.readline().strip().strip('"').split("`: ", 1)[1].rstrip(".")


def describe(app: App) -> None:
    """Give the page of a command the paragraphs and the examples of its function's or its package's docstring."""
    function = app.default_command
    if function is not None and function.__module__.startswith("nic_lightning.commands."):
        text = inspect.getdoc(function) or ""
    elif app.name == ("nic",):
        text = ROOT
    elif (Path(__file__).parent / app.name[0] / "__init__.py").is_file():
        text = importlib.import_module(f"nic_lightning.commands.{app.name[0]}").__doc__ or ""
    else:
        return  # --help or --version
    sections = re.split(r"^(Args|Raises|Examples):\n", inspect.cleandoc(text), flags=re.MULTILINE)
    words = re.sub(r"^`nic \w+`: (.)", lambda match: match[1].upper(), sections[0]).replace("`", "")
    app.help = "\n\n".join(" ".join(paragraph.split()) for paragraph in words.split("\n\n")).strip()
    for title, body in zip(sections[1::2], sections[2::2], strict=True):
        if title == "Examples":
            lines = inspect.cleandoc(body).splitlines()
            app.help_epilogue = "\n".join(["Examples:", *(f"  {line}" for line in lines)])


def shown(default: object) -> str | None:
    """The default that help shows; none for flags and for options that may be repeated."""
    if isinstance(default, tuple):
        return ",".join(map(str, default)) or None
    return None if default is None or default is False else str(default)

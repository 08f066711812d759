"""Pages of the site that follow from the code: help of every command, and the choices of every config group."""

from __future__ import annotations

import io
import os
from contextlib import redirect_stdout
from pathlib import Path

HERE = Path(__file__).resolve().parent
CONF = HERE.parent / "conf"
WIDTH = "88"
"""Columns of a help page."""


def commands() -> str:
    """Help of `nic` and of all its commands, as they print it."""
    from nic_lightning.commands.app import ACTIONS, COMMANDS

    parts = ["# Commands", "What `nic COMMAND --help` prints."]
    for title, names in COMMANDS.items():
        parts.append(f"## {title}")
        for name in names:
            for words in [[name], *([name, action] for action in ACTIONS.get(name, ()))]:
                parts.append(f"### nic {' '.join(words)}\n\n```text\n{_help(words)}\n```")
    return "\n\n".join(parts) + "\n"


def _help(words: list[str]) -> str:
    from nic_lightning import cli

    out = io.StringIO()
    with redirect_stdout(out):
        cli.main([*words, "--help"])
    return out.getvalue().strip()


def configs() -> str:
    """The choices of every group in conf/, with the sentence that each file begins with."""
    parts = [
        "# Configuration",
        "Groups of `nic-train`, `nic-evaluate` and `nic-analyze`: `nic-train GROUP=CHOICE`. `nic-train --cfg job` "
        "prints what a command composes; a key of it is set by `GROUP.KEY=VALUE`.",
    ]
    for group in sorted(path for path in CONF.iterdir() if path.is_dir()):
        rows = [f"| `{path.stem}` | {_about(path)} |" for path in sorted(group.glob("*.yaml"))]
        parts.append(f"## {group.name}\n\n| `{group.name}=` | |\n|---|---|\n" + "\n".join(rows))
    return "\n\n".join(parts) + "\n"


def _about(path: Path) -> str:
    """The comment above a file's keys."""
    said = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        if not line.startswith("# @package"):
            said.append(line.removeprefix("#").strip())
    return " ".join(said).replace("|", "\\|")


def _of_checkout(name: str) -> str:
    """A page from outside of docs/, whose links lead into it."""
    return (CONF.parent / name).read_text(encoding="utf-8").replace("](docs/", "](../")


def _write(app) -> None:
    folder = HERE / "generated"
    folder.mkdir(exist_ok=True)
    os.environ["COLUMNS"] = WIDTH
    pages = {"commands": commands(), "configs": configs(), "architecture": _of_checkout("ARCHITECTURE.md")}
    for name, page in (pages | {"changelog": _of_checkout("CHANGELOG.md")}).items():
        (folder / f"{name}.md").write_text(page, encoding="utf-8")


def setup(app) -> dict[str, bool]:
    """Sphinx asks for this."""
    app.connect("builder-inited", _write)
    return {"parallel_read_safe": True}

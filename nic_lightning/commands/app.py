"""Which commands `nic` has, and the application that cyclopts makes of them. Imports none of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cyclopts import App, Group, Parameter

from nic_lightning.commands.help import Console, Pages, describe, shown, summary
from nic_lightning.commands.options import read

COMMANDS = {
    "Train": ("lambdas", "resume"),
    "Measure": (
        "amortisation",
        "bd",
        "compare",
        "critical_points",
        "experiment",
        "fid",
        "grid",
        "inspect",
        "report",
        "results",
    ),
    "Use": ("compress", "decompress", "export", "flow", "truncate", "zoo"),
    "Runs": ("dashboard", "runs"),
    "Data": ("data",),
    "Develop": ("bench", "check", "completion", "new"),
}
"""The commands in the groups that help shows. Each is a function of its own name in the file commands/NAME.py."""
ACTIONS = {
    "bench": (
        "codec",
        "dashboard",
        "distribution",
        "evaluation",
        "flow",
        "latent_motion",
        "point_cloud",
        "report",
        "slimmable",
        "startup",
        "threads",
        "training",
        "translation",
    ),
    "data": ("check", "list", "weights"),
    "experiment": ("list", "run", "show"),
    "new": ("codec", "project"),
    "zoo": ("get", "list", "show"),
    "runs": ("diff", "list", "push", "reproduce", "rm", "show", "sql", "tag"),
}
"""Commands of commands: the function NAME of the file commands/COMMAND/NAME.py."""
_FOLDER = Path(__file__).parent
_HELP = ("--help", "-h")


def build_app() -> App:
    """The command line of `nic`. Commands are known by name and by the first line of their file alone."""
    from nic_lightning import __version__

    app = App(
        name="nic",
        version=__version__,
        console=Console(highlight=False),
        help_format="plaintext",
        help_formatter=Pages(),
        suppress_keyboard_interrupt=False,
        default_parameter=Parameter(
            negative=(), json_list=False, json_dict=False, allow_repeating=True, converter=read, show_default=shown
        ),
        group_arguments=Group("Arguments", sort_key=0),
        group_parameters=Group("Options", sort_key=1),
    )
    for flag in ("--help", "--version"):
        app[flag].group = (app.group_parameters,)
    for title, names in COMMANDS.items():
        group = Group.create_ordered(title)
        for name in names:
            if name in ACTIONS:
                app.command(_with_actions(name, group))
            else:
                _add(app, name, name, group)
    return app


def _with_actions(name: str, group: Group) -> App:
    """A command that consists of others; alone it prints its help."""
    parent = App(name=name, group=group, version_flags=(), help=summary(_FOLDER / name / "__init__.py"))
    for action in ACTIONS[name]:
        _add(parent, action, f"{name}.{action}")
    return parent


def _add(app: App, name: str, module: str, group: Group | None = None) -> None:
    function = name if name != "list" else f"list_{app.name[0]}"
    text = summary(_FOLDER / f"{module.replace('.', '/')}.py")
    options: dict[str, Any] = {} if group is None else {"group": group}
    app.command(f"nic_lightning.commands.{module}:{function}", name=name, help=text, version_flags=(), **options)


def call(arguments: Sequence[str]) -> int:
    """Run the command that a command line names; its exit code.

    Raises:
        CycloptsError: the command line is wrong.
    """
    app = build_app()
    for called in app.parse_commands(arguments)[1]:
        describe(called)
        if called.name == ("tag",) and not {*arguments[2:3]} & {*_HELP}:
            called.help_flags = ()  # a tag to take away may be called h
    return app(arguments, exit_on_error=False, print_error=False, result_action="return_value") or 0

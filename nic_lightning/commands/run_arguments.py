"""Command lines of `nic runs` and `nic dashboard`. What they call is imported when it is called."""

from __future__ import annotations

import argparse
from pathlib import Path

_STATES = ("running", "finished", "failed", "interrupted", "elsewhere", "damaged")
_KEYS = ("name", "state", "step", "loss", "when", "codec", "left")


def add_list(parser: argparse.ArgumentParser) -> None:
    """`nic runs list`."""
    parser.add_argument("folder", nargs="?", type=Path, default=Path("runs"), metavar="DIR", help="default: runs")
    parser.add_argument("--sort", choices=_KEYS, help="highest step, newest sign, lowest loss first")
    parser.add_argument("--tag", action="append", default=[], metavar="WORD", help="only runs with this tag")
    parser.add_argument("--state", action="append", default=[], choices=_STATES, help="only runs in this state")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_list)


def add_show(parser: argparse.ArgumentParser) -> None:
    """`nic runs show`."""
    parser.add_argument("folder", type=Path, metavar="RUN", help="run folder")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_show)


def add_diff(parser: argparse.ArgumentParser) -> None:
    """`nic runs diff`."""
    parser.add_argument("folders", nargs="+", type=Path, metavar="RUN", help="run folders, two or more")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_diff)


def add_tag(parser: argparse.ArgumentParser) -> None:
    """`nic runs tag`: made without option characters, since -word is no option here."""
    parser.add_argument("folder", type=Path, metavar="RUN", help="run folder")
    parser.add_argument("changes", nargs="*", metavar="+WORD|-WORD", help="tags to add and to take away")
    parser.set_defaults(run=_tag, help=parser.format_help)


def add_rm(parser: argparse.ArgumentParser) -> None:
    """`nic runs rm`."""
    parser.add_argument("folders", nargs="+", type=Path, metavar="RUN", help="run folders")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.set_defaults(run=_rm)


def add_push(parser: argparse.ArgumentParser) -> None:
    """`nic runs push`."""
    parser.add_argument("folders", nargs="+", type=Path, metavar="RUN", help="run folders, or folders of runs")
    parser.set_defaults(run=_push)


def add_dashboard(parser: argparse.ArgumentParser) -> None:
    """`nic dashboard`."""
    parser.add_argument("folder", nargs="?", type=Path, default=Path("runs"), metavar="DIR", help="default: runs")
    parser.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1, which only this machine can reach")
    parser.add_argument("--port", type=int, default=8050, metavar="N", help="default: 8050; 0: any that is free")
    parser.set_defaults(run=_dashboard)


def _list(args: argparse.Namespace) -> None:
    from nic_lightning.commands.runs import list_runs

    list_runs(args.folder, args.json, args.sort, args.tag, args.state)


def _show(args: argparse.Namespace) -> None:
    from nic_lightning.commands.runs import show

    show(args.folder, args.json)


def _diff(args: argparse.Namespace) -> None:
    from nic_lightning.commands.runs import diff

    diff(args.folders, args.json)


def _tag(args: argparse.Namespace) -> None:
    if str(args.folder) in ("-h", "--help"):
        print(args.help(), end="")
        return
    from nic_lightning.commands.runs import tag

    tag(args.folder, args.changes)


def _rm(args: argparse.Namespace) -> int:
    from nic_lightning.commands.remove import remove

    return remove(args.folders, args.yes)


def _push(args: argparse.Namespace) -> int:
    from nic_lightning.commands.push import push

    return push(args.folders)


def _dashboard(args: argparse.Namespace) -> int:
    from nic_lightning.commands.dashboard import dashboard

    return dashboard(args.folder, args.host, args.port)

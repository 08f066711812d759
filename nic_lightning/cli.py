"""`nic`: everything that is not training or evaluation. Commands are imported when they are called."""

from __future__ import annotations

import argparse
import difflib
import re
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from nic_lightning.commands import arguments as codec_arguments
from nic_lightning.commands import curve_arguments, flow_arguments, run_arguments
from nic_lightning.errors import UserError, disk_error, readers_may_leave

BENCHES = {
    "codec": "analysis.bench",
    "slimmable": "analysis.bench_slimmable",
    "training": "commands.bench_training",
    "report": "commands.bench_report",
    "dashboard": "commands.bench_dashboard",
    "flow": "commands.bench_flow",
    "translation": "commands.bench_translation",
}
"""What `nic bench` can time, and the module whose `main` does."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 when all went well, 1 for problems found, 2 for wrong input, 130 when interrupted."""
    with readers_may_leave():
        return _main(arguments)


def _main(arguments: Sequence[str] | None) -> int:
    warnings.filterwarnings("ignore", "`torch.jit", FutureWarning)  # CompressAI's, when imported
    parser = build_parser()
    args = parser.parse_args(sys.argv[1:] if arguments is None else arguments)
    try:
        return args.run(args) or 0
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        sentence = disk_error(error)
        if sentence is None:
            raise
        print(sentence, file=sys.stderr)
        return 2


class Parser(argparse.ArgumentParser):
    """Ends a wrong command line with one sentence, and names the nearest command."""

    def error(self, message: str) -> NoReturn:
        """Print the sentence and exit with code 2."""
        if "invalid choice" in message:
            word, *choices = re.findall(r"[\w-]+", message.split("invalid choice", 1)[1].replace("choose from", ""))
            near = difflib.get_close_matches(word, choices, n=1)
            hint = f"did you mean '{near[0]}'? There" if near else "there"
            message = f"there is no '{word}': {hint} are {', '.join(choices)}"
        self.exit(2, f"{self.prog}: {message}. See `{self.prog} --help`.\n")


def build_parser() -> argparse.ArgumentParser:
    """The command line of `nic`."""
    from nic_lightning import __version__

    parser = Parser(prog="nic", description="Inspect, use and compare learned codecs. Training: nic-train --help.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = _subcommands(parser, "COMMAND")
    texts = {
        "bd": "BD-rates of runs and published curves, with intervals",
        "bench": "time this code on this machine",
        "check": "compose every config, check it against the code it names, and try every codec's files",
        "compress": "images to .nic files",
        "dashboard": "a page that lists runs and follows them while they train",
        "data": "what data sets there are, and whether their files are sound",
        "decompress": ".nic files to PNG images",
        "export": "a trained codec as a folder of its own: safetensors, JSON, ONNX",
        "fid": "Frechet distance of decoded images from originals",
        "flow": "optical flow of frames or a video",
        "grid": "pictures of translations, of one run or of several",
        "inspect": "parameters, multiply-accumulates, memory, latency of a codec",
        "lambdas": "a slimmable codec's lambdas from a sweep of independent models",
        "report": "one HTML page that compares runs",
        "results": "the curves of runs as JSON or CSV for others",
        "resume": "continue an interrupted run, or a sweep, from its folder alone",
        "runs": "what runs there are, and how to reproduce one",
        "truncate": "layered .nic files to shorter ones, without a model",
    }
    for name, text in texts.items():  # in the order of the alphabet, as the help lists them
        _ADD[name](commands.add_parser(name, help=text))
    return parser


def _subcommands(parser: argparse.ArgumentParser, metavar: str) -> Any:
    """Sub-parsers of `parser`, which prints its help where none is chosen."""

    def show(args: argparse.Namespace) -> None:
        parser.print_help()

    parser.set_defaults(run=show)
    return parser.add_subparsers(metavar=metavar)


def _add_check(parser: argparse.ArgumentParser) -> None:
    codec_arguments.add_config_dir(parser)
    text = "configs alone, within seconds; else each learned codec also writes and reads a file at every point"
    parser.add_argument("--no-files", action="store_false", dest="files", help=text)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_check)


def _add_data(parser: argparse.ArgumentParser) -> None:
    root = argparse.ArgumentParser(add_help=False)
    root.add_argument("--root", type=Path, help="folder of the data sets (default: $NIC_DATA, or ./data)")
    actions = _subcommands(parser, "ACTION")
    check = actions.add_parser("check", parents=[root], help="which files are present, missing or damaged")
    check.add_argument("name", metavar="NAME", help="data set, or a folder of images")
    check.add_argument("--json", action="store_true", help="print JSON")
    check.set_defaults(run=_data_check)
    text = "the catalogue, and which files are there"
    actions.add_parser("list", parents=[root], help=text).set_defaults(run=_data_list)
    text = "the weight files of other networks that can be used: names, places, SHA-256, and which are there"
    actions.add_parser("weights", help=text, description=text.capitalize() + ".").set_defaults(run=_data_weights)


def _add_runs(parser: argparse.ArgumentParser) -> None:
    actions = _subcommands(parser, "ACTION")
    run_arguments.add_diff(actions.add_parser("diff", help="config keys in which runs differ"))
    run_arguments.add_list(actions.add_parser("list", help="state, steps and loss of every run in a folder"))
    run_arguments.add_push(actions.add_parser("push", help="upload to W&B what was recorded offline"))
    text = "Print a shell script that makes the run again: commit, uncommitted changes, packages, command line."
    action = actions.add_parser("reproduce", help="print the commands that reproduce a run", description=text)
    action.add_argument("folder", type=Path, metavar="RUN", help="run folder")
    action.add_argument(
        "--start",
        action="store_true",
        help="do it now, with the installed packages, and compare the losses; this runs the code that the run folder "
        "holds as git.diff, so do it with folders that you trust",
    )
    action.add_argument("-o", "--out", type=Path, metavar="DIR", help="new folder (default in print: reproduced)")
    action.set_defaults(run=_runs_reproduce)
    run_arguments.add_rm(actions.add_parser("rm", help="delete runs"))
    run_arguments.add_show(actions.add_parser("show", help="what is known of a run: config, metrics, results"))
    text = "words to find a run by: +word adds one, -word takes it away"
    run_arguments.add_tag(actions.add_parser("tag", prefix_chars="\0", add_help=False, help=text, description=text))


def _add_resume(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="RUN", help="run folder, or a folder of runs")
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="KEY=VALUE",
        help="what does not make another run of it: trainer.max_steps=30000, data.root=/path, trainer=gpu, logger=none",
    )
    parser.add_argument("--force", action="store_true", help="also when it was last seen running on another host")
    parser.set_defaults(run=_resume)


def _add_report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folder, or a folder of runs")
    parser.add_argument("-o", "--out", type=Path, default=Path("report.html"), metavar="FILE")
    parser.add_argument(
        "--anchor", metavar="NAME", help="curve, run or codec that BD-rates are computed against at first"
    )
    text = "published curve (vtm, cheng2020-anchor, ..., all), or a CSV or JSON file of curves; may be repeated"
    parser.add_argument("--published", action="append", default=[], metavar="NAME", help=text)
    parser.add_argument("--figures", type=Path, metavar="DIR", help="write PNG figures, CSV and LaTeX tables, too")
    parser.set_defaults(run=_report)


def _add_lambdas(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN", help="runs of codec=cae at several widths and lambdas"
    )
    parser.add_argument("--dataset", metavar="NAME", help="data set whose results count (default: the only one)")
    parser.add_argument(
        "--tolerance", type=float, default=0.1, metavar="DB", help="how far a width may lie below the next wider one"
    )
    parser.set_defaults(run=_lambdas)


def _add_bench(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "codec: training and coding against CompressAI's parts. slimmable: several widths in one model against models "
        "apart. training: what nic-train adds to a step. report: making and opening the page of 200 runs. "
        "dashboard: listing and following 1,000 runs. flow: every step of the flow matcher, its pipelines and others'. "
        "translation: sender and receiver of a translation codec beside plain StarGAN v2; memory of its training."
    )
    parser.add_argument("what", choices=list(BENCHES), metavar="WHAT", help="see above")
    parser.add_argument(
        "arguments", nargs=argparse.REMAINDER, metavar="...", help="its options: nic bench codec --help"
    )
    parser.set_defaults(run=_bench)


_ADD = {
    "bd": curve_arguments.add_bd,
    "bench": _add_bench,
    "check": _add_check,
    "compress": codec_arguments.add_compress,
    "dashboard": run_arguments.add_dashboard,
    "data": _add_data,
    "decompress": codec_arguments.add_decompress,
    "export": codec_arguments.add_export,
    "fid": curve_arguments.add_fid,
    "flow": flow_arguments.add_flow,
    "grid": codec_arguments.add_grid,
    "inspect": codec_arguments.add_inspect,
    "lambdas": _add_lambdas,
    "report": _add_report,
    "results": curve_arguments.add_results,
    "resume": _add_resume,
    "runs": _add_runs,
    "truncate": codec_arguments.add_truncate,
}
"""What gives each command its arguments."""


def _check(args: argparse.Namespace) -> int:
    from nic_lightning.commands.check import check

    return check(args.json, args.files, args.config_dirs)


def _data_list(args: argparse.Namespace) -> None:
    from nic_lightning.data.catalog import list_table
    from nic_lightning.data.flow_sets import flow_rows

    print(list_table(args.root, flow_rows))


def _data_weights(args: argparse.Namespace) -> None:
    from nic_lightning.metrics.weights import table

    print(table())


def _data_check(args: argparse.Namespace) -> int:
    import json

    from nic_lightning.data.catalog import check, check_table

    report = check(args.name, args.root)
    print(json.dumps(report.as_dict(), indent=2) if args.json else check_table(report))
    return 0 if report.ok else 1


def _runs_reproduce(args: argparse.Namespace) -> int:
    from nic_lightning.commands.reproduce import reproduce

    return reproduce(args.folder, args.start, args.out)


def _resume(args: argparse.Namespace) -> int:
    from nic_lightning.commands.resume import resume

    return resume(args.folder, args.overrides, args.force)


def _report(args: argparse.Namespace) -> None:
    from nic_lightning.commands.report import report

    report(args.runs, args.out, anchor=args.anchor, published=args.published, figures=args.figures)


def _lambdas(args: argparse.Namespace) -> None:
    from nic_lightning.commands.lambdas import lambdas

    lambdas(args.runs, args.dataset, args.tolerance)


def _bench(args: argparse.Namespace) -> None:
    from importlib import import_module

    from nic_lightning.analysis.bench_arguments import KINDS, parse

    if args.what in KINDS:
        parse(args.what, args.arguments, Parser)  # help and mistakes come before torch is imported
    import_module(f"nic_lightning.{BENCHES[args.what]}").main(args.arguments)

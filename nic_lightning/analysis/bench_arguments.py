"""What benchmarks that need torch take on the command line; without torch, so that help and mistakes come at once."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from nic_lightning.errors import UserError

SMALL = ["codec=modulated", "codec.width=48", "codec.lambdas=[64,512]", "data=embedded", "data.crop=64"]
"""Of `training`: short steps, where an overhead weighs most."""
FULL = ["experiment=ui2icodec"]
"""Of `translation`."""


def parse(
    what: str, arguments: Sequence[str] | None, kind: type[argparse.ArgumentParser] = argparse.ArgumentParser
) -> argparse.Namespace:
    """The options of `nic bench WHAT`, a key of `KINDS`. Raises UserError for a count that is none."""
    parser = kind(prog=f"nic bench {what}")
    KINDS[what](parser)
    args = parser.parse_args(arguments)
    for name in ("width", "batch", "crop", "size", "rounds", "threads", "block", "repeats"):
        value = getattr(args, name, None)
        if isinstance(value, int) and value < 1:
            raise UserError(f"--{name} is at least 1, not {value}.")
    return args


def _codec(parser: argparse.ArgumentParser) -> None:
    parser.description = "Our code against CompressAI's, in one run."
    parser.add_argument("--width", type=int, default=192, help="channels (default: 192)")
    _coding(parser)


def _slimmable(parser: argparse.ArgumentParser) -> None:
    parser.description = "Widths in one model against models apart."
    parser.add_argument("--widths", type=_numbers, default="48,72,96,144,192", help="default: 48,72,96,144,192")
    parser.add_argument("--gdn", default="slim+", help="switch, slim or slim+ (default: slim+)")
    _coding(parser)


def _coding(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--batch", type=int, default=8, help="training batch (default: 8)")
    parser.add_argument("--crop", type=int, default=240, help="side of the training crops (default: 240)")
    parser.add_argument("--size", default="512x768", help="image to code, HxW (default: 512x768)")
    parser.add_argument("--rounds", type=int, default=9, help="measured rounds (default: 9)")
    parser.add_argument("--threads", type=int, help="CPU threads (default: torch's, see OMP_NUM_THREADS)")


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of numbers, such as 48,96,192") from None


def _training(parser: argparse.ArgumentParser) -> None:
    parser.description = "What nic-train adds to a training step."
    _overrides(parser, SMALL)
    parser.add_argument("--block", type=int, default=25, help="steps in a row (default: 25)")
    parser.add_argument("--rounds", type=int, default=12, help="measured rounds (default: 12)")


def _overrides(parser: argparse.ArgumentParser, default: list[str]) -> None:
    text = f"as for nic-train; default: {' '.join(default)}"
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help=text)


def _translation(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Core-milliseconds of sender and receiver for one image, networks and entropy coding apart, beside "
        "StarGAN v2 without a bottleneck; or, with --memory, what an iteration of training takes."
    )
    _overrides(parser, FULL)
    parser.add_argument("--run", type=Path, metavar="RUN", help="a trained codec instead of an untrained one")
    parser.add_argument("--size", type=int, help="side of the image (default: that of training)")
    parser.add_argument("--bpp", type=float, default=0.2, help="bits per pixel of an untrained codec (default: 0.2)")
    parser.add_argument("--rounds", type=int, default=9, help="measured rounds (default: 9)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: 1)")
    parser.add_argument("--memory", action="store_true", help="memory of training: measured on a GPU, else counted")


def _flow(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Every step of the flow matcher, its pipelines, and other programs, on this machine. Processor time counts all "
        "threads, so it hardly depends on what else runs; wall time does. Bounds are measured in the same run: the "
        "product of large matrices, and the maximum of an array far larger than the caches."
    )
    parser.add_argument("--size", default="1024x436", metavar="WxH", help="of the frames (default: Sintel's, 1024x436)")
    parser.add_argument("--max-displacement", type=int, default=242, metavar="PIXELS", help="(default: 242)")
    text = "rounds after one to warm up; medians count (default: 3)"
    parser.add_argument("--repeats", type=int, default=3, help=text)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="(default: all cores)")
    text = "time the steps on a device of torch's too, such as cuda (default: a GPU where there is one)"
    parser.add_argument("--device", help=text)
    parser.add_argument("--no-raft", action="store_true", help="leave RAFT out, with random weights, 12 iterations")
    parser.add_argument("--json", action="store_true", help="print JSON")


KINDS = {
    "codec": _codec,
    "slimmable": _slimmable,
    "training": _training,
    "translation": _translation,
    "flow": _flow,
}
"""Each adds the options of one benchmark to a parser."""

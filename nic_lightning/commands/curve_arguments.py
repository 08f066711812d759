"""Arguments of the commands of `nic` that compare codecs, and how each is called. Nothing here imports torch."""

from __future__ import annotations

import argparse
from pathlib import Path

_RUNS = "run folder, or a folder of runs"
_METRICS = ("psnr", "ms_ssim_db", "ms_ssim", "lpips", "accuracy")


def add_bd(parser: argparse.ArgumentParser) -> None:
    """Arguments of `nic bd`."""
    parser.description = (
        "Bjontegaard deltas of every curve against an anchor, over the quality or the rate that both cover, with a "
        "confidence interval by bootstrap over images. Published curves are means, and have none."
    )
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN", help=_RUNS)
    parser.add_argument(
        "--published",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME|FILE",
        help="curves that ship (vtm, bpg, bmshj2018-hyperprior, cheng2020-anchor, mbt2018-ms-ssim, ..., all), or .json "
        "in CompressAI's schema, or .csv with columns name, bpp, psnr, ms-ssim, lpips",
    )
    parser.add_argument("--dataset", metavar="NAME", help="only this data set (default: a table for each)")
    parser.add_argument(
        "--anchor", metavar="NAME", help="curve, run or codec (default: the first classic codec, else curve)"
    )
    parser.add_argument("--metric", choices=_METRICS, default="psnr", help="quality (default: psnr)")
    parser.add_argument(
        "--kind", choices=("rate", "quality"), default="rate", help="per cent of rate at equal quality, or the reverse"
    )
    parser.add_argument("--method", choices=("pchip", "akima", "cubic"), default="pchip", help="interpolation")
    parser.add_argument("--per-image", action="store_true", help="a delta for each image, and their mean")
    parser.add_argument("--draws", type=_count, default=1000, metavar="N", help="bootstrap draws; 0: no intervals")
    parser.add_argument("--seed", type=_count, default=0, metavar="N", help="of the draws (default: 0)")
    front = parser.add_mutually_exclusive_group()
    front.add_argument(
        "--pareto", action="store_true", help="join each codec's runs and keep the points that no other beats"
    )
    front.add_argument("--hull", action="store_true", help="the same, and of these the points on the convex hull")
    form = parser.add_mutually_exclusive_group()
    for name in ("json", "csv", "latex"):
        form.add_argument(f"--{name}", dest="form", action="store_const", const=name, help=f"print {name}")
    parser.set_defaults(run=_bd, form="text")


def add_results(parser: argparse.ArgumentParser) -> None:
    """Arguments of `nic results`."""
    parser.description = (
        "Write the rate-distortion curves of runs, means over images, a file each, in the schema of CompressAI's "
        "published results; nic bd --published reads them."
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help=_RUNS)
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="DIR", help="folder to write into")
    parser.add_argument("--format", choices=("json", "csv"), default="json", help="default: json")
    parser.add_argument("--dataset", metavar="NAME", help="only this data set")
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")
    parser.set_defaults(run=_results)


def add_fid(parser: argparse.ArgumentParser) -> None:
    """Arguments of `nic fid`."""
    parser.description = (
        "Frechet distance of decoded images from originals, in the features of a network whose weights you place; "
        "nothing is downloaded. Values of different networks, and of whole images and patches, do not compare."
    )
    parser.add_argument("originals", metavar="ORIGINALS", help="data set, or a folder of images")
    parser.add_argument("decoded", metavar="DECODED", help="folder of images, such as nic decompress writes")
    parser.add_argument(
        "--extractor", choices=("inception", "stargan", "alexnet"), default="inception", help="default: inception"
    )
    parser.add_argument("--weights", type=Path, metavar="FILE", help="its weights, .pth or .safetensors")
    parser.add_argument("--patches", action="store_true", help="FID/256: of patches of 256 x 256, on two grids")
    parser.add_argument("--device", default="cpu", help="default: cpu")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_fid)


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 100_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to 100,000")
    return int(text)


def _bd(args: argparse.Namespace) -> int:
    from nic_lightning.commands.bd import bd

    return bd(args)


def _results(args: argparse.Namespace) -> None:
    from nic_lightning.commands.results import results

    results(args.runs, args.out, args.format, args.dataset, args.overwrite)


def _fid(args: argparse.Namespace) -> None:
    from nic_lightning.data.catalog import locate

    for images in (args.originals, args.decoded):
        locate(images)  # before torch is imported
    from nic_lightning.commands.fid import fid

    options = {"extractor": args.extractor, "weights": args.weights, "patches": args.patches}
    fid(args.originals, args.decoded, **options, device=args.device, as_json=args.json)

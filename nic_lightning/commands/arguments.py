"""Arguments of the commands of `nic` that take a codec, and how each is called. Nothing here imports torch."""

from __future__ import annotations

import argparse
from pathlib import Path

from nic_lightning.commands.each import none_is_usable, read_file
from nic_lightning.runs.index.labels import require_labels, require_source


def add_inspect(parser: argparse.ArgumentParser) -> None:
    """Arguments of `nic inspect`."""
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="as for nic-train: codec=cae codec.width=48")
    parser.add_argument(
        "--run", dest="source", type=Path, metavar="RUN", help="instead: run folder, checkpoint or export"
    )
    parser.add_argument("--size", default="512x768", metavar="HxW", help="image height x width (default: 512x768)")
    parser.add_argument("--latency", action="store_true", help="also time each point on this machine, batch 1")
    parser.add_argument("--repeat", type=int, default=15, metavar="N", help="rounds that --latency takes (default: 15)")
    add_config_dir(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_inspect)


def add_config_dir(parser: argparse.ArgumentParser) -> None:
    """--config-dir, as nic-train has it."""
    text = "a folder of your own configs, such as codec/NAME.yaml, beside those of the package; may be repeated"
    parser.add_argument(
        "--config-dir", action="append", dest="config_dirs", type=Path, default=[], metavar="DIR", help=text
    )


def add_compress(parser: argparse.ArgumentParser) -> None:
    """Arguments of `nic compress`."""
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE")
    _add_coding(parser)
    target = parser.add_mutually_exclusive_group()
    target.add_argument("--point", metavar="LABEL", help="operating point, or any lambda of a continuous codec")
    target.add_argument("--mode", metavar="MODE", help="of a translation codec: translate, or autoencode")
    target.add_argument("--bpp", type=float, help="bits per pixel that each file shall have")
    target.add_argument("--psnr", type=float, help="PSNR in dB that each image shall have")
    parser.add_argument(
        "--max-macs",
        metavar="X",
        help="multiply-accumulates for each pixel of the image, both transforms together, such as 10k or 1.5M: the "
        "widest point of a slimmable codec that takes no more, or with --bpp or --psnr the best of those that do not",
    )
    parser.add_argument(
        "--max-latency-ms",
        type=float,
        metavar="X",
        help="the same for the time of both transforms, measured on this machine for the image's size; entropy coding "
        "is not counted",
    )
    parser.set_defaults(run=_compress)


def add_decompress(parser: argparse.ArgumentParser) -> None:
    """Arguments of `nic decompress`."""
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    _add_coding(parser)
    parser.add_argument("--layers", type=int, metavar="K", help="of layered files (codec=scalable): only the first K")
    parser.add_argument("--progressive", action="store_true", help="one PNG for each layer: NAME.layers1.png, ...")
    style = parser.add_argument_group("files of a translation codec (codec=i2icodec, codec=ui2icodec)")
    style.add_argument("--domain", metavar="NAME", help="translate into this domain; autoencoded files have none")
    style.add_argument(
        "--reference", type=Path, metavar="IMAGE", help="in the style of this image of the domain, about square"
    )
    style.add_argument("--seed", type=int, metavar="N", help="in random styles that follow from N (default: 0)")
    style.add_argument(
        "--samples", type=int, metavar="K", help="K random styles: NAME.DOMAIN.1.png, NAME.DOMAIN.2.png, ..."
    )
    parser.set_defaults(run=_decompress)


def add_truncate(parser: argparse.ArgumentParser) -> None:
    """Arguments of `nic truncate`."""
    parser.description = "Cut files that a scalable codec (codec=scalable) wrote; nothing is decoded."
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--layers", type=int, required=True, metavar="K", help="keep the first K")
    _add_writing(parser)
    parser.set_defaults(run=_truncate)


def add_export(parser: argparse.ArgumentParser) -> None:
    """Arguments of `nic export`."""
    parser.description = "Write a codec for use by nic_lightning.load_codec(DIR), nic compress --run DIR, and others."
    parser.add_argument("source", type=Path, metavar="RUN", help="run folder, checkpoint file or export folder")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="DIR", help="folder to make")
    parser.add_argument(
        "--width",
        type=int,
        metavar="W",
        help="of a slimmable codec: only what the widths up to this one use; of a scalable one, the first layers",
    )
    parser.add_argument(
        "--onnx",
        action="store_true",
        help="also g_a and g_s as ONNX, a pair of files a point, checked with onnxruntime; hyper transforms are left "
        "out, because decoding needs them in float64, for which onnxruntime has no convolutions",
    )
    parser.add_argument(
        "--point", action="append", dest="points", metavar="LABEL", help="only this point as ONNX; may be repeated"
    )
    parser.add_argument(
        "--half",
        choices=("sender", "receiver"),
        help="of a translation codec: what only encodes, or only decodes; the halves understand one another's files; "
        "of a scalable one: receiver, what only decodes",
    )
    parser.add_argument(
        "--domains",
        type=lambda text: text.split(","),
        metavar="A,B,...",
        help="RUN is a released checkpoint of StarGAN v2, ..._nets_ema.ckpt, of these domains, sorted as folders are",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an export that exists")
    parser.set_defaults(run=_export)


def add_grid(parser: argparse.ArgumentParser) -> None:
    """Arguments of `nic grid`."""
    parser.description = (
        "Pictures of translations: of one run its outputs in random styles and in those of references; of several what "
        "each makes of the same images in the same style, and at what rate. With -o RUN/figures/translation the report "
        "shows them."
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folder, checkpoint file or export")
    parser.add_argument("--images", required=True, metavar="DIR", help="folder that holds a folder for each domain")
    parser.add_argument("--sources", type=int, default=4, metavar="N", help="source images (default: 4)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the random styles (default: 0)")
    _add_writing(parser)
    parser.set_defaults(run=_grid)


def _add_coding(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run", dest="source", type=Path, required=True, help="run folder, checkpoint file or export")
    _add_writing(parser)


def _add_writing(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="DIR", help="folder to write into")
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")


def _inspect(args: argparse.Namespace) -> None:
    if args.source is not None:
        require_source(args.source)
    from nic_lightning.commands.inspect import inspect

    options = {"run": args.source, "latency": args.latency, "repeat": args.repeat, "as_json": args.json}
    options["config_dirs"] = args.config_dirs
    inspect(args.overrides, args.size, **options)


def _compress(args: argparse.Namespace) -> int:
    from nic_lightning.data.images import require_image

    require_source(args.source)
    require_labels(args.source, args.point and [args.point])
    if none_is_usable(args.images, require_image):
        return 2
    from nic_lightning.commands.files import compress

    target = {"point": args.point, "mode": args.mode, "bpp": args.bpp, "psnr": args.psnr}
    budget = {"max_macs": args.max_macs, "max_latency_ms": args.max_latency_ms}
    return compress(args.images, args.out, args.source, **target, **budget, overwrite=args.overwrite)


def _decompress(args: argparse.Namespace) -> int:
    from nic_lightning.bitstream import unpack

    require_source(args.source)
    if none_is_usable(args.files, lambda path: unpack(read_file(path))):
        return 2
    from nic_lightning.commands.files import decompress

    options = {"layers": args.layers, "progressive": args.progressive, "overwrite": args.overwrite}
    style = {"domain": args.domain, "reference": args.reference, "seed": args.seed, "samples": args.samples}
    return decompress(args.files, args.out, args.source, **options, **style)


def _grid(args: argparse.Namespace) -> None:
    for run in args.runs:
        require_source(run)
    from nic_lightning.commands.grid import grid

    grid(args.runs, args.images, args.out, sources=args.sources, seed=args.seed, overwrite=args.overwrite)


def _truncate(args: argparse.Namespace) -> int:
    from nic_lightning.commands.truncate import truncate

    return truncate(args.files, args.out, args.layers, overwrite=args.overwrite)


def _export(args: argparse.Namespace) -> None:
    require_source(args.source)
    require_labels(args.source, args.points)
    from nic_lightning.commands.export import export

    options = {
        "width": args.width,
        "half": args.half,
        "domains": args.domains,
        "onnx": args.onnx,
        "points": args.points,
    }
    options["overwrite"] = args.overwrite
    export(args.source, args.out, **options)

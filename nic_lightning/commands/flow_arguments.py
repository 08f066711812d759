"""Arguments of `nic flow`, and how it is called. Nothing here imports torch."""

from __future__ import annotations

import argparse
from pathlib import Path

FORMATS = ("flo", "kitti", "pfm", "png")
SHOWN = ("colours", "warped", "errors", "stages")


def add_flow(parser: argparse.ArgumentParser) -> None:
    """Arguments of `nic flow`."""
    parser.description = (
        "Optical flow from each frame to the next, a file for each; a video is read as it goes on. The same command "
        "again does what is missing. nic-evaluate flow=NAME measures a pipeline on a data set."
    )
    parser.add_argument(
        "frames", nargs="+", metavar="FRAMES", help="a folder, files in order, wildcards in quotes, or one video"
    )
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="DIR", help="folder to write into")
    text = "timcflow (default), simplified, dcflow, or another file of conf/flow, such as dis_medium"
    parser.add_argument("--config", default="timcflow", metavar="NAME", help=text)
    text = (
        "feature weights: DCFlow's .npz or .caffemodel, or sintel, kitti, or a run of task=flow_features; of "
        "raft_large, raft_small theirs"
    )
    parser.add_argument("--weights", metavar="FILE", help=text)
    text = "where the pipeline computes: cpu (default), cuda, cuda:1, or auto: a GPU where there is one"
    parser.add_argument("--device", metavar="DEVICE", help=text)
    text = "a setting of the pipeline, such as ratio=1 or max_displacement=60; may be repeated"
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE", help=text)
    text = "flo (default), kitti (16-bit PNG), pfm, or png: nothing but pictures"
    parser.add_argument("--format", choices=FORMATS, default="flo", help=text)
    text = (
        "pictures, with commas: colours (default) by the Middlebury wheel, warped, the next frame fetched along the "
        "flow, errors against --truth, stages, all of the pipeline's side by side; or none"
    )
    parser.add_argument("--show", default="colours", metavar="WHAT", help=text)
    text = "true flow: a folder of .flo, .png or .pfm files named like the frames, or, of two frames, one file"
    parser.add_argument("--truth", type=Path, metavar="PATH", help=text)
    text = "motion in pixels with full colour, the same in all pictures (default: each picture's largest)"
    parser.add_argument("--largest", type=float, metavar="PIXELS", help=text)
    parser.add_argument("--overwrite", action="store_true", help="make every file anew, also by other settings")
    parser.set_defaults(run=_flow)


def _flow(args: argparse.Namespace) -> int:
    from nic_lightning.commands.flow import Wishes, flow

    shown = tuple(word for word in args.show.split(",") if word != "none")
    wishes = Wishes(args.format, shown, args.truth, args.largest, args.overwrite)
    settings = args.settings if args.device is None else [*args.settings, f"device={args.device}"]
    return flow(args.frames, args.out, args.config, settings, args.weights, wishes)

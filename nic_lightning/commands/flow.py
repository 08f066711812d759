"""`nic flow`: optical flow of frames or a video."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from nic_lightning.commands.options import Out, Overwrite


def flow(
    frames: Annotated[list[str], Parameter(name="FRAMES")],
    /,
    *,
    out: Out,
    config: Annotated[str, Parameter(metavar="NAME")] = "timcflow",
    weights: Annotated[str | None, Parameter(metavar="FILE")] = None,
    device: Annotated[str | None, Parameter(metavar="DEVICE")] = None,
    settings: Annotated[tuple[str, ...], Parameter(name="--set", metavar="KEY=VALUE")] = (),
    form: Annotated[Literal["flo", "kitti", "pfm", "png"], Parameter(name="--format")] = "flo",
    show: Annotated[str, Parameter(metavar="WHAT")] = "colours",
    truth: Annotated[Path | None, Parameter(metavar="PATH")] = None,
    largest: Annotated[float | None, Parameter(metavar="PIXELS")] = None,
    overwrite: Overwrite = False,
) -> int:
    """Write optical flow from each frame to the next, a file for each; a video is read as it goes on.

    The same command again does what is missing. nic-evaluate flow=NAME measures a pipeline on a data set.

    Args:
        frames: a folder, files in order, wildcards in quotes, or one video
        out: folder to write into
        config: timcflow, simplified, dcflow, or another file of conf/flow, such as dis_medium
        weights: feature weights: DCFlow's .npz or .caffemodel, or sintel, kitti, or a run of task=flow_features; of
            raft_large, raft_small theirs
        device: where the pipeline computes: cpu (default), cuda, cuda:1, or auto: a GPU where there is one
        settings: a setting of the pipeline, such as ratio=1 or max_displacement=60; may be repeated
        form: flo, kitti (16-bit PNG), pfm, or png: nothing but pictures
        show: pictures, with commas: colours by the Middlebury wheel, warped, the next frame fetched along the flow,
            errors against --truth, stages, all of the pipeline's side by side; or none
        truth: true flow: a folder of .flo, .png or .pfm files named like the frames, or, of two frames, one file
        largest: motion in pixels with full colour, the same in all pictures (default: each picture's largest)
        overwrite: make every file anew, also by other settings

    Examples:
        nic flow frames -o flow --show colours,stages
        nic flow video.mp4 -o flow --config dis_medium --set max_displacement=60
    """
    from nic_lightning.commands.flow_files import Wishes, write_flows

    shown = tuple(word for word in show.split(",") if word != "none")
    wishes = Wishes(form, shown, truth, largest, overwrite)
    chosen = [*settings] if device is None else [*settings, f"device={device}"]
    return write_flows(frames, out, config, chosen, weights, wishes)

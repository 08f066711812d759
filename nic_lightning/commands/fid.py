"""`nic fid`: Fréchet distance of decoded images from originals."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from nic_lightning.commands.options import Json
from nic_lightning.data.catalog import locate
from nic_lightning.errors import DataError


def fid(
    originals: Annotated[str, Parameter(name="ORIGINALS")],
    decoded: Annotated[str, Parameter(name="DECODED")],
    /,
    *,
    extractor: Literal["inception", "stargan", "alexnet"] = "inception",
    weights: Annotated[Path | None, Parameter(metavar="FILE")] = None,
    patches: bool = False,
    device: Annotated[str, Parameter(metavar="DEVICE")] = "cpu",
    as_json: Json = False,
) -> None:
    """Print the Fréchet distance of decoded images from originals, how many images it is of, and why not to trust it.

    It is taken in the features of a network whose weights you place; nothing is downloaded. Values of different
    networks, and of whole images and patches, do not compare.

    Args:
        originals: data set, or a folder of images
        decoded: folder of images, such as nic decompress writes
        extractor: the network
        weights: its weights, .pth or .safetensors
        patches: FID/256: of patches of 256 x 256, on two grids
        device: where to compute: cpu, cuda, cuda:1
        as_json: print JSON

    Examples:
        nic fid kodak decoded --weights inception.pth --patches

    Raises:
        DataError: a set or the weights are missing, or a set has fewer than two images or patches.
        UserError: there is no such device.
    """
    for images in (originals, decoded):
        locate(images)  # before torch is imported
    from nic_lightning.data.datasets import evaluation_set
    from nic_lightning.layers.device import checked_device
    from nic_lightning.metrics.extractors import load_extractor
    from nic_lightning.metrics.fid import Fid, PatchFid

    place = checked_device(device)
    sets = {True: evaluation_set(originals), False: evaluation_set(decoded)}
    metric = (PatchFid if patches else Fid)(load_extractor(extractor, weights)).to(place)
    for real, images in sets.items():
        for _, image in images:
            metric.update(image[None].to(place), real=real)
    found = metric.result()
    if min(found.real, found.fake) < 2:
        raise DataError(
            f"A distance needs two {metric.unit} on each side; {originals} has {found.real}, "
            f"{decoded} has {found.fake}."
        )
    if as_json:
        print(json.dumps(asdict(found), indent=2))
        return
    print(f"{found.name}: {found.value:.4f} ({found.fake} {metric.unit} of {decoded}, {found.real} of {originals})")
    if found.note:
        print(f"Note: {found.note}")

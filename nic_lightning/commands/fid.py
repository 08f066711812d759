"""`nic fid`: Fréchet distance of one set of images from another."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from nic_lightning.data.datasets import evaluation_set
from nic_lightning.errors import DataError
from nic_lightning.layers.device import checked_device
from nic_lightning.metrics.extractors import load_extractor
from nic_lightning.metrics.fid import Fid, PatchFid


def fid(
    originals: str, decoded: str, *, extractor: str, weights: Path | None, patches: bool, device: str, as_json: bool
) -> None:
    """Print the distance under its true name, how many images it is of, and why not to trust it.

    Raises:
        DataError: a set or the weights are missing, or a set has fewer than two images or patches.
        UserError: there is no such device.
    """
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

"""Published rate-distortion curves to draw and judge runs against: those that ship, and those of files.

Those that ship are CompressAI's results on Kodak and CLIC 2020 professional (assets/published.csv, which names the file
of every curve; BSD-3-Clause-Clear, assets/published.LICENSE). No torch needed.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path

from nic_lightning.errors import UserError, choices
from nic_lightning.media.base import Medium
from nic_lightning.report.curves.curve import IMAGE, Curve
from nic_lightning.report.curves.curve_reader import read_curves, same_dataset

SUFFIXES = (".json", ".csv")


def published_curves(wanted: Iterable[str | Path], dataset: str, medium: Medium = IMAGE) -> list[Curve]:
    """Published curves of a data set, each once, "(published)" behind their names.

    Args:
        wanted: names of curves that ship, such as "vtm" or "cheng2020-anchor-mse" (or "cheng2020-anchor": the one
            trained for MSE; else the only one, whose `note` says what it was trained for), "all" of them, and paths of
            files (`report/curves/curve_reader.py`).
        dataset: name of the data set; capitals do not count, and "_" is "-". A file that names none is of this one.
        medium: what the curves there are of; others are never drawn or compared beside them.

    Raises:
        UserError: there is no such curve on the data set, or a file holds none.
    """
    found: list[Curve] = []
    for name in map(str, wanted):
        if Path(name).suffix.lower() in SUFFIXES:
            read = read_curves(name, dataset)
            here = [curve for curve in read if same_dataset(curve.dataset, dataset)]
            if not here:
                sets = ", ".join(dict.fromkeys(curve.dataset for curve in read))
                raise UserError(f"{name} holds no curve on {dataset}; it is about {sets}.")
        else:
            here = _shipped(name, dataset)
        for curve in here:
            if curve.medium != medium:
                raise UserError(
                    f"{name} has curves of {curve.medium.items}, and {dataset} was measured on {medium.items}."
                )
        found += [replace(curve, dataset=dataset, name=f"{curve.name} (published)") for curve in here]
    return _named_apart(list({(curve.name, curve.source): curve for curve in found}.values()))


def published_names(dataset: str | None = None) -> list[str]:
    """Names of the curves that ship, of one data set or of all."""
    return list(dict.fromkeys(c.name for c in library() if dataset is None or same_dataset(c.dataset, dataset)))


def published_datasets() -> list[str]:
    """Data sets that curves ship for."""
    return list(dict.fromkeys(curve.dataset for curve in library()))


@cache
def library() -> tuple[Curve, ...]:
    """All curves that ship; names are unique on a data set."""
    with as_file(files("nic_lightning.report") / "assets" / "published.csv") as path:
        return tuple(read_curves(path))


def _shipped(name: str, dataset: str) -> list[Curve]:
    known = published_names(dataset)
    if not known:
        raise UserError(
            f"No published curve on {dataset} ships, only on {', '.join(published_datasets())}: measure the runs there "
            "(nic-evaluate run=RUN 'evaluation.datasets=[kodak]'), or give a file of curves."
        )
    begun = [one for one in known if one.startswith(f"{name}-")]
    chosen = known if name == "all" else [one for one in (name, f"{name}-mse") if one in known][:1]
    note = ""
    if not chosen and len(begun) == 1:
        chosen = begun
        note = f"{name} is {begun[0]}: no other model of that name ships for {dataset}."
        if begun[0].endswith("-ms-ssim"):
            note = f"{name} is {begun[0]}, trained for MS-SSIM: no model of it trained for MSE ships for {dataset}."
    if not chosen:
        near = difflib.get_close_matches(name, known, n=1)
        offer = choices(name, known)
        hint = f"Did you mean {near[0]!r}?" if near else f"{offer[0].upper()}{offer[1:]}."
        raise UserError(
            f"No published curve on {dataset} is named {name!r}. {hint} The name all takes every one, and files of "
            "curves can be given by their path."
        )
    here = [curve for curve in library() if same_dataset(curve.dataset, dataset)]
    return [replace(curve, note=note) for curve in here if curve.name in chosen]


def _named_apart(found: list[Curve]) -> list[Curve]:
    """Curves of different files may share a name."""
    for i, curve in enumerate(found):
        twins = sum(other.name == curve.name for other in found[:i])
        if twins:
            found[i] = replace(curve, name=f"{curve.name} #{twins + 1}")
    return found

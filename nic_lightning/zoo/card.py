"""card.json of a model: what it is for, how it was made, what was measured, what it cannot do. Read strictly."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from nic_lightning.errors import RunError

CARD = "card.json"
SCHEMA = 1
MAX_JSON = 1 << 20
"""Bytes of a JSON file in the zoo that are read at most."""
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_FINGERPRINT = re.compile(r"[0-9a-f]{16}")
_COLUMN = re.compile(r"[a-z][a-z0-9_]{0,39}")


@dataclass(frozen=True)
class Training:
    """How a model was trained."""

    data: str
    """Which data, how many inputs, and under which terms."""
    command: str
    commit: str
    """Of nic_lightning."""
    steps: int
    hours: float
    machine: str


@dataclass(frozen=True)
class Measured:
    """What was measured on one data set, with real files."""

    dataset: str
    rows: tuple[Mapping[str, str | float], ...]
    """From the lowest rate to the highest: the text "point", and the same numbers in every row, named after columns of
    results tables, such as "bpp", "psnr", "ms_ssim_db"."""
    bd_rate: Mapping[str, float]
    """Bjontegaard delta rate in per cent against other codecs, by their name in conf/codec; negative: fewer bits."""


@dataclass(frozen=True)
class Card:
    """A model's card."""

    name: str
    medium: str
    title: str
    purpose: str
    licence: str
    """Of the weights."""
    training: Training
    fingerprint: str
    """In the header of its files, 16 hexadecimal digits."""
    measured: tuple[Measured, ...]
    limits: tuple[str, ...]
    """What it cannot do, a sentence each."""


def read_json(file: Path) -> dict[str, Any]:
    """An object of a JSON file of at most MAX_JSON bytes; RunError for anything else, and for a link."""
    try:
        if file.is_symlink() or not file.is_file():
            raise RunError(f"{file} is no ordinary file: a model of the zoo has one.")
        with file.open("rb") as stream:
            data = stream.read(MAX_JSON + 1)
        if len(data) > MAX_JSON:
            raise RunError(f"{file} is longer than {MAX_JSON:,} bytes and was not read.")
        found = json.loads(data.decode())
    except OSError as error:
        raise RunError(f"{file} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise RunError(f"{file} is not JSON: it is cut or altered.") from error
    if not isinstance(found, dict):
        raise RunError(f"{file} holds no JSON object.")
    return found


def read_card(folder: Path) -> Card:
    """The card of the model in `folder`, which has the model's name; RunError that names what is wrong with it."""
    file = folder / CARD
    found = read_json(file)
    if found.pop("schema", None) != SCHEMA:
        raise RunError(f"{file} is no card of schema {SCHEMA}.")
    try:
        card = _card(found)
        if card.name != folder.name:
            raise _Wrong(f"its name is {card.name!r}, not its folder's")
    except _Wrong as error:
        raise RunError(f"{file} is no card of a model: {error}.") from error
    return card


class _Wrong(ValueError):
    """What is wrong with a card, as the end of a sentence."""


def _card(found: dict[str, Any]) -> Card:
    _require_keys(found, Card, "the card")
    texts = {key: _text(found, key) for key in ("name", "medium", "title", "purpose", "licence", "fingerprint")}
    if not NAME.fullmatch(texts["name"]):
        raise _Wrong("name has other signs than small letters, digits, - and _")
    if not _FINGERPRINT.fullmatch(texts["fingerprint"]):
        raise _Wrong("fingerprint is not 16 hexadecimal digits")
    measured = tuple(_measured(one) for one in _list(found, "measured"))
    limits = tuple(_text({"limits": one}, "limits") for one in _list(found, "limits"))
    return Card(**texts, training=_training(found["training"]), measured=measured, limits=limits)


def _training(found: Any) -> Training:
    _require_keys(found, Training, "training")
    texts = {key: _text(found, key) for key in ("data", "command", "commit", "machine")}
    steps, hours = found["steps"], _number(found, "hours")
    if type(steps) is not int or steps < 1 or hours <= 0:
        raise _Wrong("steps is a whole number and hours a number, both above 0")
    return Training(**texts, steps=steps, hours=hours)


def _measured(found: Any) -> Measured:
    _require_keys(found, Measured, "measured")
    rows = tuple(_row(row) for row in _list(found, "rows"))
    if not rows or any(row.keys() != rows[0].keys() for row in rows):
        raise _Wrong("rows of one data set are missing, or differ in their columns")
    deltas = found["bd_rate"]
    if not isinstance(deltas, dict):
        raise _Wrong("bd_rate is no object")
    return Measured(_text(found, "dataset"), rows, {name: _number(deltas, name) for name in deltas})


def _row(found: Any) -> Mapping[str, str | float]:
    if not isinstance(found, dict) or len(found) < 2:
        raise _Wrong("a row is no object of a point and its numbers")
    point = _text(found, "point")
    if wrong := [key for key in found if not _COLUMN.fullmatch(key)]:
        raise _Wrong(f"{wrong[0]!r} is no column")
    return {"point": point} | {key: _number(found, key) for key in found if key != "point"}


def _require_keys(found: Any, kind: type[Card] | type[Training] | type[Measured], what: str) -> None:
    wanted = {field.name for field in fields(kind)}
    if not isinstance(found, dict) or found.keys() != wanted:
        differing = sorted(map(str, found.keys() ^ wanted)) if isinstance(found, dict) else sorted(wanted)
        raise _Wrong(f"{what} lacks or should not have {', '.join(differing)[:200]}")


def _text(found: Mapping[str, Any], key: str) -> str:
    value = found.get(key)
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise _Wrong(f"{key} is no line of text")
    return value


def _number(found: Mapping[str, Any], key: str) -> float:
    value: Any = found.get(key)
    if type(value) not in (int, float) or not math.isfinite(value):
        raise _Wrong(f"{key} is no number")
    return float(value)


def _list(found: Mapping[str, Any], key: str) -> list[Any]:
    value = found[key]
    if not isinstance(value, list):
        raise _Wrong(f"{key} is no list")
    return value

"""Reading curves of means from files: CompressAI's JSON, one curve a file, and CSV, a line for each point.

JSON: {"name", "description", "meta": {...}, "meta_": {key: [a value for each point]}, "results": {key: [...]}}. A CSV
file has a column for each key, and may hold several curves, told apart by `name` and `dataset`. Keys are those of
`curve_names.py`; others are ignored. The files may come from anybody. No torch needed.
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nic_lightning.errors import UserError
from nic_lightning.media.base import Medium, find_medium
from nic_lightning.report.curves.curve import Curve, empty_point, to_db
from nic_lightning.report.curves.curve_names import COUNTS, DISTANCES, NUMBERS, TEXTS, canonical, keys_of, quality_names
from nic_lightning.runs.record.text import printable

MAX_BYTES = 4 * 2**20
MAX_CURVES, MAX_POINTS = 200, 1000
_MAX_TEXT = 200
_WORDS = ("label", "point", "mode", "run")
"""Columns of a CSV file that are text, whatever it looks like."""
_LABELS = ("label", "point", "lambda", "quality")
_CLASSIC = {"jpeg", "jpeg2000", "jpegxl", "jxl", "webp", "bpg", "vtm", "vvc", "hm", "hevc", "av1", "avif", "vp9"}

Table = dict[str, list[Any]]


def read_curves(path: str | Path, dataset: str | None = None) -> list[Curve]:
    """Published curves of a file.

    Args:
        path: .json in CompressAI's schema, or .csv.
        dataset: data set of curves whose file names none, and its spelling where the file's differs.

    Raises:
        UserError: the file is missing, too large, damaged, or holds something that is no curve; the sentence says what.
    """
    path = Path(path)
    text = _read(path)
    try:
        found = _json_curve(text, path) if path.suffix.lower() == ".json" else _csv_curves(text, path)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    for curve in found:
        if dataset and same_dataset(curve.dataset or dataset, dataset):
            curve.dataset = dataset
    return found


def same_dataset(first: str, second: str) -> bool:
    """Whether two names mean one data set: capitals do not count, and "_" is "-"."""
    return first.lower().replace("_", "-") == second.lower().replace("_", "-")


def is_classic(name: str) -> bool:
    """Whether a curve of that name is a classic codec's, such as "BPG 8b 444 x265 ycbcr"."""
    words = re.findall(r"[a-z0-9]+", name.lower())
    return bool(words) and words[0] in _CLASSIC


def _read(path: Path) -> str:
    try:
        if not path.is_file():
            raise UserError(f"{path} is missing, or no file.")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
    if len(data) > MAX_BYTES:
        raise UserError(f"{path} is longer than {MAX_BYTES:,} bytes, more than any file of curves.")
    if path.suffix.lower() not in (".json", ".csv"):
        raise UserError(f"{path} is neither .json in CompressAI's schema nor .csv.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{path} is no text in UTF-8.") from None


def _json_curve(text: str, path: Path) -> list[Curve]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        raise UserError("it is not JSON.") from None
    results = content.get("results") if isinstance(content, dict) else None
    if not isinstance(results, dict) or not all(isinstance(key, str) for key in results):
        raise UserError('it lacks CompressAI\'s "results", a list of values for each key.')
    meta, varying = (content.get(key) if isinstance(content.get(key), dict) else {} for key in ("meta", "meta_"))
    lists = {canonical(key): value for key, value in {**(varying or {}), **results}.items() if isinstance(value, list)}
    medium = find_medium(_text((meta or {}).get("medium")) or None)
    rate = canonical(medium.rate.key)
    count = len(lists.get(rate, []))
    uneven = [key for key in _known(lists, medium) if len(lists[key]) != count]
    if count and uneven:
        raise UserError(f"it has {count} values of {rate} but {len(lists[uneven[0]])} of {uneven[0]}.")
    curve = _curve(_text(content.get("name")) or path.stem, lists, count, medium)
    _tell(curve, meta or {})
    curve.source = ": ".join(filter(None, [path.name, _text(content.get("description"))]))
    return [curve]


def _tell(curve: Curve, meta: Mapping[str, Any]) -> None:
    """What a file says of its curve as a whole."""
    curve.dataset, curve.codec = _text(meta.get("dataset")), _text(meta.get("codec")) or curve.name
    curve.experiment = _text(meta.get("experiment")) or None
    runs = meta.get("runs")
    curve.runs = [_text(run) for run in runs[:MAX_POINTS]] if isinstance(runs, list) else []
    if isinstance(meta.get("classic"), bool):
        curve.classic = meta["classic"]


def _csv_curves(text: str, path: Path) -> list[Curve]:
    lines = (line for line in text.splitlines() if not line.startswith("#"))
    try:
        rows = list(csv.DictReader(lines))
    except csv.Error as error:
        raise UserError(f"it is no CSV: {error}.") from None
    _check_headings(list(rows[0]) if rows else [], _medium_of(rows[0]) if rows else find_medium(None))
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        plain = {canonical(key): value for key, value in row.items() if key is not None and isinstance(value, str)}
        name = next((plain[key] for key in ("name", "codec", "method") if plain.get(key)), path.stem)
        groups.setdefault((_text(plain.get("dataset")), _text(name)), []).append(plain)
    if len(groups) > MAX_CURVES:
        raise UserError(f"it holds {len(groups)} curves; more than {MAX_CURVES} are not read.")
    found = []
    for (dataset, name), group in groups.items():
        lists: Table = {key: [_cell(key, row.get(key)) for row in group] for key in group[0]}
        curve = _curve(name, lists, len(group), _medium_of(group[0]))
        _tell(curve, {**group[0], "dataset": dataset})
        curve.source = _text(group[0].get("source")) or path.name
        found.append(curve)
    if not found:
        raise UserError("it holds no point.")
    return found


def _medium_of(row: Mapping[str, Any]) -> Medium:
    """What a line of a table says that its curve is of; images where it says nothing."""
    return find_medium(_text(row.get("medium")) or None)


def _check_headings(found: Sequence[str | None], medium: Medium) -> None:
    """Refuse a table without a rate or a quality, with the columns that it has and those that are taken."""
    plain = [canonical(heading) for heading in found if heading is not None]
    rate, names = canonical(medium.rate.key), quality_names(medium)
    if not plain or (rate in plain and any(heading in names for heading in plain)):
        return  # an empty table has a sentence of its own
    shown = ", ".join(repr(_text(heading)[:60]) for heading in plain[:8]) + (", ..." if len(plain) > 8 else "")
    other = next((sign for sign in ";\t|" if sign in plain[0]), None)
    way = f" Its signs {other!r} separate no columns: use commas." if other else ""
    taken = ", ".join([rate, *names])
    raise UserError(f"its columns are {shown}; it needs {rate} and one quality of those that are taken: {taken}.{way}")


def _cell(key: str, text: str | None) -> Any:
    """A number where it is one."""
    if text is None or not text.strip():
        return None
    if key in _WORDS:
        return text
    try:
        return float(text) if re.search(r"[.a-zA-Z]", text) else int(text)
    except ValueError:
        return text


def _curve(name: str, lists: Table, count: int, medium: Medium) -> Curve:
    """One published curve from a list for each key, all of the same length."""
    rate = canonical(medium.rate.key)
    if not count or rate not in lists:
        keys = ", ".join(_text(key)[:40] for key in list(lists)[:8]) or "none"
        raise UserError(f"the curve {name!r} has no values of {rate}; its keys are {keys}.")
    if count > MAX_POINTS:
        raise UserError(f"the curve {name!r} has {count} points; more than {MAX_POINTS} are not read.")
    keys = keys_of(medium)
    columns = {key: _numbers(lists, names, name, count) for key, names in keys.items()}
    if any(value is None or value <= 0 for value in columns[medium.rate.key]):
        raise UserError(f"the curve {name!r} has a rate that is not above 0 {medium.rate.unit}.")
    db_of_mean = "ms_ssim" in columns and _settle_ms_ssim(columns, lists, name)
    for ours, theirs in (("encode_ms", "encoding-time"), ("decode_ms", "decoding-time")):
        if all(value is None for value in columns[ours]):
            columns[ours] = [None if s is None else 1000 * s for s in _numbers(lists, (theirs,), name, count)]
    if all(value is None for key in medium.compared for value in columns[key]):
        raise UserError(
            f"the curve {name!r} has no quality: none of {', '.join(keys[one.key][0] for one in medium.qualities)}."
        )
    points = [
        empty_point(medium) | {key: column[i] for key, column in columns.items()} | _fields(lists, i)
        for i in range(count)
    ]
    points.sort(key=lambda point: point[medium.rate.key] or 0.0)
    return Curve(
        name=name,
        dataset="",
        codec=name,
        experiment=None,
        runs=[],
        classic=is_classic(name),
        points=points,
        published=True,
        db_of_mean=db_of_mean,
        medium=medium,
    )


def _numbers(lists: Table, names: Iterable[str], curve: str, count: int) -> list[float | None]:
    """The first list that is there, as finite floats; all None where there is none."""
    key = next((name for name in names if name in lists), None)
    if key is None:
        return [None] * count
    made: list[float | None] = []
    for value in lists[key]:
        if value is None:
            made.append(None)
            continue
        finite = _finite(value)
        if finite is None:
            raise UserError(f"the curve {curve!r} has {key} {str(value)[:40]!r}, which is no finite number.")
        made.append(finite)
    return made


def _settle_ms_ssim(columns: dict[str, list[float | None]], lists: Table, name: str) -> bool:
    """MS-SSIM and its dB from what the file has; True where the dB is that of a mean.

    "ms-ssim" up to 1 is MS-SSIM itself, above 1 it is dB; "1-ms-ssim" is its distance from 1.
    """
    distance = _numbers(lists, DISTANCES, name, len(columns["bpp"]))
    if any(value is not None for value in distance):
        columns["ms_ssim"] = [None if value is None else 1 - value for value in distance]
    told = [value for value in columns["ms_ssim"] if value is not None]
    if not told:
        return False
    if max(told) > 1:
        if min(told) <= 1:
            raise UserError(f"the curve {name!r} has MS-SSIM both up to 1 and above: is it in dB or not?")
        columns["ms_ssim_db"], columns["ms_ssim"] = columns["ms_ssim"], [None] * len(columns["ms_ssim"])
        return False
    rates = [rate for rate, value in zip(columns["bpp"], columns["ms_ssim"], strict=True) if value is not None]
    ordered = [value for _, value in sorted(zip(rates, told, strict=True), key=lambda pair: pair[0] or 0)]
    if len(ordered) > 1 and ordered[-1] < ordered[0]:
        raise UserError(
            f"the MS-SSIM of {name!r} falls with the rate; if it is the distance from 1, name it 1-ms-ssim."
        )
    if any(value is not None for value in columns["ms_ssim_db"]):
        return False
    columns["ms_ssim_db"] = [None if value is None or value >= 1 else to_db(value) for value in columns["ms_ssim"]]
    return True


def _fields(lists: Table, i: int) -> dict[str, Any]:
    """What else is known of a point; its label is its place in the file where it has none."""
    at = {key: lists[key][i] for key in lists if len(lists[key]) > i}
    made: dict[str, Any] = {key: _text(at.get(canonical(key))) or None for key in TEXTS}
    made |= {key: _finite(at.get(canonical(key))) for key in (*NUMBERS, *COUNTS)}
    made |= {key: int(made[key]) for key in COUNTS if made[key] is not None}
    made["label"] = next((_text(at[key]) for key in _LABELS if at.get(key) is not None), str(i + 1))
    return made


def _known(lists: Mapping[str, Any], medium: Medium) -> list[str]:
    """Names in the lists that mean something here."""
    names = [name for names in keys_of(medium).values() for name in names]
    return [key for key in lists if key in (*names, "1-ms-ssim", "encoding-time", "decoding-time")]


def _text(value: Any) -> str:
    """A short text without control characters; empty for what is neither text nor number."""
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        return ""
    return printable(str(value), _MAX_TEXT).strip()


def _finite(value: Any) -> float | None:
    """A float; None for what is no finite number."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        made = float(value)
    except OverflowError:
        return None
    return made if math.isfinite(made) else None

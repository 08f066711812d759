"""Labels of operating points as a run or an export records them, to refuse a wrong one before torch is imported."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nic_lightning.errors import RunError, UserError
from nic_lightning.runs.index.owner import EXPORT
from nic_lightning.runs.record.files import read_inside
from nic_lightning.zoo import no_source, source_of

POINTS, CONTINUOUS = "operating_points", "lambda_is_continuous"
"""Keys of environment.json."""
_MAX_BYTES = 2**24


def point_facts(labels: Sequence[str], continuous: bool) -> dict[str, Any]:
    """What environment.json says of a codec's points."""
    return {POINTS: list(labels), CONTINUOUS: continuous}


def require_source(source: Path) -> None:
    """Raise RunError where a run, checkpoint, export or model of the zoo does not exist."""
    if not source_of(source).exists():
        raise RunError(no_source(source))


def require_labels(source: Path, labels: Sequence[str] | None) -> None:
    """Raise UserError for a label that the codec of a run or export surely does not have; of other codecs, nothing.

    The codec itself judges a number, where its lambda may be continuous, and what an older run did not record.
    """
    facts = _facts(source)
    known = facts.get(POINTS)
    if not labels or not isinstance(known, list):
        return
    names = [str(point.get("label") if isinstance(point, Mapping) else point) for point in known]
    for label in map(str, labels):
        if label not in names and not (facts.get(CONTINUOUS, True) and _is_number(label)):
            raise UserError(f"The codec has no operating point {label!r}; it has {', '.join(names)[:1000]}.")


def _facts(source: Path) -> dict[str, Any]:
    source = source_of(source)
    folder = source if source.is_dir() else source.parent.parent
    name = EXPORT if (folder / EXPORT).exists() else "environment.json"
    try:
        found = json.loads(read_inside(folder, name, _MAX_BYTES))
    except (RunError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _is_number(label: str) -> bool:
    try:
        float(label)
    except ValueError:
        return False
    return True

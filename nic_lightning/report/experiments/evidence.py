"""experiments/evidence.yaml: of every table and figure of three works what was published, and what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import yaml

from nic_lightning.errors import UserError, choices

VERDICTS = ("reproduced", "trend at small scale", "needs data or GPU", "cannot be reproduced", "open")
"""What a measurement shows; "open": nothing was run yet."""
NONE = "-"
"""What stands where there is nothing."""
CHECKOUT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Evidence:
    """A row. `record` is a file in experiments/ that holds what was measured, `date` and `commit` when it was made."""

    item: str
    shows: str
    command: str
    data: str
    cost: str
    published: str
    measured: str
    record: str
    date: str
    commit: str
    verdict: str
    why: str

    @property
    def name(self) -> str:
        """What commands call it: "thesis, figure 2.3" is thesis-figure-2.3."""
        return self.item.replace(",", "").replace(" ", "-")


def read_evidence(folder: Path = CHECKOUT / "experiments") -> list[Evidence]:
    """All rows; UserError where there is no checkout, or the file is damaged."""
    file = folder / "evidence.yaml"
    if not file.is_file():
        raise UserError("There is no folder experiments/ here: it is part of the repository, not of the package.")
    try:
        rows = yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise UserError(f"{file} is no YAML file: {' '.join(str(error).split())[:200]}") from error
    names = [field.name for field in fields(Evidence)]
    for row in rows if isinstance(rows, list) else [None]:
        if not isinstance(row, dict) or list(row) != names or not all(isinstance(v, str) and v for v in row.values()):
            item = row.get("item") if isinstance(row, dict) else None
            raise UserError(f"{file}: {item or 'a row'} does not have the texts {', '.join(names)}, in this order.")
        if row["verdict"] not in VERDICTS:
            raise UserError(f"{file}: {row['item']} has the verdict {row['verdict']!r}; {choices('', VERDICTS)}.")
    return [Evidence(**row) for row in rows]


def find(name: str, rows: Sequence[Evidence]) -> Evidence:
    """The row of a name; UserError that offers names near it."""
    by_name = {row.name: row for row in rows}
    if name not in by_name:
        raise UserError(f"There is no table or figure {name!r}; {choices(name, by_name)}.")
    return by_name[name]


def markdown(rows: Sequence[Evidence]) -> str:
    """The table of experiments/README.md."""
    lines = [
        "| table or figure | shows | published | measured here | verdict | why | record | command | data | cost |",
        "|" + "---|" * 10,
    ]
    for row in rows:
        record = NONE if row.record == NONE else f"[{row.record}]({row.record}), {row.date}, {row.commit}"
        command = NONE if row.command == NONE else f"`{row.command}`"
        cells = (row.item, row.shows, row.published, row.measured, row.verdict, row.why, record, command)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in (*cells, row.data, row.cost)) + " |")
    return "\n".join(lines)

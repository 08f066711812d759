"""`nic runs sql`: one SELECT over the records of runs."""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Sequence
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from nic_lightning.commands.options import exclusive
from nic_lightning.errors import counted
from nic_lightning.runs.index.index import about_links
from nic_lightning.runs.index.overview import columns
from nic_lightning.runs.query.database import Answer, ask
from nic_lightning.runs.record.text import printable

_MOST = 100_000
_SHOWN_PROBLEMS = 10
_FORMAT = exclusive("Output")


def _rows_at_most(type_: Any, value: Any) -> None:
    if not 1 <= value <= _MOST:
        raise ValueError(f"is a whole number from 1 to {_MOST:,}, not {value}.")


def _seconds(type_: Any, value: Any) -> None:
    if not 0 < value <= 86_400:
        raise ValueError(f"is a number of seconds above 0 and up to 86,400, not {value}.")


def sql(
    query: Annotated[str, Parameter(name="QUERY")],
    /,
    *,
    root: Annotated[Path, Parameter(name="--root", metavar="DIR")] = Path("runs"),
    as_json: Annotated[bool, Parameter(name="--json", group=_FORMAT)] = False,
    as_csv: Annotated[bool, Parameter(name="--csv", group=_FORMAT)] = False,
    limit: Annotated[int, Parameter(metavar="N", validator=_rows_at_most)] = 1000,
    timeout: Annotated[float, Parameter(metavar="SECONDS", validator=_seconds)] = 30.0,
) -> None:
    """Print what a SELECT gives over tables of runs: runs, configs, metrics, results. DuckDB runs it; it only reads.

    Args:
        query: one SELECT in DuckDB's SQL; "describe results" lists columns
        root: a folder of runs
        as_json: print a JSON list of rows
        as_csv: print CSV
        limit: rows at most
        timeout: seconds at most, reading included

    Examples:
        nic runs sql "select name, state, steps, loss from runs order by loss"
        nic runs sql "select run, label, avg(bpp), avg(psnr) from results group by all order by all" --csv

    Raises:
        UserError: the query is wrong, no SELECT, or takes too long.
        RunError: there is no run.
    """
    answer = ask(query, root, limit, timeout)
    _say(answer, root, limit)
    if as_json:
        print(json.dumps([dict(zip(answer.columns, map(_plain, row), strict=True)) for row in answer.rows], indent=2))
    elif as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(answer.columns)
        writer.writerows([_text(value) for value in row] for row in answer.rows)
    else:
        print(table(answer.columns, answer.rows))


def table(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Columns below their names; numbers to the right, five digits of fractions, "-" for what is missing."""
    cells = [list(names), *([_shown(value) for value in row] for row in rows)]
    for place in range(len(names)):
        if rows and all(_is_number(row[place]) or row[place] is None for row in rows):
            width = max(len(line[place]) for line in cells)
            for line in cells:
                line[place] = line[place].rjust(width)
    return columns(cells)


def _say(answer: Answer, root: Path, limit: int) -> None:
    """On the error stream, so that what is printed can be read by programs: what the answer leaves out."""
    problems = answer.problems
    for sentence in [*about_links([root]), *problems[:_SHOWN_PROBLEMS]]:
        print(printable(sentence, 500), file=sys.stderr)
    if len(problems) > _SHOWN_PROBLEMS:
        print(f"{counted(len(problems) - _SHOWN_PROBLEMS, 'problem')} more of runs.", file=sys.stderr)
    if answer.more:
        print(f"There are more rows than {limit:,}; --limit N shows up to {_MOST:,}.", file=sys.stderr)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.5g}" if isinstance(value, float) and not value.is_integer() else _text(value)


def _text(value: Any) -> str:
    """A value in a table of text: nothing for NULL, nested ones as JSON."""
    plain = _plain(value)
    if plain is None:
        return ""
    return plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)


def _plain(value: Any) -> Any:
    """A value for strict JSON: whole decimals as numbers, times in ISO 8601, bytes in hexadecimal."""
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value if value is None or isinstance(value, bool | int | str) else str(value)

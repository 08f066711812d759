"""The results table: one row for each input and operating point. Tables and reports read nothing else."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nic_lightning.errors import RunError, UserError
from nic_lightning.media.base import find_medium
from nic_lightning.runs.record.files import write_atomically

if TYPE_CHECKING:
    import pyarrow as pa

RESULT_COLUMNS: dict[str, str] = {
    "run": "string",
    "codec": "string",
    "experiment": "string",
    "dataset": "string",
    "item": "string",
    "index": "int64",
    "label": "string",
    "lmbda": "double",
    "width": "int64",
    "mode": "string",
    "quality": "double",
    "step": "double",
    "pixels": "int64",
    "bytes": "int64",
    "bpp": "double",
    "bpp_estimated": "double",
    "psnr": "double",
    "ms_ssim": "double",
    "ms_ssim_db": "double",
    "lpips": "double",
    "encode_ms": "double",
    "decode_ms": "double",
    "macs": "int64",
    "parameters": "int64",
    "peak_memory_mib": "double",
}
"""Column -> type, in order. `index` to `step` are the operating point's fields; `bytes` is the whole file,
`bpp` its bits per pixel; `psnr` and `ms_ssim_db` in dB; `macs` per image; `parameters` without entropy
models. Rows of other media than images have more columns: "medium", its name, and those that it declares
(`Medium.columns`)."""

MAX_ROWS = 2_000_000
MAX_BYTES = 512 * 2**20
_WORTH_THREADS = 10_000


def write_results(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write the table as parquet, whole or not at all. Extra columns are kept, missing ones are null.

    Raises:
        RunError: a value does not fit its column.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    listed = [dict(row) for row in rows]
    extra = sorted({key for row in listed for key in row} - set(RESULT_COLUMNS))
    arrays = {}
    for name in [*RESULT_COLUMNS, *extra]:
        kind = pa.type_for_alias(RESULT_COLUMNS[name]) if name in RESULT_COLUMNS else None
        try:
            arrays[name] = pa.array([row.get(name) for row in listed], type=kind)
        except (pa.ArrowException, TypeError, ValueError) as error:
            raise RunError(f"The results column {name!r} holds a wrong value: {error}.") from error
    table = io.BytesIO()
    pq.write_table(pa.table(arrays), table)
    write_atomically(path, table.getvalue())


def read_results(path: Path) -> list[dict[str, Any]]:
    """The rows of a results table; every row has all of RESULT_COLUMNS (None where the file has no value).

    Raises:
        RunError: the file is missing, damaged, too large, or a column has the wrong type.
    """
    import pyarrow as pa

    table = read_results_table(path)
    try:
        rows = table.to_pylist()
    except (pa.ArrowException, ValueError, OverflowError) as error:
        raise _unreadable(path, error) from error
    _check_media(path, rows)
    empty = dict.fromkeys(RESULT_COLUMNS)
    return [empty | row for row in rows]


def read_results_table(path: Path) -> pa.Table:
    """The columns of a results table that are plain, those of RESULT_COLUMNS in their types, as pyarrow holds them.

    Raises:
        RunError: as `read_results`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        raise RunError(f"{path} is missing; nic-evaluate writes it.")
    try:
        with pq.ParquetFile(path) as file:
            _check_size(path, file.metadata)
            table = file.read(use_threads=file.metadata.num_rows > _WORTH_THREADS)
        kept = [f.name for f in table.schema if f.name in RESULT_COLUMNS or _is_plain(f.type)]
        table = table.select(kept)
        for position, name in enumerate(kept):
            kind = pa.type_for_alias(RESULT_COLUMNS[name]) if name in RESULT_COLUMNS else table.field(position).type
            if table.field(position).type != kind:
                table = table.set_column(position, name, table.column(name).cast(kind))
        return table
    except (pa.ArrowException, OSError, ValueError, KeyError, OverflowError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> RunError:
    reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
    return RunError(f"{path} is not a readable results table: {reason}")


def _check_media(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Refuse rows of a medium that is not known: nobody could say what their columns mean."""
    for name in {row.get("medium") for row in rows} - {None}:
        try:
            find_medium(str(name))
        except UserError as error:
            raise RunError(f"{path} cannot be read: {error}") from error


def mean(values: Iterable[float | None]) -> float | None:
    """Mean of the values that are there (neither None nor NaN); None when there are none."""
    present = [float(v) for v in values if v is not None and not math.isnan(v)]
    return sum(present) / len(present) if present else None


def mean_of_all(values: Iterable[float | None]) -> float | None:
    """Their mean; None where any is missing, since a mean of the others would stand beside means over more."""
    listed = list(values)
    return None if any(v is None or math.isnan(v) for v in listed) else mean(listed)


def _check_size(path: Path, metadata: Any) -> None:
    """Refuse a table that would not fit in memory before any of it is read."""
    size = sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
    if metadata.num_rows > MAX_ROWS or size > MAX_BYTES or metadata.num_columns > 500:
        raise RunError(f"{path} claims {metadata.num_rows:,} rows, {size:,} bytes: more than a results table may hold.")


def _is_plain(kind: Any) -> bool:
    import pyarrow as pa

    tests = (pa.types.is_integer, pa.types.is_floating, pa.types.is_string, pa.types.is_boolean)
    return any(test(kind) for test in tests)

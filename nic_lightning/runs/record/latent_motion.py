"""latent_motion.parquet of a run folder: what `nic-analyze` measured, a row for each motion and layer. No torch."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nic_lightning.errors import RunError
from nic_lightning.runs.record.files import checked_path, write_atomically

LATENT_MOTION = "latent_motion.parquet"
TEXTS = ("study", "network", "dataset", "item", "layer", "motion", "way", "label", "mask")
NUMBERS = (
    *("value", "draw", "nrmse", "valid", "bpp", "bpp_ideal", "psnr", "epe", "stride", "offset", "receptive_field"),
    *("translate_x", "translate_y", "scale_x", "scale_y", "shear_x", "shear_y", "rotate"),
)
"""Columns. `study` says which of the others a row has; "" and NaN stand for those that it has not."""
MAX_ROWS = 5_000_000
MAX_BYTES = 512 * 2**20
MAX_TEXT = 200
Table = dict[str, NDArray[Any]]
"""A column each: text as str objects, numbers as float64."""


def write_latent_motion(folder: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows, whole or not at all; keys that are no columns are a programming error."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    listed = list(rows)
    foreign = {key for row in listed for key in row} - {*TEXTS, *NUMBERS}
    if foreign:
        raise ValueError(f"There are no columns {sorted(foreign)}.")
    texts = {name: pa.array([str(row.get(name) or "")[:MAX_TEXT] for row in listed], pa.string()) for name in TEXTS}
    numbers = {name: pa.array([_number(row.get(name)) for row in listed], pa.float64()) for name in NUMBERS}
    data = io.BytesIO()
    pq.write_table(pa.table(texts | numbers), data)
    write_atomically(folder / LATENT_MOTION, data.getvalue())


def read_latent_motion(folder: Path) -> Table:
    """The table of a run folder, which may come from anybody.

    Raises:
        RunError: it is missing, damaged, too large, or a column is missing or of another type.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = checked_path(folder, LATENT_MOTION, MAX_BYTES)
    try:
        with pq.ParquetFile(path) as file:
            size = sum(file.metadata.row_group(i).total_byte_size for i in range(file.metadata.num_row_groups))
            if file.metadata.num_rows > MAX_ROWS or size > MAX_BYTES:
                raise RunError(f"{LATENT_MOTION} claims {file.metadata.num_rows:,} rows: more than an analysis writes.")
            found = file.read(columns=[*TEXTS, *NUMBERS])
        table: Table = {}
        for name in TEXTS:
            coded = found.column(name).combine_chunks().cast(pa.string()).fill_null("").dictionary_encode()
            words = np.array([str(word)[:MAX_TEXT] for word in coded.dictionary.to_pylist()] or [""], object)
            table[name] = words[coded.indices.to_numpy(zero_copy_only=False).astype(np.int64)]
        for name in NUMBERS:
            column = found.column(name).combine_chunks().cast(pa.float64()).fill_null(math.nan)
            table[name] = column.to_numpy(zero_copy_only=False)
    except (pa.ArrowException, OSError, ValueError, KeyError, OverflowError) as error:
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise RunError(f"{LATENT_MOTION} is damaged: {reason}") from error
    return table


def select(table: Table, **wanted: str) -> Table:
    """The rows whose columns have the wanted texts."""
    kept = np.ones(len(table["study"]), bool)
    for name, text in wanted.items():
        kept &= table[name] == text
    return {name: column[kept] for name, column in table.items()}


def names(column: NDArray[Any]) -> list[str]:
    """Different texts of a column, in the order in which they come."""
    return list(dict.fromkeys(column.tolist()))


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)

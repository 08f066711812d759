"""Two runs to ask, and how."""

from __future__ import annotations

import math
from pathlib import Path

from nic_lightning.runs.query.database import Answer, ask
from nic_lightning.runs.record.record import RunRecord
from nic_lightning.runs.record.results import write_results


def make(folder: Path, width: int = 8, **columns: object) -> Path:
    """A finished run with two results of 1 and 3 bits per pixel."""
    config = {
        "tags": ["paper"],
        "codec": {"_target_": "nic_lightning.codecs.modulated.Modulated", "width": width, "name": "two words"},
        "trainer": {"max_steps": 20},
        "init_from": None,
    }
    record = RunRecord(folder)
    record.start(config, [])
    for step, loss in ((9, 2.0), (19, math.nan)):
        record.log(step, {"train/loss": loss, "val/psnr@64": 30.0 + step})
    record.finish("finished")
    rows = [
        {"run": "old name", "dataset": "kodak", "label": "64", "bpp": bpp, "bytes": 2**40, **columns}
        for bpp in (1.0, 3.0)
    ]
    write_results(folder / "results.parquet", rows)
    return folder


def query(root: Path, sql: str, limit: int = 100, timeout: float = 60.0) -> Answer:
    return ask(sql, root, limit, timeout)


def rows(root: Path, sql: str) -> list[tuple[object, ...]]:
    answer = query(root, sql)
    assert answer.problems == []
    return answer.rows

"""Progress of an evaluation: a bar on a terminal, a line now and then in a log file."""

from __future__ import annotations

import sys
import time
from typing import Any

from tqdm import tqdm

from nic_lightning.codecs.base import OperatingPoint
from nic_lightning.errors import counted


class EvaluationProgress:
    """What is measured now, for `evaluate_into_run(on_item=...)`: a bar, or a line every `seconds` in a log file."""

    def __init__(self, seconds: float = 20.0) -> None:
        self.seconds = seconds
        self._count = 0
        self._printed = time.monotonic()
        self._bar: Any = tqdm(unit="file", leave=False, dynamic_ncols=True) if sys.stderr.isatty() else None

    def __call__(self, codec: str, dataset: str, item: str, point: OperatingPoint) -> None:
        """One more file was written, read back and measured."""
        self._count += 1
        shown = f"{codec} on {dataset}: {item} at {point.label}"
        if self._bar is not None:
            self._bar.set_postfix_str(shown, refresh=False)
            self._bar.update()
        elif time.monotonic() - self._printed >= self.seconds:
            self._printed = time.monotonic()
            print(f"measured {counted(self._count, 'file')}, the last {shown}", file=sys.stderr, flush=True)

    def __enter__(self) -> EvaluationProgress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

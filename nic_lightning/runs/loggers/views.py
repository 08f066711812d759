"""Loggers that show metrics.jsonl of a run in other formats: CSV and TensorBoard."""

from __future__ import annotations

import csv
import io
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only

from nic_lightning.errors import RunError, UserError
from nic_lightning.runs.record.files import write_atomically
from nic_lightning.runs.record.record import MAX_LINE, parse_line, read_metrics

_log = logging.getLogger(__name__)
_NOT_A_METRIC = ("step", "time", "epoch")


class RecordView(Logger):
    """Follows metrics.jsonl, line by line; rank 0 alone writes.

    The first line of every start begins the view anew, from the whole file. A resumed run has cut that file to its
    checkpoint by then, so the view has no row twice and none too few, whenever the run was killed. A view that cannot
    be written is given up with one warning: metrics.jsonl has everything.
    """

    def __init__(self, folder: str | Path) -> None:
        super().__init__()
        self.folder = Path(folder)
        self._position: int | None = None
        """Bytes of metrics.jsonl that the view shows; None before it has begun."""
        self._lost = False

    @property
    def name(self) -> str:
        """Name of the run folder."""
        return self.folder.name

    @property
    def version(self) -> str:
        """Empty: a run folder holds one run."""
        return ""

    @property
    def save_dir(self) -> str:
        """The run folder."""
        return str(self.folder)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Take over what the record has by now; its logger stands before this one."""
        self._try_to_follow()

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Nothing: config.yaml has them."""

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Take over the last lines."""
        self._try_to_follow()

    def begin(self) -> None:
        """Forget what earlier starts have written."""
        raise NotImplementedError

    def add(self, lines: list[dict[str, Any]]) -> None:
        """Show further lines of the record, values as float."""
        raise NotImplementedError

    def _try_to_follow(self) -> None:
        if self._lost or not (self.folder / "metrics.jsonl").exists():
            return
        try:
            self._follow()
        except (OSError, RunError) as error:
            self._lost = True
            reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
            _log.warning(
                "%s is lost (%s); the training goes on, and metrics.jsonl has everything.", self._title, reason
            )

    @property
    def _title(self) -> str:
        return type(self).__name__

    def _follow(self) -> None:
        path = self.folder / "metrics.jsonl"
        if self._position is None or path.stat().st_size < self._position:
            self._position = 0
            self.begin()
        lines = []
        with path.open("rb") as file:
            file.seek(self._position)
            while (raw := file.readline(MAX_LINE)).endswith(b"\n"):
                self._position += len(raw)
                if (line := parse_line(raw)) is not None:
                    lines.append(line)
        if lines:
            self.add(lines)


class CsvLogger(RecordView):
    """`metrics.csv` in the run folder: step, epoch, time in seconds since 1970, and a column for each metric.

    A row has what was logged at once, and is empty elsewhere. A new metric is a new last column.

    Args:
        folder: the run folder.
    """

    def __init__(self, folder: str | Path) -> None:
        super().__init__(folder)
        self._columns: list[str] = []

    @property
    def path(self) -> Path:
        """Where the rows are."""
        return self.folder / "metrics.csv"

    def begin(self) -> None:
        """The next lines come with a new file."""
        self._columns = []

    def add(self, lines: list[dict[str, Any]]) -> None:
        """Append rows, or write the file again where there are new columns."""
        known = set(self._columns)
        fresh = list(dict.fromkeys(key for line in lines for key in line if key not in known))
        if not fresh:
            with self.path.open("a", encoding="utf-8", newline="") as file:
                file.write(self._rows(lines))
            return
        fixed = [] if self._columns else ["step", "epoch", "time"]
        self._columns += fixed + [key for key in fresh if key not in _NOT_A_METRIC]
        header = io.StringIO()
        csv.writer(header, lineterminator="\n").writerow(self._columns)
        write_atomically(self.path, header.getvalue() + self._rows(read_metrics(self.folder)))

    def _rows(self, lines: list[dict[str, Any]]) -> str:
        text = io.StringIO()
        csv.DictWriter(text, self._columns, lineterminator="\n").writerows(lines)
        return text.getvalue()


class TensorBoardLogger(RecordView):
    """Event files for TensorBoard in `tensorboard/` of the run folder, with the times of the record.

    Args:
        folder: the run folder.

    Raises:
        UserError: TensorBoard is not installed.
    """

    def __init__(self, folder: str | Path) -> None:
        super().__init__(folder)
        try:
            from torch.utils.tensorboard.writer import SummaryWriter
        except ImportError as error:
            raise UserError(
                "logger=tensorboard needs TensorBoard: pip install 'nic_lightning[tensorboard]'."
            ) from error
        self._make, self._writer = SummaryWriter, None

    @property
    def path(self) -> Path:
        """Where the event files are."""
        return self.folder / "tensorboard"

    def begin(self) -> None:
        """Remove earlier event files: the new one holds all that the record has."""
        if self._writer is not None:
            self._writer.close()
        if self.path.is_symlink():
            raise RunError(f"{self.path} is a link")
        if self.path.exists():
            shutil.rmtree(self.path)
        self._writer = self._make(str(self.path), flush_secs=10)

    def add(self, lines: list[dict[str, Any]]) -> None:
        """Scalars by name and step."""
        assert self._writer is not None
        for line in lines:
            for key in line.keys() - set(_NOT_A_METRIC):
                self._writer.add_scalar(key, line[key], line["step"], walltime=line.get("time"))

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Take over the last lines, and write them out."""
        super().finalize(status)
        if self._writer is not None and not self._lost:
            self._writer.flush()

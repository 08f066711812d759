"""The command line that the collect.py of every folder of experiments/ has, and what they do with their README."""

from __future__ import annotations

import argparse
import csv
import io
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nic_lightning.errors import UserError
from nic_lightning.runs.record.files import write_atomically

BEGIN, END = "<!-- {} by collect.py: begin -->", "<!-- {} by collect.py: end -->"


@dataclass(frozen=True)
class Gathering:
    """A folder of experiments/, whose tables and figures are gathered from run folders."""

    home: Path
    """The experiment's folder."""

    def main(self, arguments: Sequence[str] | None = None) -> int:
        """Command line of collect.py: 0, or 2 with one sentence when nothing can be gathered."""
        parser = argparse.ArgumentParser(description=f"Gather the results of {self.home.name} from run folders.")
        parser.add_argument("runs", type=Path, help="folder with the runs, as run.sh makes it")
        parser.add_argument("--out", type=Path, default=self.home, help="folder to write into (default: this one)")
        args = parser.parse_args(arguments)
        try:
            for note in self.collect(args.runs, args.out):
                print(note, file=sys.stderr)
        except UserError as error:
            print(error, file=sys.stderr)
            return 2
        return 0

    def collect(self, runs: Path, out: Path) -> list[str]:
        """Write all files into `out`; sentences about what is missing. Raises UserError when there are no results."""
        raise NotImplementedError

    def fill_readme(self, out: Path, parts: Mapping[str, str]) -> None:
        """Put the tables into README.md of `out`, which is a copy of this folder's where it has none."""
        readme = out / "README.md"
        if not readme.exists():
            shutil.copyfile(self.home / "README.md", readme)
        fill(readme, parts)


def fill(path: Path, parts: Mapping[str, str]) -> None:
    """Put each text between its two marker comments of a Markdown file."""
    text = path.read_text(encoding="utf-8")
    for name, part in parts.items():
        begin, end = BEGIN.format(name), END.format(name)
        before, found, rest = text.partition(begin)
        _, closed, after = rest.partition(end)
        if not (found and closed):
            raise UserError(f"{path} lacks the comments {begin} and {end} between which the table goes.")
        text = f"{before}{begin}\n\n{part}\n\n{end}{after}"
    write_atomically(path, text)


def read_csv(path: Path) -> list[dict[str, str]]:
    """Rows of a small CSV file."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """CSV with empty cells for None, whole or not at all."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, text.getvalue())

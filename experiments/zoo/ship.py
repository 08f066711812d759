"""Put a trained run into the zoo: weights in half precision, and a card with what was measured of these weights.

python experiments/zoo/ship.py RUN NAME
python experiments/zoo/ship.py RUN NAME MEASURED... --only-card

about.json says what NAME is for. MEASURED are evaluations by nic-evaluate, one of them called NAME, the others of
codecs to compare with. The first form makes the model, which can then be measured by its name; the second its card.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

import nic_lightning
from nic_lightning.codecs.exporting import DESCRIPTION, export_codec
from nic_lightning.codecs.half_precision import round_to_float16
from nic_lightning.codecs.loading import load_with_config
from nic_lightning.errors import UserError
from nic_lightning.metrics.bd import bd_rate
from nic_lightning.zoo.card import CARD, read_card

HERE = Path(__file__).resolve().parent
MODELS = HERE.parents[1] / "nic_lightning" / "zoo" / "models"
COLUMNS = {
    "image": ("bpp", "psnr", "ms_ssim_db"),
    "cloud": ("bits", "bits_estimated", "accuracy"),
}
"""What a card tells of each point, by medium."""
PAUSE_S = 600.0
"""A longer gap between two rows of metrics.jsonl is no training."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line: 0, or 2 with one sentence."""
    parser = argparse.ArgumentParser(description="Put a trained run into the zoo.")
    parser.add_argument("run", type=Path, help="run folder")
    parser.add_argument("name", help="of the model, in about.json")
    parser.add_argument("measured", type=Path, nargs="*", help="evaluations of the model and of other codecs")
    parser.add_argument("--only-card", action="store_true", help="leave the weights as they are")
    args = parser.parse_args(arguments)
    try:
        ship(args.run, args.name, args.measured, args.only_card)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def ship(run: Path, name: str, evaluations: Sequence[Path], only_card: bool = False) -> None:
    """Write the export and its card; UserError where something is missing."""
    about = json.loads((HERE / "about.json").read_text(encoding="utf-8"))
    if name not in about:
        raise UserError(f"about.json does not say what {name} is for; it has {', '.join(about)}.")
    folder = MODELS / name
    if not only_card:
        (folder / CARD).unlink(missing_ok=True)
        codec, config = load_with_config(run)
        round_to_float16(codec)
        export_codec(codec, config, folder, float16=True, overwrite=True)
    description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    told = dict(about[name])
    card = {
        "schema": 1,
        "name": name,
        **{key: told[key] for key in ("medium", "title", "purpose", "licence")},
        "training": {"data": told["data"], "command": told["command"], **_training(run)},
        "fingerprint": description["fingerprint"],
        "measured": _measured(name, told["medium"], evaluations),
        "limits": told["limits"],
    }
    (folder / CARD).write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    read_card(folder)


def _training(run: Path) -> dict[str, Any]:
    environment = json.loads((run / "environment.json").read_text(encoding="utf-8"))
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    times = [row["time"] for row in rows if "time" in row]
    spent = sum(later - sooner for sooner, later in pairwise(times) if later - sooner < PAUSE_S)
    config = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    return {
        "commit": str(environment["git"]["commit"]),
        "steps": int(config["trainer"]["max_steps"]),
        "hours": round(spent / 3600, 2),
        "machine": "one core of a CPU",
    }


def _measured(name: str, medium: str, evaluations: Sequence[Path]) -> list[dict[str, Any]]:
    """A table for each data set, of means over its inputs, and BD-rates over PSNR against the other codecs."""
    tables = {path.name: nic_lightning.results(path) for path in evaluations}
    ours = tables.pop(name, None)
    if ours is None:
        return []
    found = []
    for dataset in dict.fromkeys(ours["dataset"]):
        mine = _means(ours[ours["dataset"] == dataset], medium)
        deltas = {}
        for other, table in tables.items():
            theirs = _means(table[table["dataset"] == dataset], medium) if medium == "image" else []
            if theirs:
                deltas[other] = round(bd_rate(theirs, mine).value, 2)
        found.append({"dataset": str(dataset), "rows": mine, "bd_rate": deltas})
    return found


def _means(table: pd.DataFrame, medium: str) -> list[dict[str, Any]]:
    columns = [column for column in COLUMNS[medium] if column in table]
    means = table.groupby("label", sort=False)[columns].mean().sort_values(columns[0])
    return [{"point": str(label), **{k: round(float(v), 4) for k, v in row.items()}} for label, row in means.iterrows()]


if __name__ == "__main__":
    sys.exit(main())

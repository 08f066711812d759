"""Whether two checkouts train, compress, measure and report alike, to the last digit.

    python tests/identity.py measure OUT.json [NAME ...]   # with the checkout on PYTHONPATH
    python tests/identity.py compare OLD.json NEW.json [COLUMN ...]   # columns of rows that may differ

For every learned codec of conf/codec, made small: the losses of 20 steps, the strings of a .nic file at the first and
last point, the rows of the results table; the same rows of JPEG and of optical flow, where data with true flow is
there; the tables of a report over all of them. Everything goes through the command line, which changes less than
modules do. Times are left out. A refactoring shows an empty comparison; needs NIC_DATA for flow, and an hour.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

SMALL = {"width": 8, "deep": 8, "hidden": 6, "base": 4, "widest": 8, "latents": 6, "hyper": 4, "halvings": 2}
LISTS = {"widths": [4, 8], "hyper_widths": [2, 4]}
TRAINING = [
    *("trainer.max_steps=20", "trainer.log_every_n_steps=1", "trainer.check_val_every_n_epoch=null"),
    *("logger=none", "evaluation.limit=2", "evaluation.save_images=0", "checkpoint.every_n_steps=20"),
]
DOMAINS = ["task=translation", "data=domains", "data.domains=[a,b]", "data.size=32", "codec.size=32", "task.warm_up=5"]
TIMES = ("encode_ms", "decode_ms", "peak_memory_mib", "time", "core")


def nic(folder: Path, command: str, *arguments: str) -> None:
    """A console script of the checkout, in `folder`."""
    module = {"nic": "cli", "nic-train": "train", "nic-evaluate": "evaluate"}[command]
    code = f"import sys; from nic_lightning.{module} import main; sys.exit(main())"
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HYDRA_FULL_ERROR": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"{command} {' '.join(arguments)}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}")


def learned() -> dict[str, dict[str, Any]]:
    """Config of every learned codec, by name."""
    from omegaconf import OmegaConf

    from nic_lightning.config import compose

    conf = Path(__file__).parents[1] / "conf" / "codec"
    found = {}
    names = sorted(path.stem for path in conf.glob("*.yaml"))
    for name in ["cae", *(name for name in names if name != "cae")]:  # others begin with its weights
        try:
            config = OmegaConf.to_container(compose("train", [f"codec={name}"]).codec, resolve=True)
        except Exception as error:  # the other checkout may not have it yet
            print(f"{name}: {error}", file=sys.stderr)
            continue
        if isinstance(config, dict) and ".codecs." in config["_target_"] and name != "point_cloud":  # no images
            found[name] = config
    return found


def overrides(config: dict[str, Any]) -> list[str]:
    """Arguments that make a codec small."""
    given = [f"codec.{key}={value}" for key, value in SMALL.items() if key in config]
    return given + [f"codec.{key}={json.dumps(value)}" for key, value in LISTS.items() if key in config]


def digest(data: bytes) -> str:
    """A short name for bytes."""
    return hashlib.sha256(data).hexdigest()[:16]


def rows(run: Path) -> list[dict[str, Any]]:
    """The results table without times."""
    import pandas

    table = pandas.read_parquet(run / "results.parquet")
    kept = [name for name in table.columns if not name.startswith(TIMES)]
    return json.loads(table[kept].to_json(orient="records", double_precision=15))


def pictures(folder: Path) -> None:
    """Two domains of three photographs that come with scikit-image, and one to compress."""
    from PIL import Image
    from skimage import data

    for name, image in (("a", data.astronaut()), ("b", data.chelsea())):
        (folder / "pets" / name).mkdir(parents=True)
        for k in range(3):
            Image.fromarray(image[50 + 40 * k : 150 + 40 * k, 100:200]).save(folder / "pets" / name / f"{k}.png")
    Image.fromarray(data.coffee()[:100, :150]).save(folder / "photo.png")


def codec(folder: Path, name: str, config: dict[str, Any]) -> dict[str, Any]:
    """Losses, strings of files and rows of one codec."""
    from nic_lightning import bitstream

    more = [] if "domains" not in config else [*DOMAINS, "data.train=pets", "data.batch_size=2"]
    more += [] if more else ["data.crop=64", "data.batch_size=8"]
    more += ["init_from=runs/cae"] if name == "bottleneck_scaling" else []
    nic(folder, "nic-train", f"codec={name}", f"name={name}", *overrides(config), *more, *TRAINING)
    run = folder / "runs" / name
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    files = {}
    labels = list(dict.fromkeys(row["label"] for row in rows(run)))
    for label in dict.fromkeys((labels[0], labels[-1])):
        nic(
            folder,
            "nic",
            "compress",
            "photo.png",
            "-o",
            f"nic/{name}/{label}",
            "--run",
            f"runs/{name}",
            "--point",
            label,
        )
        file = folder / "nic" / name / label / "photo.nic"
        files[label] = digest(b"\0".join(bitstream.unpack(file.read_bytes()).strings))
    return {
        "losses": [{k: v for k, v in line.items() if k != "time"} for line in lines],
        "files": files,
        "rows": rows(run),
    }


def measure(out: Path, names: list[str]) -> None:
    """Write what this checkout makes of everything."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        pictures(folder)
        for name, config in learned().items():
            if not names or name in names:
                found[name] = codec(folder, name, config)
                print(name, file=sys.stderr)
        nic(folder, "nic-evaluate", "codec=jpeg", "evaluation.limit=2", "evaluation.save_images=0")
        found["jpeg"] = {"rows": rows(folder / "runs" / "jpeg")}
        weights = Path(os.environ.get("NIC_DATA", "data")) / "weights" / "dcflow_sintel_weights.npz"
        if weights.is_file():
            nic(folder, "nic-evaluate", "flow=simplified", "evaluation.datasets=[middlebury]", "evaluation.limit=1",
                f"flow.weights={weights}", "evaluation.save_images=0")  # fmt: skip
            found["flow"] = {"rows": rows(folder / "runs" / "simplified")}
        nic(folder, "nic", "report", "runs", "--figures", "figures")
        tables = sorted((folder / "figures").glob("*.csv"))
        found["report"] = {path.name: path.read_text().splitlines() for path in tables}
    out.write_text(json.dumps(found, indent=1))


def compare(old: Path, new: Path, apart: list[str]) -> int:
    """Name every difference of what both have, but for some columns of rows; 1 where there is one."""
    before, after = (json.loads(path.read_text()) for path in (old, new))
    differing = 0
    for part in sorted(before.keys() & after.keys()):
        for key in sorted(before[part].keys() | after[part].keys()):
            one, other = (_without(found[part].get(key), [*TIMES, *apart]) for found in (before, after))
            if one != other:
                differing += 1
                print(f"{part} {key} differ:\n  {str(one)[:300]}\n  {str(other)[:300]}")
    print(f"{len(before.keys() & after.keys())} parts compared, {differing} differ.")
    print("Only in one of them:", *sorted(before.keys() ^ after.keys()))
    return int(differing > 0)


def _without(found: Any, columns: list[str]) -> Any:
    """Rows of a table, or lines of a CSV file, without columns; anything else as it is."""
    if isinstance(found, list) and found and isinstance(found[0], str):
        found = list(csv.DictReader(found))
    if isinstance(found, list) and all(isinstance(row, dict) for row in found):
        return [{k: v for k, v in row.items() if not k.startswith(tuple(columns))} for row in found]
    return found


if __name__ == "__main__":
    verb, first, *rest = sys.argv[1:]
    sys.exit(measure(Path(first), rest) if verb == "measure" else compare(Path(first), Path(rest[0]), rest[1:]))

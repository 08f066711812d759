"""What commands cost that do little: processor time of their processes, and the packages that these import."""

from __future__ import annotations

import json
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nic_lightning.errors import UserError

HEAVY = (
    "torch", "torchvision", "torchmetrics", "compressai", "torch_geometric", "pytorch_lightning", "hydra", "wandb",
    "numba", "scipy.stats", "pandas", "pyarrow", "triton", "matplotlib", "sympy", "torch._dynamo", "torch._inductor",
    "cyclopts", "rich", "PIL",
)  # fmt: skip
"""Packages whose import takes a tenth of a second or more, or that bring such packages."""
_NOTHING_AFTER = ("evaluation.datasets=[]", "evaluation.baselines=[]")
_TRAIN = ("train", "experiment=demo", "trainer.max_steps=1", *_NOTHING_AFTER)
RUN, _PHOTO = "small", "photo.png"
COMMANDS: dict[str, tuple[str, ...]] = {
    "nic --help": ("cli", "--help"),
    "nic compress": ("cli", "compress", _PHOTO, "--run", f"runs/{RUN}", "--point", "64", "-o", "files", "--overwrite"),
    "nic inspect": ("cli", "inspect", "codec=modulated"),
    "nic check --no-files": ("cli", "check", "--no-files"),
    "nic check": ("cli", "check"),
    "nic-train, one step": (*_TRAIN, "name=first", "fresh=true"),
    "nic-evaluate codec=jpeg": (
        "evaluate", "codec=jpeg", "evaluation.datasets=[embedded]", "evaluation.limit=1",
        'evaluation.points=["q50"]', "evaluation.save_images=0",
    ),
}  # fmt: skip
"""Command lines by what they are called here: the file of nic_lightning with the entry point, and its arguments."""
_PROGRAM = """
import importlib, json, sys
sys.argv = sys.argv[1:]
main = importlib.import_module("nic_lightning." + sys.argv[0]).main
try:
    code = main()
except SystemExit as left:
    code = left.code
late = {name for name, module in list(sys.modules.items()) if type(module).__name__ == "_LateModule"}
with open("imported.json", "w") as file:
    json.dump(sorted(set(sys.modules) - late), file)
sys.exit(code)
"""


@dataclass
class Measured:
    """One command of one build: seconds of processor time (user and system) in each round; heavy packages imported."""

    seconds: list[float] = field(default_factory=list)
    imported: list[str] = field(default_factory=list)

    @property
    def median(self) -> float:
        """Of all rounds; NaN where the build does not have the command."""
        return statistics.median(self.seconds) if self.seconds else math.nan


def run(checkout: Path, folder: Path, arguments: Sequence[str]) -> tuple[float, set[str]]:
    """Run a command of a build in a process of its own, in `folder`.

    Returns: seconds of processor time of the process and its children, and all modules that were imported.

    Raises:
        UserError: the command failed.
    """
    path = os.pathsep.join([str(checkout), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {"PYTHONPATH": path, "WANDB_MODE": "offline", "WANDB_SILENT": "true"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # as container images set it: every start would compile torch anew
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()[-1]
        raise UserError(f"{checkout}: {' '.join(arguments)} failed: {said}")
    seconds = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return seconds, set(json.loads((folder / "imported.json").read_text()))


def measure(checkouts: Sequence[Path], rounds: int) -> dict[str, list[Measured]]:
    """Every command of every build, which take turns; a photograph and a run of one step are made for them first."""
    found = {name: [Measured() for _ in checkouts] for name in COMMANDS}
    with tempfile.TemporaryDirectory(prefix="nic-bench-") as temporary:
        folders = [Path(temporary) / str(number) for number in range(len(checkouts))]
        for checkout, folder in zip(checkouts, folders, strict=True):
            folder.mkdir()
            prepare(checkout, folder)
        for number in range(1 + rounds):  # the first round fills the caches of compiled modules and is not counted
            for name, arguments in COMMANDS.items():
                for measured, checkout, folder in zip(found[name], checkouts, folders, strict=True):
                    try:
                        seconds, modules = run(checkout, folder, arguments)
                    except UserError:
                        if checkout == checkouts[0]:
                            raise
                        continue  # an older build may not have the command yet
                    measured.seconds += [seconds] if number else []
                    measured.imported = [package for package in HEAVY if package in modules]
    return found


def prepare(checkout: Path, folder: Path) -> None:
    """Make what the commands are given: a photograph, and a run of one step."""
    photograph_into(folder)
    run(checkout, folder, (*_TRAIN, f"name={RUN}"))


def photograph_into(folder: Path) -> None:
    """Put a photograph of 512 x 768 pixels there."""
    from nic_lightning.analysis.latency import photograph
    from nic_lightning.media.image.png import save_png

    save_png(photograph((512, 768))[0], folder / _PHOTO)


def main(against: Path | None, rounds: int) -> None:
    """Print the processor time of each command, its ratio to the other build's, and what it imports."""
    own = Path(__file__).parents[2]
    if against is not None and not (against / "nic_lightning" / "__init__.py").is_file():
        raise UserError(f"{against} is no checkout of this project: it has no nic_lightning/__init__.py.")
    checkouts = [own] if against is None else [own, against.resolve()]
    found = measure(checkouts, rounds)
    print(f"CPU seconds (user and system, children included), medians of {rounds}; builds take turns")
    print(f"{'':24}{'this build':>11}" + (f"{'the other':>11}{'ratio':>8}" if against is not None else ""))
    for name, builds in found.items():
        line = f"{name:24}" + "".join(f"{one.median:>11.2f}" for one in builds)
        print(line + (f"{builds[0].median / builds[1].median:>8.3f}" if against is not None else ""))
    print("\nimported")
    for name, builds in found.items():
        for title, one in zip(("this build", "the other"), builds, strict=False):
            print(f"{name:24}{title:>11}  {', '.join(one.imported)}")

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig

from nic_lightning import conf_tree, config

STAND_IN = """
class Codec:
    def __init__(self, width: int, lambdas: list[float], depth: float = 2.0, name: str | None = None): ...

class Picky:
    def __init__(self, width: int = 1):
        from nic_lightning.errors import UserError
        if width == 13:
            raise UserError("Thirteen is no width.")
        1 / (width - 7)

class Wide(Codec):
    def __init__(self, extra: bool = False, **kwargs):
        super().__init__(lambdas=[1.0], **kwargs)

class Task:
    def __init__(self, codec: Codec, optimizer: "Optimizer", steps: int = 3): ...
"""
FILES = {
    "codec/small.yaml": "_target_: stand_in.Codec\nwidth: 8\nlambdas: [64.0, 128.0]\ndepth: 2.0\nname: null\n",
    "codec/picky.yaml": "_target_: stand_in.Picky\nwidth: 8\n",
    "codec/wide.yaml": "_target_: stand_in.Wide\nwidth: 8\n",
    "task/plain.yaml": "_target_: stand_in.Task\nsteps: 3\noptimizer:\n  _target_: torch.optim.Adam\n"
    "  _partial_: true\n  lr: 1e-4\n",
    "data/none.yaml": "folder: ???\n",
    "trainer/cpu.yaml": "accelerator: cpu\nmax_steps: 3\n",
    "logger/none.yaml": "{}\n",
    "experiment/big.yaml": "# @package _global_\ndefaults:\n  - override /codec: wide\nname: big\nseed: 7\n",
}


@pytest.fixture
def conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A config tree of stand-ins under the real train.yaml, as `conf_tree.CONF_DIR`; we stand in its parent."""
    folder = tmp_path / "conf"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    train = (conf_tree.CONF_DIR / "train.yaml").read_text()
    for group, name in {
        "codec": "small",
        "task": "plain",
        "data": "none",
        "trainer": "cpu",
        "logger": "none",
    }.items():
        line = next(x for x in train.splitlines() if x.startswith(f"  - {group}: "))
        train = train.replace(line, f"  - {group}: {name}")
    (folder / "train.yaml").write_text(train)
    shutil.copy(conf_tree.CONF_DIR / "evaluate.yaml", folder)
    (tmp_path / "stand_in.py").write_text(STAND_IN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(conf_tree, "CONF_DIR", folder)
    monkeypatch.delenv(conf_tree.FULL_ERROR, raising=False)
    yield folder
    GlobalHydra.instance().clear()
    HydraConfig.instance().cfg = None


@pytest.fixture
def run(conf: Path, monkeypatch: pytest.MonkeyPatch):
    """`run(task, *arguments)`: nic-train with the stand-in configs and another task."""

    def start(task, *arguments: str) -> None:
        monkeypatch.setattr(sys, "argv", ["nic-train", *arguments])
        config.run_hydra(task, "train")

    return start

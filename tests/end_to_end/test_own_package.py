"""A codec of a package of one's own, from training to use."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

MINE = """
from nic_lightning.codecs.cae import CompressiveAutoencoder

class Mine(CompressiveAutoencoder):
    broken = False

    def encode_latents(self, y, point):
        if type(self).broken:
            raise KeyError("codes")
        return super().encode_latents(y, point)

class Broken(Mine):
    broken = True
"""
RECIPE = ["codec.width=8", "data.crop=32", "data.batch_size=2", "trainer.max_steps=3", "logger=none"]
FEW = ["evaluation.limit=1", "evaluation.save_images=0"]


def test_a_codec_of_an_own_package(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "own" / "codec").mkdir(parents=True)
    for name in ("Mine", "Broken"):
        text = f"_target_: mine.{name}\nwidth: 8\nlmbda: 64\n"
        (tmp_path / "own" / "codec" / f"{name.lower()}.yaml").write_text(text)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    environment = {k: v for k, v in os.environ.items() if k not in ("NIC_DATA", "NIC_CODEC_PACKAGES")}
    environment |= {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}

    def start(module: str, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", f"nic_lightning.{module}", *arguments]
        return subprocess.run(
            command, cwd=tmp_path, env=environment | more, capture_output=True, text=True, timeout=300
        )

    done = start("train", "--config-dir", "own", "codec=broken", *RECIPE)
    assert done.returncode == 1
    assert "KeyError: 'codes'\nCodec mine was to write and read the file of a small image at point" in done.stderr
    done = start("train", "--config-dir", "own", "codec=mine", *RECIPE, *FEW)
    assert done.returncode == 0, done.stderr
    assert "mine" in done.stdout
    assert "NIC_CODEC_PACKAGES holds mine." in done.stderr
    assert start("evaluate", "run=runs/mine", *FEW).returncode == 2
    done = start("evaluate", "run=runs/mine", *FEW, NIC_CODEC_PACKAGES="mine")
    assert done.returncode == 0, done.stderr

"""One training through the console script, shared by the checks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

RECIPE = (
    "name=tiny",
    "codec=modulated",
    "codec.width=8",
    "codec.lambdas=[0.1,64]",
    "data.crop=64",
    "task.learning_rate=1e-2",
    "trainer.max_steps=60",
    "trainer.log_every_n_steps=20",
    "evaluation.baselines=[jpeg]",
    "evaluation.save_images=1",
)


class Desk:
    """A working folder of a user: console scripts run in it, as processes of their own."""

    def __init__(self, folder: Path):
        self.folder = folder

    def __call__(self, script: str, *arguments: object, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """Run a console script of this environment; its output as text."""
        program = shutil.which(script, path=sysconfig.get_path("scripts"))
        assert program, f"{script} is not installed in this environment"
        unset = {"WANDB_MODE", "WANDB_API_KEY", "NIC_DATA", "HYDRA_FULL_ERROR"}
        environment = {k: v for k, v in os.environ.items() if k not in unset}
        environment |= {"OMP_NUM_THREADS": "1", "NETRC": os.devnull, "WANDB_SILENT": "true"}
        command = [program, *map(str, arguments)]
        return subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=timeout
        )


@pytest.fixture(scope="session")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """The working folder, with one photograph in it."""
    folder = tmp_path_factory.mktemp("desk")
    Image.fromarray(data.astronaut()[:501, :450]).save(folder / "photo.png")
    return Desk(folder)


@pytest.fixture(scope="session")
def training(desk: Desk) -> subprocess.CompletedProcess[str]:
    """`nic-train` of a tiny codec: the run lies in runs/tiny."""
    done = desk("nic-train", *RECIPE)
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture
def photo(desk: Desk) -> np.ndarray:
    """Pixels of photo.png, (H, W, 3)."""
    return np.asarray(Image.open(desk.folder / "photo.png"))

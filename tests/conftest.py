"""Fixtures for every room."""

from __future__ import annotations

import functools
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]

THIRD_PARTY_WARNINGS = [
    # Lightning walks batches with torch's older tree functions.
    "ignore:.*LeafSpec.* is deprecated:FutureWarning",
]


def pytest_configure(config: pytest.Config) -> None:
    """Quiet what third parties warn about themselves; everything else stays an error."""
    for line in THIRD_PARTY_WARNINGS:
        config.addinivalue_line("filterwarnings", line)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that train in processes of their own: at the end, one worker would wait for the other."""
    items.sort(key=lambda item: not item.path.match("end_to_end/*.py") and item.path.name != "test_notebooks.py")


@pytest.fixture(scope="session", autouse=True)
def packages_read_once() -> Iterator[None]:
    """Hundreds of tests start a run record, which lists the installed packages; to read them takes 0.1 s each time."""
    from nic_lightning.runs.machine import environment

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(environment, "packages", functools.cache(environment.packages))
        yield


@pytest.fixture(autouse=True)
def no_handlers_of_closed_streams() -> Iterator[None]:
    """Hydra's handlers write to the stdout of the test that ran it, which is gone in the next one."""
    yield
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if getattr(getattr(handler, "stream", None), "closed", False):
            root.removeHandler(handler)


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]):
    """Run `nic` with what a user got wrong: `refused("compress", path, ...)`, the one sentence that it prints."""

    from nic_lightning import cli

    def run(*arguments: object) -> str:
        capsys.readouterr()
        try:
            code = cli.main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = stop.code
        assert code == 2
        sentence = capsys.readouterr().err
        assert len(sentence.splitlines()) == 1
        return sentence

    return run


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever opens a socket fails."""

    def refuse(*_, **__):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)


@pytest.fixture(scope="session")
def nic_data() -> Path:
    """The data root: NIC_DATA, else ../shared/data beside the checkout; a test that needs it skips without."""
    root = Path(os.environ.get("NIC_DATA") or CHECKOUT.parent / "shared" / "data")
    if not root.is_dir():
        pytest.skip(f"no data at {root}: set NIC_DATA to a folder that holds kodak/, photos/, ...")
    return root.resolve()


@pytest.fixture(scope="session")
def make_codec():
    """A tiny learned codec by its name in conf/codec: `make_codec("modulated", lambdas=[64, 256])`."""
    return _make_codec


def _make_codec(name: str, seed: int = 0, excite: float = 4.0, **overrides):
    """Few channels, weights scaled up by `excite` so that symbols vary, tables made, evaluation mode."""
    import torch
    import yaml

    from nic_lightning.codecs.loading import build_codec
    from nic_lightning.testing.subject import excited

    config = yaml.safe_load((CHECKOUT / "conf" / "codec" / f"{name}.yaml").read_text())
    small = {"width": 8, "hidden": 6}
    config |= {key: value for key, value in small.items() if key in config} | overrides
    torch.manual_seed(seed)
    return excited(build_codec(config), excite)


@pytest.fixture(scope="session")
def picture():
    """Smooth random images: `picture(height, width, n=1, seed=0)`, float32 (n, 3, H, W) in [0, 1]."""
    from nic_lightning.testing.subject import smooth_images

    return smooth_images


@pytest.fixture
def fit(tmp_path, make_codec):
    """Train a tiny codec: `fit(steps, "modulated", task={...}, trainer={...}) -> (task, trainer)`."""
    import pytorch_lightning as pl

    from nic_lightning.tasks.rate_distortion import RateDistortionTask
    from tests.trainers import quiet_trainer

    def run(
        steps: int,
        name: str = "modulated",
        *,
        codec=None,
        task=None,
        trainer=None,
        data=None,
        codec_arguments=None,
        **fit,
    ):
        pl.seed_everything(0, verbose=False)
        codec = codec or make_codec(name, excite=1.0, **(codec_arguments or {})).train()
        module = RateDistortionTask(codec, **{"learning_rate": 1e-3, "quantile_learning_rate": 1e-2, **(task or {})})
        arguments = {"max_steps": steps, "default_root_dir": str(tmp_path), "gradient_clip_val": 1.0}
        lightning = quiet_trainer(**(arguments | (trainer or {})))
        lightning.fit(module, datamodule=data or Crops(), **fit)
        return module, lightning

    return run


def Crops(count: int = 64, side: int = 32, batch: int = 2):
    """Data module whose every sample is a function of its index."""
    import pytorch_lightning as pl
    import torch
    from torch.utils.data import DataLoader, Dataset

    class Noise(Dataset):
        def __len__(self) -> int:
            return count

        def __getitem__(self, index: int):
            generator = torch.Generator().manual_seed(index)
            coarse = torch.rand(1, 3, 4, 4, generator=generator)
            return torch.nn.functional.interpolate(coarse, size=(side, side), mode="bilinear")[0]

    class Module(pl.LightningDataModule):
        validation_name = "noise"

        def train_dataloader(self):
            return DataLoader(Noise(), batch_size=batch)

        def val_dataloader(self):
            return DataLoader([("a.png", Noise()[0]), ("b.png", Noise()[1][:, :20, :33])], batch_size=1)

    return Module()

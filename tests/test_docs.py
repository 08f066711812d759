"""The examples of docs/python.md run, from top to bottom, in a folder with what the page says that it needs."""

from __future__ import annotations

import doctest
import re
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from skimage import data

from nic_lightning.codecs.modulated import ModulatedAutoencoder
from tests.cli.conftest import ARGUMENTS, trained

PAGE = Path(__file__).parents[1] / "docs" / "python.md"
BLOCKS = re.findall(r"^```(\w+)(?: title=\"([\w.]+)\")?\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a run and photographs."""
    torch.manual_seed(0)
    trained(ModulatedAutoencoder(**ARGUMENTS), ARGUMENTS, tmp_path / "runs" / "modulated")
    (tmp_path / "my_photos").mkdir()
    for name, pixels in (("photo", data.astronaut()[:96, :128]), ("my_photos/cat", data.chelsea()[:180, :170])):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def run(language: str, title: str, text: str, names: dict[str, Any]) -> None:
    """A block with a title is a module of its own; the others share their names."""
    if title:
        Path(title).write_text(text)
        exec(compile(text, title, "exec"), {"__name__": title.removesuffix(".py")})
    elif language == "python":
        exec(compile(text, str(PAGE), "exec"), names)
    else:
        assert language == "pycon"
        test = doctest.DocTestParser().get_doctest(text, names, PAGE.name, str(PAGE), 0)
        assert doctest.DocTestRunner().run(test).failed == 0


def test_the_examples_run(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The .* points that were tried")  # what so small a codec does not reach
        warnings.filterwarnings("ignore", "None of the .* points that were tried")
        try:
            for block in BLOCKS:
                run(*block, names)
        finally:
            sys.modules.pop("my_codec", None)
    assert names["image"].size == (128, 96)
    assert names["x_hat"].shape == (3, 96, 128)
    assert names["data"].startswith(b"\xff\xd8")
    assert set(names["means"].index.get_level_values("codec")) == {"modulated", "jpeg"}
    assert len(names["results"]) > 10
    assert set(names["results"].values()) == {"passed"}
    assert (desk / "runs" / "measured" / "results.parquet").is_file()


def test_encoding_takes_three_lines_and_all_that_is_public_has_an_example() -> None:
    import nic_lightning

    encoding = BLOCKS[0][2].strip().splitlines()
    assert len([line for line in encoding if line and "import" not in line]) == 3
    text = "".join(block[2] for block in BLOCKS)
    for name in ("load", "results", "bd_rate", "testing"):
        assert name in nic_lightning.__all__
        assert f"nic_lightning.{name}" in text

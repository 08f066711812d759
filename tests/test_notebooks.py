"""Every notebook runs from top to bottom in a kernel of this environment, shows figures and leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

CHECKOUT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((CHECKOUT / "notebooks").glob("*.ipynb"))
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:zmq|jupyter_client|nbclient|tornado")


def by_name(path: Path) -> str:
    return path.stem


def files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if "__pycache__" not in path.parts}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=by_name)
def test_the_repository_holds_no_output(path: Path) -> None:
    cells = nbformat.read(path, as_version=4).cells
    assert cells
    for cell in cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


def test_compressing_an_image_takes_three_lines() -> None:
    cells = [cell.source for path in NOTEBOOKS for cell in nbformat.read(path, as_version=4).cells]
    (encoding,) = [source for source in cells if ".encode(" in source]
    assert len(encoding.splitlines()) == 3


@pytest.mark.parametrize("path", NOTEBOOKS, ids=by_name)
def test_it_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIC_NOTEBOOK_STEPS", "20")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")  # the behaviour that Jupyter announces; it warns without
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    before = files(CHECKOUT / "notebooks")
    work = tmp_path / "work"
    work.mkdir()
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(work)}})
    client.execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) >= 2
    printed = "".join(output.get("text", "") for output in outputs)
    assert "Traceback" not in printed
    assert not list(work.iterdir())
    assert files(CHECKOUT / "notebooks") == before

"""Packages that are executed when they are used: the same objects, whichever way leads to them. In own processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

METRICS = """
from torchmetrics import Metric, MetricCollection
import torchmetrics
assert torchmetrics.__version__[0].isdigit()
assert not {"torchvision", "matplotlib", "scipy.signal", "torchmetrics.functional"} & set(sys.modules)
from torchmetrics.image.fid import FrechetInceptionDistance  # executes the package
assert "torchmetrics.functional" in sys.modules
assert issubclass(FrechetInceptionDistance, Metric)
assert torchmetrics.Metric is Metric
assert torchmetrics.MetricCollection is MetricCollection
assert torchmetrics.image is sys.modules["torchmetrics.image"]
assert torchmetrics.image.fid.FrechetInceptionDistance is FrechetInceptionDistance
assert torchmetrics.image.__spec__.loader.get_filename().endswith("__init__.py")
mean = torchmetrics.MeanMetric()
mean.update(2.0)
assert type(mean.plot()[0]).__module__ == "matplotlib.figure"
"""
COMPILER = """
import torch
from torch._dynamo import OptimizedModule
layer = torch.nn.Linear(2, 2)
optimizer = torch.optim.Adam(layer.parameters())
layer(torch.ones(1, 2)).sum().backward()
optimizer.step()
optimizer.zero_grad()
with torch.device("meta"):
    torch.ones(2) + 1.0
assert not isinstance(layer, OptimizedModule)
assert "torch._dynamo.eval_frame" not in sys.modules
compiled = torch.compile(layer, backend="eager")
assert torch.equal(compiled(torch.ones(1, 2)), layer(torch.ones(1, 2)))
assert "torch._dynamo.eval_frame" in sys.modules
assert isinstance(compiled, OptimizedModule)
assert isinstance(compiled, torch._dynamo.OptimizedModule)
layer(torch.ones(1, 2)).sum().backward()
optimizer.step()
optimizer.zero_grad()
"""
SUBMODULE = """
import torch
from torch._dynamo.utils import is_compile_supported
import torch._dynamo
assert torch._dynamo.utils.is_compile_supported is is_compile_supported
assert torch._dynamo.utils is sys.modules["torch._dynamo.utils"]
"""


def run(code: str) -> None:
    program = "import sys\nfrom nic_lightning.late import load_late\nload_late()\n" + code
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("code", [METRICS, COMPILER, SUBMODULE], ids=["torchmetrics", "compiler", "submodule"])
def test_what_is_executed_late_is_the_package_itself(code: str):
    run(code)


def test_a_version_whose_parts_need_the_whole_is_executed_at_once(tmp_path: Path):
    (tmp_path / "torchmetrics" / "utilities").mkdir(parents=True)
    (tmp_path / "torchmetrics" / "__init__.py").write_text("NEWER = 1\nfrom torchmetrics.metric import Metric\n")
    (tmp_path / "torchmetrics" / "utilities" / "__init__.py").write_text("")
    (tmp_path / "torchmetrics" / "metric.py").write_text("from torchmetrics import NEWER\nclass Metric: ...\n")
    run(
        f"sys.path.insert(0, {str(tmp_path)!r})\nfrom torchmetrics import Metric\nimport torchmetrics\n"
        "assert torchmetrics.NEWER == 1\nassert torchmetrics.Metric is Metric\n"
    )

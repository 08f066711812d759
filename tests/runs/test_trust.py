from __future__ import annotations

import pytest
from omegaconf import OmegaConf

from nic_lightning.config import compose, options
from nic_lightning.errors import RunError
from nic_lightning.runs.settings.trust import require_known_targets
from tests.runs.samples import LEARNED


@pytest.mark.parametrize("codec", LEARNED)
def test_every_config_of_ours_is_known(codec):
    require_known_targets(OmegaConf.to_container(compose("train", ["name=x", f"codec={codec}"]), resolve=True))


@pytest.mark.parametrize("task", options("task"))
def test_every_task_of_ours_is_known(task):
    require_known_targets(OmegaConf.to_container(compose("train", ["name=x", f"task={task}"]), resolve=True))


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "builtins.eval",
        "subprocess.Popen",
        "nic_lightning.codecs.cae.os.system",
        "nic_lightning.data.datamodule.os.system",
        "nic_lightning.data.datamodule.Path",
        "nic_lightning.data.datamodule._with_names",
        "nic_lightning.runs.sweep.isolation.run_job",
        "nic_lightning.runs.sweep.isolation.subprocess.run",
        "nic_lightning.train.main",
        "nic_lightning.codecs.missing.Class",
        "nic_lightning.codecs",
        "nic_lightning",
        "",
        "..",
        3,
    ],
)
@pytest.mark.parametrize("nest", [lambda t: {"codec": t}, lambda t: {"a": [{"b": [[t]]}]}], ids=["group", "deep"])
def test_others_are_refused(target, nest):
    with pytest.raises(RunError, match=r"no class of nic_lightning.*NIC_CODEC_PACKAGES"):
        require_known_targets(nest({"_target_": target, "command": "true"}))


def test_what_a_package_of_the_user_only_imports_is_refused(monkeypatch, tmp_path):
    package = tmp_path / "trusted_lab"
    package.mkdir()
    (package / "__init__.py").write_text("from trusted_lab.parts import Task as Shown\n")
    (package / "parts.py").write_text(
        "import os\nimport shutil\nfrom os import system\nfrom shutil import rmtree\nfrom functools import partial\n"
        "class Task:\n    @classmethod\n    def make(cls): ...\ndef loss(): ...\nbare = partial(loss)\nalias = loss\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("NIC_CODEC_PACKAGES", "trusted_lab")
    for name in ("parts.Task", "parts.Task.make", "parts.loss", "parts.alias", "Shown"):
        require_known_targets({"task": {"_target_": f"trusted_lab.{name}"}})
    for name in ("parts.os.system", "parts.shutil.rmtree", "parts.system", "parts.rmtree", "parts.bare", "parts.no"):
        with pytest.raises(RunError, match=rf"trusted_lab\.{name}"):
            require_known_targets({"task": {"_target_": f"trusted_lab.{name}"}})


def test_packages_of_the_user(monkeypatch):
    monkeypatch.setenv("NIC_CODEC_PACKAGES", "mine,other.codecs")
    require_known_targets({"codec": {"_target_": "mine.codecs.Mine"}, "task": {"_target_": "other.codecs.x.Y"}})
    for target in ("minelike.Mine", "other.tasks.Y"):
        with pytest.raises(RunError, match="no class"):
            require_known_targets({"codec": {"_target_": target}})

from __future__ import annotations

import subprocess
import sys

import pytest

from nic_lightning import machine
from nic_lightning.config import ConfigError
from nic_lightning.runs.record.record import RunRecord
from nic_lightning.runs.resume.folder import claim
from nic_lightning.runs.settings.preflight import check_before_start, check_evaluation

IMAGES = "nic_lightning.data.datamodule.ImageDataModule"
DOMAINS = "nic_lightning.data.domain_module.DomainDataModule"
FLOW = "nic_lightning.data.flow_training.FlowDataModule"


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"name": ""}, "name= names no folder inside runs/"),
        ({"name": "../evil"}, "run_dir=PATH"),
        ({"name": "/evil"}, "run_dir=PATH"),
        ({"codec": {"width": 0}}, "codec.width has to be at least 1, not 0."),
        ({"codec": {"_target_": "nic_lightning.baselines.pillow.Jpeg"}}, "nothing to train; nic-evaluate codec=NAME"),
        ({"task": {"quantile_learning_rate": -1}}, "task.quantile_learning_rate has to be 0 or more, not -1"),
        ({"task": {"learning_rate": float("nan")}}, "task.learning_rate has to be 0 or more, not nan"),
        ({"ckpt_path": "/no/such.ckpt"}, "ckpt_path=/no/such.ckpt is no file"),
        ({"trainer": {"max_time": "12:00"}}, "trainer.max_time is '12:00'; give DD:HH:MM:SS"),
        ({"evaluation": {"limit": 0}}, "evaluation.limit has to be at least 1"),
        ({"evaluation": {"save_images": -1}}, "evaluation.save_images has to be at least 0"),
        ({"evaluation": {"datasets": ["kodka"]}}, "evaluation.datasets: There is no data set or folder 'kodka'"),
        ({"data": {"_target_": IMAGES, "train": "kodka"}}, "data.train: There is no data set or folder 'kodka'"),
        ({"data": {"_target_": IMAGES, "train": ["embedded", "x/y"]}}, "data.train: The folder"),
        ({"data": {"_target_": IMAGES, "train": "embedded", "validation": "kodka"}}, "data.validation: There is no"),
        ({"data": {"_target_": IMAGES, "train": "kodak", "root": "/nowhere"}}, "The folder /nowhere/kodak of data set"),
        ({"data": {"_target_": IMAGES, "samples_per_epoch": 4, "batch_size": 8}}, "An epoch has 4 samples, less than"),
        ({"data": {"_target_": DOMAINS, "train": "nowhere"}}, "data.train: There is no folder nowhere below"),
        ({"data": {"_target_": FLOW, "photographs": ["kodka"]}}, "data.photographs: There is no data set"),
        ({"data": {"_target_": FLOW, "sets": ["sintl"]}}, "data.sets: There is no flow data set 'sintl'"),
        ({"init_from": "/no/such"}, "init_from=/no/such does not exist"),
        ({"evaluation": {"baselines": ["jpg"]}}, "no classic codec 'jpg'; the nearest of "),
        ({"evaluation": {"baselines": ["cae"]}}, "no classic codec 'cae'"),
    ],
)
def test_what_cannot_work_is_refused_before_training(config: dict, sentence: str) -> None:
    with pytest.raises(ConfigError) as error:
        check_before_start(config)
    assert sentence in str(error.value)


def test_the_evaluation_looks_below_the_runs_data_root(tmp_path) -> None:
    config = {"data": {"root": str(tmp_path)}, "evaluation": {"datasets": ["my sets/a"]}}
    with pytest.raises(ConfigError, match=r"data\.root=PATH"):
        check_before_start(config)
    (tmp_path / "my sets" / "a").mkdir(parents=True)
    (tmp_path / "my sets" / "a" / "a.png").write_bytes(b"located, not read")
    check_before_start(config)


def test_what_can_work_passes() -> None:
    check_before_start({})
    check_before_start(
        {"name": "sub/codec=cae", "codec": {"width": 8, "lambdas": [64]}, "data": None, "task": {"learning_rate": 0.1}}
    )
    check_before_start({"data": {"_target_": "mine.Data", "train": "what only I know"}})
    check_before_start({"data": {"_target_": IMAGES, "train": ["embedded_train"], "validation": "embedded_valid"}})
    check_before_start({"data": {"_target_": FLOW, "photographs": ["embedded"], "validation": "embedded_valid"}})
    check_before_start({"evaluation": {"datasets": ["embedded"], "baselines": ["jpeg", "webp"], "limit": 1}})


def test_domains_are_looked_for_as_folders(tmp_path) -> None:
    (tmp_path / "faces" / "cat").mkdir(parents=True)
    data = {"_target_": DOMAINS, "root": str(tmp_path), "train": "faces"}
    check_before_start({"data": {**data, "domains": ["cat"]}})
    with pytest.raises(ConfigError, match="has no domain 'dog'"):
        check_before_start({"data": {**data, "domains": ["cat", "dog"]}})


@pytest.mark.parametrize(("visible", "files", "none"), [(None, [], True), (None, ["x"], False), ("-1", ["x"], True)])
def test_a_gpu_that_is_not_there_is_missed_without_torch(monkeypatch, visible, files, none) -> None:
    monkeypatch.setattr(machine.platform, "system", lambda: "Linux")
    monkeypatch.setattr(machine.glob, "glob", lambda pattern: files)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    check_before_start({"trainer": {"accelerator": "cpu"}})
    if not none:
        check_before_start({"trainer": {"accelerator": "gpu"}})
        return
    with pytest.raises(ConfigError, match="there is no GPU here; trainer=cpu does without"):
        check_before_start({"trainer": {"accelerator": "gpu"}})
    with pytest.raises(ConfigError, match="no GPU for device=cuda:1"):
        check_evaluation({"device": "cuda:1"})


def test_nothing_of_it_needs_torch() -> None:
    code = (
        "import sys; from nic_lightning.runs.settings import preflight, sources\n"
        "from nic_lightning.runs.index import labels\n"
        "from nic_lightning.commands import file_by_file\nfrom nic_lightning.data import images\n"
        "from nic_lightning import bitstream\nprint('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_finished_run_is_left_alone_and_nothing_is_moved_for_a_bad_start(tmp_path) -> None:
    bad = {"evaluation": {"datasets": ["kodka"]}}
    record = RunRecord(tmp_path / "run")
    record.start(bad, [])
    record.finish("finished")
    assert claim(record.folder, bad) == "finished"
    with pytest.raises(ConfigError):
        claim(record.folder, bad, fresh=True)
    assert [p.name for p in tmp_path.iterdir()] == ["run"]
    record.finish("failed", "killed")
    assert claim(record.folder, bad, here=False) == "continue"

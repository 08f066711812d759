from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

from nic_lightning.config import CONF_DIR, compose
from nic_lightning.errors import RunError, UserError
from nic_lightning.runs.record.record import RunRecord, to_yaml
from nic_lightning.runs.resume.resume import prepare, recorded_overrides

GIVEN = ["name=toy", "codec.width=8", "trainer=ddp_cpu", "trainer.max_steps=40", "logger=none"]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of nic-train that was killed, in a sweep's folder."""
    return make(tmp_path / "sweep" / "toy")


def make(folder: Path, state: str = "running", **changes) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(to_yaml({**stored(), **changes}))
    (folder / "overrides.yaml").write_text(to_yaml(GIVEN))
    (folder / "environment.json").write_text("{}")
    RunRecord(folder).finish(state)
    return folder


@cache
def stored() -> dict:
    return {str(k): v for k, v in OmegaConf.to_container(compose("train", GIVEN), resolve=True).items()}


def composed(run: Path) -> dict:
    return yaml.safe_load((run / "resume.yaml").read_text())


def test_the_stored_config_goes_on_wherever_the_run_lies(run, tmp_path):
    moved = run.rename(tmp_path / "moved it's")
    start = prepare(moved)
    assert start is not None
    assert start.command[1:] == ["-m", "nic_lightning.train", "--config-dir", str(moved), "--config-name", "resume"]
    assert start.folder == Path.cwd()
    config = composed(moved)
    assert config.pop("defaults") == ["schema", "_self_"]
    hydra = config.pop("hydra")
    assert hydra["run"]["dir"] == str(moved)
    for script in ("train", "evaluate"):  # they print sentences alone, and so does a continued run
        of_script = yaml.safe_load((CONF_DIR / f"{script}.yaml").read_text())["hydra"]["job_logging"]
        assert hydra["job_logging"] == of_script
    stored = yaml.safe_load((moved / "config.yaml").read_text())
    assert config == {**stored, "run_dir": str(moved)}


def test_it_continues_in_the_working_folder_of_then(run, tmp_path):
    facts = json.loads((run / "environment.json").read_text())
    for cwd, expected in ((str(tmp_path), tmp_path), (str(tmp_path / "gone"), Path.cwd()), (3, Path.cwd())):
        (run / "environment.json").write_text(json.dumps({**facts, "cwd": cwd}))
        start = prepare(run)
        assert start is not None
        assert start.folder == expected
    (run / "environment.json").write_text("[" * 100_000)
    assert prepare(run) is not None


def test_what_belonged_to_the_start_is_over(tmp_path):
    run = make(tmp_path / "toy", fresh=True, ckpt_path="/elsewhere/last.ckpt")
    assert prepare(run) is not None
    assert (composed(run)["fresh"], composed(run)["ckpt_path"]) == (False, None)
    assert prepare(run, ["ckpt_path=mine.ckpt"]) is not None
    assert composed(run)["ckpt_path"] == str(Path.cwd() / "mine.ckpt")


def test_a_job_stays_in_its_sweep(tmp_path):
    job = make(tmp_path / "sweep" / "seed=1", run_dir="runs/sweep")
    assert prepare(job) is not None
    assert composed(job)["run_dir"] == str(tmp_path / "sweep")


def test_keys_that_are_newer_than_the_run(run):
    stored = yaml.safe_load((run / "config.yaml").read_text())
    del stored["deterministic"], stored["checkpoint"]["every_n_minutes"]
    (run / "config.yaml").write_text(yaml.safe_dump(stored))
    assert prepare(run) is not None
    config = composed(run)
    assert config["deterministic"] is False
    assert config["checkpoint"]["every_n_minutes"] is None
    del config["defaults"], config["hydra"]
    assert recorded_overrides(run, config, [], "resume") == GIVEN


def test_finished_runs_are_left_alone_until_they_are_to_be_longer(tmp_path):
    run = make(tmp_path / "toy", state="finished")
    assert prepare(run) is None
    assert prepare(run, ["trainer.max_steps=20"]) is None
    assert not (run / "resume.yaml").exists()
    assert prepare(run, ["trainer.max_steps=80"]) is not None
    assert composed(run)["trainer"]["max_steps"] == 80


def test_a_string_is_a_list_of_it(run):
    assert prepare(run, ["evaluation.datasets=kodak"]) is not None
    assert composed(run)["evaluation"]["datasets"] == ["kodak"]


def test_overrides_yaml_says_what_nic_train_needs(run):
    extra = ["data.root=/x y", "trainer=cpu", "trainer.max_steps=80", "+trainer.detect_anomaly=true"]
    assert prepare(run, [*extra, "logger=wandb"]) is not None
    config = {k: v for k, v in composed(run).items() if k not in ("defaults", "hydra")}
    overrides = recorded_overrides(run, config, [], "resume")
    again = OmegaConf.to_container(compose("train", overrides), resolve=True)
    wanted = {k: v for k, v in config.items() if k not in ("run_dir", "logger")}
    assert {k: again[k] for k in wanted} == wanted
    assert recorded_overrides(run, config, ["seed=1"], "train") == ["seed=1"]


@pytest.mark.parametrize(
    ("extra", "sentence"),
    [
        ("codec.width=9", "it would be another run: codec.width is 8 there and 9 here"),
        ("seed=3", "another run: seed is 0 there and 3 here"),
        ("data.crop=32", "another run: data.crop"),
        ("task.learning_rate=1", "another run: task.learning_rate"),
        ("+trainer.accumulate_grad_batches=2", "another run: trainer.accumulate_grad_batches is 1 there and 2 here"),
        ("trainer.gradient_clip_val=null", "trainer.gradient_clip_val is 1.0 there and None here; for that one, give"),
        ("init_from=x", "another run: init_from"),
        ("run_dir=x", "in its own folder"),
        ("++fresh=true", "in its own folder"),
        ("trainer.max_steps=abc", "trainer.max_steps must be int, not 'abc'"),
        ("+trainer.max_step=3", "has no argument 'max_step' (did you mean 'max_steps'?)"),
    ],
)
def test_overrides_that_do_not_continue_the_run(run, extra, sentence):
    before = sorted((p.name, p.read_bytes()) for p in run.iterdir())
    with pytest.raises(UserError) as error:
        prepare(run, [extra])
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)
    assert sorted((p.name, p.read_bytes()) for p in run.iterdir()) == before


def test_a_run_on_another_host_needs_force(run):
    RunRecord(run).start(yaml.safe_load((run / "config.yaml").read_text()), GIVEN)
    status = json.loads((run / "status.json").read_text())
    status["process"]["host"] = "elsewhere.example"
    (run / "status.json").write_text(json.dumps(status))
    with pytest.raises(RunError, match=r"elsewhere\.example.*give --force"):
        prepare(run)
    assert prepare(run, force=True) is not None


def test_the_pid_of_a_living_process_is_respected(run, monkeypatch):
    RunRecord(run).start(yaml.safe_load((run / "config.yaml").read_text()), GIVEN)
    own = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: own + 1)  # this process looks at another one's run
    with pytest.raises(RunError, match="is being trained by process"):
        prepare(run)


@pytest.mark.parametrize(
    "change",
    [
        {"hydra": {"job_logging": {"()": "os.system"}}},
        {"defaults": [{"codec": "cae"}]},
        {"codec": {"_target_": "os.system", "command": "touch hacked"}},
        {"codec": {"_target_": "nic_lightning.codecs.cae.CompressiveAutoencoder", "width": {"_target_": "os.getcwd"}}},
        {"name": "${oc.env:HOME}"},
        {"tags": ["a", {"b": "${oc.decode:x}"}]},
        {"seed": "abc"},
        {"codec": None},
        {"trainer": ["x"]},
        {"trainer": {"max_steps": 3, "surprise": 1}},
    ],
)
def test_hostile_and_damaged_configs_are_one_sentence(run, change):
    stored = yaml.safe_load((run / "config.yaml").read_text())
    (run / "config.yaml").write_text(yaml.safe_dump({**stored, **change}))
    with pytest.raises(UserError) as error:
        prepare(run)
    assert "\n" not in str(error.value)
    assert not (run / "resume.yaml").exists()


@pytest.mark.parametrize("name", ["config.yaml", "status.json"])
@pytest.mark.parametrize("content", [None, "", "[1", "[" * 1_500])
def test_damaged_files(run, name, content):
    (run / name).unlink() if content is None else (run / name).write_text(content)
    with pytest.raises(RunError, match="cannot be continued"):
        prepare(run)


def test_an_evaluation_is_nothing_to_continue(tmp_path):
    RunRecord(tmp_path / "jpeg").start({"name": "jpeg", "codec": {"quality": 3}}, [])
    with pytest.raises(RunError, match="holds no training"):
        prepare(tmp_path / "jpeg")


def test_names_that_have_moved_are_taken_for_the_present_ones():
    from nic_lightning.targets import MOVED, with_present_names

    for old, new in MOVED.items():
        stored = {"logger": {"_target_": old, "folder": "x"}, "list": [{"_target_": old}], "name": old}
        moved = {"logger": {"_target_": new, "folder": "x"}, "list": [{"_target_": new}], "name": old}
        assert with_present_names(stored) == moved
        module, _, name = new.rpartition(".")
        assert hasattr(__import__(module, fromlist=[name]), name)

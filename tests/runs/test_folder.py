from __future__ import annotations

import copy

import pytest
import yaml

from nic_lightning.errors import RunError
from nic_lightning.runs.record.record import RunRecord
from nic_lightning.runs.resume.folder import claim
from nic_lightning.runs.settings.identity import DEFAULTS, TRAINER_FREE
from nic_lightning.signatures import read_signature

CONFIG = {
    "name": "toy",
    "seed": 7,
    "init_from": None,
    "codec": {"_target_": "a.B", "width": 8, "lambdas": [64, 512]},
    "task": {"learning_rate": 1e-4},
    "data": {"train": ["kodak"]},
    "trainer": {"max_steps": 100, "max_epochs": None},
    "logger": None,
}


@pytest.fixture
def folder(tmp_path):
    record = RunRecord(tmp_path / "run")
    record.start(CONFIG, [])
    return record.folder


def changed(**values) -> dict:
    """CONFIG with dotted keys set: `changed(codec__width=9)`."""
    config = copy.deepcopy(CONFIG)
    for key, value in values.items():
        *parents, last = key.split("__")
        place = config
        for parent in parents:
            place = place[parent]
        place[last] = value
    return config


def test_a_folder_without_a_run_is_new(tmp_path):
    assert claim(tmp_path / "missing", CONFIG) == "new"
    assert claim(tmp_path, CONFIG) == "new"
    assert claim(tmp_path / "missing", CONFIG, fresh=True) == "new"
    assert not (tmp_path / "missing").exists()


@pytest.mark.parametrize("state", ["running", "failed"])
def test_a_half_done_run_is_continued(folder, state):
    RunRecord(folder).finish(state)
    assert claim(folder, CONFIG) == "continue"


def test_a_finished_run_is_finished_until_it_is_to_be_longer(folder):
    RunRecord(folder).finish("finished")
    assert claim(folder, CONFIG) == "finished"
    assert claim(folder, changed(trainer__max_steps=50)) == "finished"
    assert claim(folder, changed(trainer__max_steps=101)) == "continue"
    assert claim(folder, changed(trainer__max_steps=-1)) == "continue"  # without end
    assert claim(folder, changed(trainer=None)) == "continue"


def test_more_epochs_are_longer_too(tmp_path):
    record = RunRecord(tmp_path)
    record.start(changed(trainer={"max_steps": -1, "max_epochs": 2}), [])
    record.finish("finished")
    assert claim(tmp_path, changed(trainer={"max_steps": -1, "max_epochs": 2})) == "finished"
    assert claim(tmp_path, changed(trainer={"max_steps": -1, "max_epochs": 3})) == "continue"


def test_what_does_not_make_a_run_another_one(folder):
    same = changed(name="other", logger={"project": "x"}, trainer={"max_steps": 100, "precision": "bf16-mixed"})
    assert claim(folder, same) == "continue"


@pytest.mark.parametrize(
    "trainer",
    [
        {"devices": 2, "strategy": "ddp", "accelerator": "gpu"},
        {"max_time": "00:01:00:00", "max_epochs": 3, "min_steps": 5},
        {"log_every_n_steps": 1, "val_check_interval": 7, "limit_val_batches": 0, "profiler": "simple"},
        {"accumulate_grad_batches": 1, "limit_train_batches": None, "overfit_batches": 0},  # Lightning's defaults
    ],
)
def test_where_it_computes_how_long_and_what_looks_on_may_change(folder, trainer):
    assert claim(folder, changed(trainer={"max_steps": 100, **trainer}), here=False) == "continue"


@pytest.mark.parametrize(
    ("name", "same"),
    [
        ("nic_lightning.callbacks.translations.TranslationGrid", True),
        ("pytorch_lightning.callbacks.EarlyStopping", True),
        ("lightning.pytorch.callbacks.EarlyStopping", True),
        ("nic_lightning.callbacks.lambda_scheduling.LambdaScheduling", False),
        ("pytorch_lightning.callbacks.StochasticWeightAveraging", False),
        ("mine.Callback", False),
    ],
)
def test_callbacks_that_change_training_make_another_run(folder, name, same):
    config = {**CONFIG, "callbacks": {"one": {"_target_": name, "start": 5}}}
    if same:
        assert claim(folder, config) == "continue"
        return
    with pytest.raises(RunError, match=r"callbacks\.one is None there"):
        claim(folder, config)


def test_every_key_of_the_trainer_is_known():
    signature = read_signature("pytorch_lightning.Trainer")
    assert signature is not None
    parameters = signature.parameters
    assert parameters.keys() >= (TRAINER_FREE | DEFAULTS.keys())
    assert not TRAINER_FREE & DEFAULTS.keys()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 8}, "seed is 7 there and 8 here"),
        ({"codec__width": 9}, "codec.width is 8 there and 9 here"),
        ({"codec__lambdas": [64]}, "codec.lambdas is [64, 512] there"),
        ({"codec__new": 1}, "codec.new is None there"),
        ({"task__learning_rate": 2e-4}, "task.learning_rate is 0.0001 there"),
        ({"data__train": "clic"}, "data.train"),
        ({"init_from": "runs/x"}, "init_from is None there"),
        ({"codec": None}, "codec is"),
        ({"trainer__gradient_clip_val": 5}, "trainer.gradient_clip_val is None there and 5 here"),
        ({"trainer__accumulate_grad_batches": 4}, "trainer.accumulate_grad_batches is 1 there and 4 here"),
        ({"trainer__limit_train_batches": 0.5}, "trainer.limit_train_batches is 1.0 there and 0.5 here"),
        ({"trainer__overfit_batches": 1}, "trainer.overfit_batches is 0.0 there and 1 here"),
    ],
)
def test_another_run_is_refused_and_the_difference_named(folder, change, named):
    before = sorted((p.name, p.read_bytes()) for p in folder.iterdir())
    with pytest.raises(RunError) as error:
        claim(folder, changed(**change))
    assert named in str(error.value)
    assert "fresh=true" in str(error.value)
    assert sorted((p.name, p.read_bytes()) for p in folder.iterdir()) == before


def test_a_run_that_failed_before_its_first_step_is_in_nobodys_way(folder):
    RunRecord(folder).finish("failed", "UserError: width 9 is odd")
    assert claim(folder, changed(codec__width=10)) == "continue"
    RunRecord(folder).log(1, {"train/loss": 1.0})
    with pytest.raises(RunError, match=r"codec\.width is 8 there and 10 here"):
        claim(folder, changed(codec__width=10))


def test_fresh_moves_the_old_run_aside_and_never_deletes(folder):
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "last.ckpt").write_bytes(b"weights")
    for _ in range(3):  # three times in a second
        assert claim(folder, changed(seed=99), fresh=True) == "new"
        assert not folder.exists()
        RunRecord(folder).start(CONFIG, [])
    aside = sorted(folder.parent.glob("run.replaced-*"))
    assert len(aside) == 3
    assert any((p / "checkpoints" / "last.ckpt").is_file() for p in aside)


@pytest.mark.parametrize(
    "content",
    [b"", b"- a list\n", b"text", b"a: [1,\n", b"\xff\xfe\x00bad", b"a: !!python/object:os.system {}\n", b"[" * 5000],
)
def test_a_damaged_config(folder, content):
    (folder / "config.yaml").write_bytes(content)
    with pytest.raises(RunError, match="damaged run") as error:
        claim(folder, CONFIG)
    assert "\n" not in str(error.value)
    assert claim(folder, CONFIG, fresh=True) == "new"


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b'{"state": "done"}'])
def test_a_damaged_status(folder, content):
    if content is None:
        (folder / "status.json").unlink()
    else:
        (folder / "status.json").write_bytes(content)
    with pytest.raises(RunError, match="damaged run"):
        claim(folder, CONFIG)


def test_a_stored_trainer_that_is_no_mapping(folder):
    RunRecord(folder).finish("finished")
    (folder / "config.yaml").write_text(yaml.safe_dump(changed(trainer="cpu")))
    assert claim(folder, CONFIG) == "finished"

from __future__ import annotations

import pytest

from nic_lightning.config import ConfigError
from nic_lightning.runs.folder import claim
from nic_lightning.runs.preflight import check_before_start
from nic_lightning.runs.record import RunRecord


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
        ({"evaluation": {"baselines": ["jpg"]}}, "no classic codec 'jpg' (did you mean 'jpeg'?)"),
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
    check_before_start({"evaluation": {"datasets": ["embedded"], "baselines": ["jpeg", "webp"], "limit": 1}})


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

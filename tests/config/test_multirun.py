"""Folders of a multirun, and how it ends."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from nic_lightning.config import quoted, safe_name
from nic_lightning.errors import DataError
from nic_lightning.runs.record.record import RunRecord
from nic_lightning.runs.sweep.isolation import JobFailed

OK = ["data.folder=x", "name=r"]
PARAMS = "# @package _global_\nhydra:\n  sweeper:\n    params:\n      codec.width: 3,4\n"


def nothing(cfg) -> None:
    return None


def folders(conf: Path) -> list[str]:
    root = conf.parent / "runs"
    found = [p.relative_to(root) for p in root.rglob("*") if p.is_dir() and not any(c.is_dir() for c in p.iterdir())]
    return sorted(map(str, found))


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["name=r", "codec.width=1,2", "experiment=big", "tags=[a]"], ["r/codec.width=1", "r/codec.width=2"]),
        (["name=r", "seed=range(2)"], ["r/seed=0", "r/seed=1"]),
        (["name=r", "seed=1,2", "codec.width=3,4"], [f"r/codec.width={w},seed={s}" for w in (3, 4) for s in (1, 2)]),
        (["name=r", "+sweep=widths"], ["r/codec.width=3", "r/codec.width=4"]),
        (["name=r", "+sweep=widths", "codec.width=5,6"], ["r/codec.width=5", "r/codec.width=6"]),
        (["name=r", "+sweep=widths", "codec.width=5"], ["r"]),
        (["name=r", "codec.lambdas=[1,2],[3]"], ["r/codec.lambdas=[1,2]", "r/codec.lambdas=[3]"]),
        (["name=r", "codec=small,wide"], ["r/codec=small", "r/codec=wide"]),
        (["codec=small,wide"], [f"codec=small,wide/codec={name}" for name in ("small", "wide")]),
        (["name=a,b"], ["name=a,b/name=a", "name=a,b/name=b"]),
        (["experiment=big", "codec=small,wide"], ["big/codec=small", "big/codec=wide"]),
        (["name=r", "seed=3"], ["r"]),
        (["name=r", "tags=[a],[b]", "run_dir='runs/it\\'s'"], ["it's/tags=[a]", "it's/tags=[b]"]),
    ],
)
def test_folders_are_named_by_what_is_swept(run, conf: Path, arguments: list[str], found: list[str]) -> None:
    (conf / "sweep").mkdir()
    (conf / "sweep" / "widths.yaml").write_text(PARAMS)
    run(nothing, "-m", "data.folder=x", *arguments)
    assert folders(conf) == found
    run(nothing, "-m", *reversed(arguments), "data.folder=x")
    assert folders(conf) == found  # the same command line in another order
    assert not list(conf.parent.rglob("train.log"))


def test_long_and_odd_values_become_short_names_that_differ(run, conf: Path) -> None:
    values = ["'/a b/c'", "/a_b/c", "'" + 150 * "y" + "1'", "'" + 150 * "y" + "2'", "../../../up"]
    run(nothing, "-m", "name=r", "data.folder=" + ",".join(values))
    names = [p.name for p in (conf.parent / "runs" / "r").iterdir() if p.is_dir()]
    assert len(names) == 5
    for name in names:
        assert name.startswith("data.folder=")
        assert len(name) <= 100
        assert not set(name) & set(" /'\"")
    assert not (conf.parent / "up").exists()


@pytest.mark.parametrize("text", ["", "codec.lmbda=64,seed=1", "a=[1,2]", "+new=1e-3", "täg=x"])
def test_a_plain_name_stays(text: str) -> None:
    assert safe_name(text) == text


def test_a_name_is_no_path_and_fits() -> None:
    names = [safe_name(text) for text in ("a/b", "a_b", "a b", "a\\b", 200 * "ä", 201 * "ä", "x" * 101)]
    assert len(set(names)) == len(names)
    for name in names:
        assert len(name.encode()) <= 100
        assert Path(name).name == name


@pytest.mark.parametrize("text", ["plain", "it's", "b\\", "b\\'", "\\\\'x", "a b=[1,{2"])
def test_quoted_text_arrives(text: str) -> None:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    assert OverridesParser.create().parse_override(f"key={quoted(text)}").value() == text


def test_failing_jobs_are_listed_when_the_others_are_through(run, conf: Path, capsys) -> None:
    seen = []

    def task(cfg) -> None:
        from hydra.core.hydra_config import HydraConfig

        folder = Path(HydraConfig.get().runtime.output_dir)
        seen.append(cfg.codec.width)
        if cfg.codec.width == 1:
            raise DataError("one is too small")
        if cfg.codec.width == 2:
            (folder / "output.log").write_text("killed")
            raise JobFailed(folder, -9, "killed by SIGKILL")
        if cfg.codec.width == 3:
            raise ZeroDivisionError("ours")

    with pytest.raises(SystemExit) as stop:
        run(task, "-m", *OK, "codec.width=1,2,3,4,5")
    assert stop.value.code == 1
    assert seen == [1, 2, 3, 4, 5]
    root, error = conf.parent / "runs" / "r", capsys.readouterr().err
    assert error[error.index("5 jobs") :].splitlines() == [
        "5 jobs in runs/r: 2 finished, 3 failed.",
        f"  {root}/codec.width=1: one is too small",
        f"  {root}/codec.width=2: killed by SIGKILL",
        f"    log: {root}/codec.width=2/output.log",
        f"  {root}/codec.width=3: ours",
        "The same command continues what is missing.",
        "To compare them: nic report runs/r",
    ]
    assert "ZeroDivisionError: ours" in error[: error.index("5 jobs")]  # a bug keeps its traceback
    lines = [json.loads(line) for line in (root / "jobs.jsonl").read_text().splitlines()]
    assert [line["code"] for line in lines] == [2, 1, 1, 0, 0]


def test_mistakes_of_the_user_alone_end_with_2_and_a_second_start_tells_of_itself_only(run, capsys) -> None:
    fail = True

    def task(cfg) -> None:
        if fail:
            raise DataError("No disk.")

    with pytest.raises(SystemExit) as stop:
        run(task, "-m", *OK, "seed=1,2")
    assert stop.value.code == 2
    assert "2 jobs in runs/r: 0 finished, 2 failed." in capsys.readouterr().err
    fail = False
    run(task, "-m", *OK, "seed=1,2")
    done = capsys.readouterr()
    assert done.out.splitlines()[-2:] == [
        "2 jobs in runs/r: 2 finished, 0 failed.",
        "To compare them: nic report runs/r",
    ]
    assert done.err == ""


def test_a_multirun_into_a_run_is_refused(run, conf: Path, capsys) -> None:
    RunRecord(conf.parent / "runs" / "r").start({"name": "r", "trainer": {}}, [])
    before = sorted(path.name for path in (conf.parent / "runs" / "r").iterdir())
    with pytest.raises(SystemExit) as stop:
        run(nothing, "-m", *OK, "seed=1,2")
    assert stop.value.code == 2
    assert "runs/r holds a training (nic-train), which stays as it is" in capsys.readouterr().err
    assert sorted(path.name for path in (conf.parent / "runs" / "r").iterdir()) == before


PRESETS = """
import json
from hydra import compose, initialize_config_dir
from nic_lightning.config import CONF_DIR, options, register_schemas

register_schemas()
found = {}
with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
    for name in options("launch"):
        cfg = compose("train", [f"launch={name}"], return_hydra_config=True)
        found[name] = cfg.hydra.runtime.choices["hydra/launcher"]
    for name in options("sweep"):
        cfg = compose("train", ["codec=cae", f"+sweep={name}"], return_hydra_config=True)
        found[name] = list(cfg.hydra.sweeper.params)
print(json.dumps(found))
"""


def test_every_launch_and_sweep_preset_composes() -> None:
    """In a new process: Hydra knows the Ray launcher only from its first look at its plugins."""
    done = subprocess.run([sys.executable, "-c", PRESETS], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "local": "basic",
        "joblib": "joblib",
        "submitit_local": "submitit_local",
        "slurm": "submitit_slurm",
        "ray": "ray",
        "torchrun": "basic",
        "lambdas": ["codec.lmbda"],
        "seeds": ["seed"],
        "widths": ["codec.width"],
    }

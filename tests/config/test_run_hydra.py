from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf.errors import ConfigAttributeError

from nic_lightning import config
from nic_lightning.errors import READER_GONE, DataError

OK = ["data.folder=x", "name=r"]


def untouched(cfg) -> None:
    pytest.fail("the task must not start")


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        (
            "codec.widht=3",
            "There is no key 'codec.widht' (did you mean 'width'?); `--cfg job` lists the keys.",
        ),
        ("sede=3", "There is no key 'sede' (did you mean 'seed'?); `--cfg job` lists the keys."),
        ("codec=smal", "There is no codec 'smal' (did you mean 'small'?); there are: picky, small, wide."),
        ("experiment=foo", "There is no experiment 'foo'; there is only big."),
        ("codec=null", "takes the name of one of its files, as in logger=none; null is no name."),
        ("codec.width=abc", "codec.width must be int, not 'abc'."),
        ("seed=abc", "seed must be of type integer, not 'abc'."),
        ("evaluation.limit=abc", "evaluation.limit must be of type integer, not 'abc'."),
        ("seed=[", "is not of the form key=value"),
        ("colour=red=blue=[", "is not of the form key=value"),
        ("trainer.max_stepz=3", "There is no key 'trainer.max_stepz' (did you mean 'max_steps'?)"),
        (
            "+trainer.max_epoch=3",
            "trainer.max_epoch: pytorch_lightning.Trainer has no argument 'max_epoch' (did you",
        ),
        ("data.folder=???", "data.folder needs a value"),
        ("deterministic=maybe", "deterministic must be of type bool, not 'maybe'."),
        ("+sede=3", "There is no key 'sede' (did you mean 'seed'?); the + added one that nothing reads."),
    ],
)
def test_a_users_mistake_is_one_sentence(run, capsys, override: str, sentence: str) -> None:
    with pytest.raises(SystemExit) as stop:
        run(untouched, *OK, override)
    assert stop.value.code == 2
    err = capsys.readouterr().err
    assert sentence in err
    assert len(err.splitlines()) == 1
    assert config.FULL_ERROR not in os.environ


def test_what_is_added_may_be_referred_to(run) -> None:
    seen = []
    run(lambda cfg: seen.append(cfg.codec.width), *OK, "+mine=5", "codec.width=${mine}")
    assert seen == [5]


def test_a_sweep_needs_its_plus_and_its_m(run, conf: Path, capsys) -> None:
    (conf / "sweep").mkdir()
    (conf / "sweep" / "three.yaml").write_text(
        "# @package _global_\nhydra:\n  sweeper:\n    params:\n      seed: 0,1,2\n"
    )
    for override, sentence in {
        "sweep=three": "No sweep is chosen yet, so put a + before it: +sweep=NAME; there are: three.",
        "+sweep=three": "A sweep over seed is a multirun: add -m.",
    }.items():
        with pytest.raises(SystemExit) as stop:
            run(untouched, *OK, override)
        assert stop.value.code == 2
        assert capsys.readouterr().err == f"{sentence}\n"
    seen = []
    run(lambda cfg: seen.append(cfg.seed), *OK, "+sweep=three", "seed=2")  # a job of the multirun
    assert seen == [2]


def test_a_config_that_is_no_yaml_is_named(run, conf: Path, capsys) -> None:
    (conf / "codec" / "broken.yaml").write_text("width: 8\nwidth: 9\n")
    with pytest.raises(SystemExit) as stop:
        run(untouched, *OK, "codec=broken")
    assert stop.value.code == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert "broken.yaml" in err


def test_what_lightning_refuses_is_one_sentence(run, capsys) -> None:
    class MisconfigurationException(Exception):
        pass

    def task(cfg) -> None:
        raise MisconfigurationException("No supported gpu\nbackend found!")

    with pytest.raises(SystemExit) as stop:
        run(task, *OK)
    assert stop.value.code == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert "No supported gpu backend found. PyTorch sees no GPU here; trainer=cpu does without." in err


def test_the_task_gets_the_config_and_the_users_environment(run) -> None:
    seen = {}

    def task(cfg) -> None:
        seen.update(width=cfg.codec.width, full=os.environ.get(config.FULL_ERROR), run_dir=cfg.run_dir)

    run(task, *OK, "codec.width=5")
    assert seen == {"width": 5, "full": None, "run_dir": "runs/r"}


def test_a_user_error_of_the_task_is_one_sentence(run, capsys) -> None:
    def task(cfg) -> None:
        raise DataError("No folder 'x'; set data.root.")

    with pytest.raises(SystemExit) as stop:
        run(task, *OK)
    assert stop.value.code == 2
    assert capsys.readouterr().err == "No folder 'x'; set data.root.\n"


@pytest.mark.parametrize("name", ["r", "far/away/r"])
def test_nothing_is_left_of_a_command_that_is_refused(run, conf: Path, name: str) -> None:
    def task(cfg) -> None:
        assert Path("runs", name).is_dir()
        raise DataError("No folder 'x'; set data.root.")

    before = sorted(Path().rglob("*"))
    for refused in (untouched, task):
        with pytest.raises(SystemExit):
            run(refused, "data.folder=" + ("???" if refused is untouched else "x"), f"name={name}")
        assert sorted(Path().rglob("*")) == before
    Path("runs", name).mkdir(parents=True)
    Path("runs", name, "mine").touch()
    with pytest.raises(SystemExit):
        run(task, "data.folder=x", f"name={name}")
    assert Path("runs", name, "mine").exists()


def test_a_bug_keeps_its_traceback(run) -> None:
    def task(cfg) -> None:
        raise ZeroDivisionError("ours")

    with pytest.raises(ZeroDivisionError, match="ours"):
        run(task, *OK)


@pytest.mark.parametrize(
    ("number", "filename", "sentence"),
    [
        (errno.ENOSPC, "runs/r/x", "runs/r/x cannot be used: No space left on device; make room, and the same command"),
        (errno.ENOSPC, None, "A file cannot be used: No space left on device; make room"),
        (errno.EACCES, "runs/r", "runs/r cannot be used: Permission denied; give a folder that you may write to."),
        (errno.ENOENT, "/proc/x", "/proc/x cannot be used: No such file or directory; give a folder that you may"),
        (errno.EFBIG, "runs/r/x", "runs/r/x cannot be used: File too large; raise the limit (ulimit -f)"),
    ],
)
def test_what_the_disk_refuses_is_one_sentence(run, capsys, number: int, filename: str | None, sentence: str) -> None:
    def task(cfg) -> None:
        raise OSError(number, "as a library tells it", filename)

    with pytest.raises(SystemExit) as stop:
        run(task, *OK)
    assert stop.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith(sentence)
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("number", [errno.EBADF, errno.ENOENT])  # the latter of no file
def test_another_error_of_the_system_is_a_bug(run, number: int) -> None:
    def task(cfg) -> None:
        raise OSError(number, "from elsewhere")

    with pytest.raises(OSError, match="from elsewhere"):
        run(task, *OK)


def build(cfg) -> None:
    instantiate(cfg.codec)


def test_what_a_constructor_refuses_is_one_sentence(run, capsys) -> None:
    with pytest.raises(SystemExit) as stop:
        run(build, *OK, "codec=picky", "codec.width=13")
    assert stop.value.code == 2
    assert capsys.readouterr().err == "Thirteen is no width.\n"


def test_what_breaks_in_a_constructor_is_a_bug(run) -> None:
    with pytest.raises(InstantiationException, match="ZeroDivisionError"):
        run(build, *OK, "codec=picky", "codec.width=7")


def test_a_wrong_key_in_the_task_is_a_bug(run) -> None:
    with pytest.raises(ConfigAttributeError, match="no_such_key"):
        run(lambda cfg: cfg.no_such_key, *OK)


def test_an_error_that_causes_itself_ends(run) -> None:
    error = ZeroDivisionError("round and round")
    error.__cause__ = ValueError("and")
    error.__cause__.__cause__ = error

    def task(cfg) -> None:
        raise error

    with pytest.raises(ZeroDivisionError, match="round"):
        run(task, *OK)


def test_full_error_brings_the_traceback_back(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(config.FULL_ERROR, "1")
    with pytest.raises(Exception, match="widht"):
        run(untouched, "codec.widht=3")

    def task(cfg) -> None:
        raise DataError("missing")

    with pytest.raises(DataError, match="missing"):
        run(task, *OK)


def test_an_interrupted_run_ends_without_a_traceback(run, capsys) -> None:
    def task(cfg) -> None:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as stop:
        run(task, *OK)
    assert stop.value.code == 130
    assert capsys.readouterr().err == ""


def test_a_launcher_that_is_not_installed_names_its_extra(run, conf: Path, capsys) -> None:
    (conf / "launch").mkdir()
    for launcher, extra in config.LAUNCHERS.items():
        (conf / "launch" / "far.yaml").write_text(
            f"# @package _global_\ndefaults:\n  - override /hydra/launcher: {launcher}\n"
        )
        with without(launcher), pytest.raises(SystemExit) as stop:
            run(untouched, "-m", *OK, "launch=far", "seed=1,2")
        assert stop.value.code == 2
        sentence = f"The launcher {launcher} is not installed: pip install 'nic_lightning[{extra}]'.\n"
        assert capsys.readouterr().err == sentence


@contextmanager
def without(launcher: str) -> Iterator[None]:
    """Hydra as it is where the plugin was never installed."""
    Plugins.instance()
    known = ConfigStore.instance().repo["hydra"]["launcher"]
    removed = known.pop(f"{launcher}.yaml", None)
    try:
        yield
    finally:
        if removed is not None:
            known[f"{launcher}.yaml"] = removed


def test_hydra_flags_pass_through(run, capsys) -> None:
    run(untouched, "--cfg", "job", "codec.width=77")
    out = capsys.readouterr().out
    assert "width: 77" in out
    assert "run_dir: runs/${name}" in out


PRINTS = """
import sys
from nic_lightning import config
config.run_hydra(lambda cfg: print("x" * 100_000, flush=True), "train")
"""


def test_a_task_whose_reader_is_gone_ends_quietly(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PRINTS, "name=r"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == READER_GONE

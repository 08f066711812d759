"""Images of an evaluation shared among processes: the rows of one process, and no process left behind."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch
from skimage import data, io
from torch import nn

from nic_lightning.baselines.pillow import Jpeg
from nic_lightning.callbacks import crew
from nic_lightning.callbacks.crew import Crew, usual_size
from nic_lightning.callbacks.evaluation import evaluate_into_run, measurements
from nic_lightning.callbacks.parcels import NotPortable, packed, unpacked
from nic_lightning.codecs.hyperprior import ScaleHyperprior
from nic_lightning.codecs.modulated import ModulatedAutoencoder
from nic_lightning.config import compose
from nic_lightning.errors import RunError
from nic_lightning.runs.record.results import read_results
from nic_lightning.testing import excited
from tests.golden import make

GIVEN: dict[str, Any] = {"run": "r", "experiment": "e", "save_images": 2}
SIDES = {"a": 40, "b": 90, "c": 50, "d": 60}
OWN = '''
"""A package that nobody knows but its user."""

import os
import signal
import time
from pathlib import Path

from nic_lightning.baselines.pillow import Jpeg
from nic_lightning.errors import DataError


class Own(Jpeg):
    def __init__(self, folder, qualities=(10, 50)):
        super().__init__(qualities)
        self._folder = Path(folder)

    def compress(self, x, point):
        if x.shape[-1] == 90:
            raise DataError("A picture of 90 pixels is too large for own.")
        if x.shape[-1] == 50 and (self._folder / "killed").exists():
            os.kill(os.getpid(), signal.SIGKILL)
        if (self._folder / "slow").exists():
            (self._folder / f"at_work.{os.getpid()}").touch()
            time.sleep(600)
        if x.shape[-1] == 60 and (self._folder / "broken").exists():
            raise KeyError("a mistake of the author")
        (self._folder / f"by.{os.getpid()}").touch()
        return super().compress(x, point)
'''


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """Four images, and a package with a codec."""
    (tmp_path / "images").mkdir()
    for name, side in SIDES.items():
        io.imsave(tmp_path / "images" / f"{name}.png", data.astronaut()[:side, :side])
    name = f"own_{tmp_path.name}".replace("-", "_")
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def own(folder: Path) -> Any:
    module = __import__(next(folder.glob("own_*")).name)
    return module.Own(str(folder))


def table(run: Path) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k not in ("encode_ms", "decode_ms")} for row in read_results(run)]


def test_rows_pictures_and_channel_rates_are_those_of_one_process(folder, caplog):
    torch.manual_seed(0)
    codec = excited(ModulatedAutoencoder(width=6, lambdas=(64.0, 512.0), hidden=6, kernel_param="rdft"))
    seen: dict[int, list[tuple[str, ...]]] = {1: [], 2: []}
    for workers in (1, 2):
        evaluate_into_run(
            codec,
            folder / f"run{workers}",
            datasets=[str(folder / "images")],
            baselines=[own(folder)],
            workers=workers,
            on_item=lambda *what, by=workers: seen[by].append((*what[:3], what[3].label)),
            **GIVEN,
        )
    one, two = folder / "run1", folder / "run2"
    assert table(two / "results.parquet") == table(one / "results.parquet")
    assert len(table(one / "results.parquet")) == 2 * 4 * 2
    assert (two / "channel_rates.json").read_text() == (one / "channel_rates.json").read_text()
    for picture in [*one.rglob("*.png")]:
        assert (two / picture.relative_to(one)).read_bytes() == picture.read_bytes()
    assert len([*two.rglob("*.png")]) == len([*one.rglob("*.png")]) == 2 * 3
    assert sorted(seen[1]) == sorted(seen[2])
    gaps = [row["refused"] for row in table(two / "results.parquet") if row["refused"]]
    assert gaps == ["A picture of 90 pixels is too large for own."] * 2
    assert caplog.text.count("takes no b of") == 2
    processes = {int(file.suffix[1:]) for file in folder.glob("by.*")}
    assert os.getpid() in processes  # of the first run
    assert len(processes) >= 2
    assert not any(psutil.pid_exists(process) for process in processes - {os.getpid()})


def test_a_killed_process_is_a_sentence_and_the_same_command_goes_on(folder, caplog):
    given = {"datasets": [str(folder / "images")], **GIVEN}
    evaluate_into_run(own(folder), folder / "whole", **given)
    (folder / "killed").touch()
    with pytest.raises(RunError, match=r"that measured c was killed by signal 9; .*evaluation\.workers=1 in one"):
        evaluate_into_run(own(folder), folder / "run", workers=2, **given)
    (folder / "killed").unlink()
    caplog.set_level("INFO")
    evaluate_into_run(own(folder), folder / "run", workers=2, **given)
    assert "images measured before: " in caplog.text
    assert table(folder / "run" / "results.parquet") == table(folder / "whole" / "results.parquet")
    assert not list((folder / "run").glob("*unfinished*"))
    (folder / "broken").touch()
    with pytest.raises(KeyError, match="a mistake of the author") as caught:
        evaluate_into_run(own(folder), folder / "broken_run", workers=2, **given)
    assert "in compress" in caught.value.__notes__[0]


SLOW = [pytest.param(by, marks=pytest.mark.slow) for by in (signal.SIGINT, signal.SIGKILL)]


@pytest.mark.parametrize("by", [signal.SIGTERM, *SLOW])
def test_no_process_outlives_the_one_that_began_it(folder, by):
    (folder / "slow").touch()
    package = next(folder.glob("own_*")).name
    program = (
        f"import sys; sys.path.insert(0, {str(folder)!r})\n"
        f"from {package} import Own\n"
        "from pathlib import Path\n"
        "from nic_lightning.callbacks.evaluation import evaluate_into_run\n"
        f"evaluate_into_run(Own({str(folder)!r}), Path({str(folder / 'run')!r}), run='r', experiment='e', "
        f"datasets=[{str(folder / 'images')!r}], workers=2)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 300  # three starts of Python with torch, on a machine that others use
        while len(busy := [int(file.suffix[1:]) for file in folder.glob("at_work.*")]) < 2:
            assert parent.poll() is None
            assert time.monotonic() < end
            time.sleep(0.1)
        assert parent.pid not in busy
        processes = [psutil.Process(number) for number in busy]
        parent.send_signal(by)
        assert parent.wait(30) != 0
        assert psutil.wait_procs(processes, timeout=30)[1] == []
    finally:
        parent.kill()
        parent.wait()


def test_a_codec_that_no_other_process_can_have_is_measured_in_this_one(folder, caplog):
    class Local(Jpeg):
        pass

    threads = torch.get_num_threads()
    given = {"datasets": [str(folder / "images")], **GIVEN}
    rows = evaluate_into_run(Local([50]), folder / "run", workers=2, **given)
    assert len(rows) == 4
    assert "jpeg is measured in one process: " in caplog.text
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("name", sorted(path.parent.name for path in make.FOLDER.glob("*/codec.json")))
def test_every_codec_comes_out_of_a_parcel_as_it_went_in(name):
    codec = make.load(make.FOLDER / name)
    other = unpacked(packed(codec))
    assert other.fingerprint() == codec.fingerprint()
    strides = {key: value.stride() for key, value in codec.state_dict().items()}
    assert {key: value.stride() for key, value in other.state_dict().items()} == strides


def test_kernels_stored_as_coefficients_come_out_of_a_parcel():
    codec = ScaleHyperprior(width=4, kernel_param="rdft").eval()
    other = unpacked(packed(codec))
    assert {name: type(layer).__name__ for name, layer in other.named_modules()} == {
        name: type(layer).__name__ for name, layer in codec.named_modules()
    }
    x, point = torch.rand(1, 3, 64, 64), codec.operating_points[0]
    assert torch.equal(other(x, point).x_hat, codec(x, point).x_hat)
    with pytest.raises(AttributeError):
        nn.Module.__getattr__(other.g_a[0], "weight")


def test_what_is_of_this_program_alone_goes_into_no_parcel(monkeypatch):
    def kind(**more: Any) -> type:
        return type("Mine", (Jpeg,), more)

    with pytest.raises(NotPortable, match="Mine is defined in the program that runs"):
        packed(kind(__module__="__main__")([50]))
    with pytest.raises(NotPortable):
        packed(lambda: None)


def test_the_usual_number_of_processes(monkeypatch):
    monkeypatch.setattr(crew, "usable_cores", lambda: 8)
    for threads, count, size in ((None, 24, 8), (None, 8, 8), (None, 7, 1), ("2", 24, 2), ("1", 24, 1), ("99", 9, 8)):
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        if threads is not None:
            monkeypatch.setenv("OMP_NUM_THREADS", threads)
        assert usual_size(count) == size
    assert Crew(3, 24).size == 3


@pytest.fixture
def two_threads():
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)


def test_processes_start_where_they_save_time(monkeypatch, two_threads):
    class Member:
        free = True

        def end(self) -> None: ...

    idle = [4]
    monkeypatch.setattr(crew, "_idle_cores", lambda: idle[0])
    monkeypatch.setattr(crew, "_Member", Member)
    monkeypatch.setattr(crew, "usable_cores", lambda: 4)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    work: Any = SimpleNamespace(elsewhere=lambda: None)

    def task(number: int) -> Any:
        return SimpleNamespace(number=number, x=torch.zeros(1, 3, 8, 8))

    with Crew(4, 20):
        assert torch.get_num_threads() == 1
    saved = 1 - 1.5 / 4  # two threads are 1.5 times as fast as one
    with Crew(None, 20) as chosen:
        assert torch.get_num_threads() == 2
        assert not chosen.takes(work, task(0), None)
        assert not chosen.takes(work, task(1), 0.9 * crew.START / (19 * saved))
        assert torch.get_num_threads() == 2
        assert chosen.takes(work, task(2), 1.1 * crew.START / (18 * saved))
        assert torch.get_num_threads() == 1
        assert len(chosen._members) == 4
        assert chosen.takes(work, task(3), None)
    with Crew(None, 20) as chosen:
        idle[0] = 1
        assert not chosen.takes(work, task(1), 100.0)  # others keep the cores busy
        idle[0] = 2
        assert chosen.takes(work, task(2), 100.0)
        assert len(chosen._members) == 2
        assert chosen.takes(work, task(3), None)
        assert len(chosen._members) == 2
    with Crew(None, 20) as chosen:
        monkeypatch.setattr(crew, "MEMORY", 2**60)
        assert not chosen.takes(work, task(1), 100.0)  # no room
    with Crew(3, 20) as asked:
        assert asked.takes(work, task(0), None)
        assert len(asked._members) == 3
    with Crew(1, 20) as single:
        assert not single.takes(work, task(1), 100.0)


def test_distances_and_gpus_take_one_process(folder, caplog, monkeypatch):
    from nic_lightning.callbacks import evaluation
    from nic_lightning.callbacks.ranks import Ranks

    assert evaluation._workers(None, "cpu", Ranks(), []) is None
    assert evaluation._workers(4, "cuda", Ranks(), []) == 4
    assert evaluation._workers(None, "cuda", Ranks(), []) == 1
    caplog.set_level(logging.WARNING)
    assert evaluation._workers(None, "cpu", Ranks(0, 2), []) == evaluation._workers(None, "cpu", Ranks(), ["x"]) == 1
    assert not caplog.text
    assert evaluation._workers(2, "cpu", Ranks(), ["inception"]) == 1
    assert "evaluation.workers=2 is left out: evaluation.fid adds up" in caplog.text


def test_configs_say_how_many_and_old_ones_need_not():
    for name in ("train", "evaluate"):
        config = compose(name, ["evaluation.workers=3"])
        assert measurements(config.evaluation)["workers"] == 3
        assert measurements(compose(name).evaluation)["workers"] is None

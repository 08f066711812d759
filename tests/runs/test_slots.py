from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from nic_lightning.errors import RunError
from nic_lightning.runs.machine import slots
from nic_lightning.runs.machine.slots import demand, share

SWEEP = Path("/runs/sweep")
GPU = {"accelerator": "gpu", "devices": 1}
CPU = {"accelerator": "cpu", "devices": 1}


@pytest.fixture(autouse=True)
def machine(monkeypatch, tmp_path):
    """Eight cores, GPUs 0 and 1, locks of our own."""
    monkeypatch.setattr(slots.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(slots, "usable_cores", lambda: 8)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    for name in ("OMP_NUM_THREADS", "SUBMITIT_EXECUTOR", slots.VISIBLE_TO_SWEEP):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("trainer", "limit", "gpus", "count"),
    [
        (GPU, None, ["0", "1"], 1),
        (GPU, 1, ["0"], 1),
        (GPU, 3, ["0", "1", "0"], 1),  # two jobs on the first GPU
        ({"accelerator": "cuda", "devices": "2"}, None, ["0", "1"], 2),
        ({"accelerator": "gpu", "devices": 2}, 1, ["0", "1"], 2),  # one job, but it needs both
        ({"accelerator": "gpu", "devices": -1}, None, ["0", "1"], 2),
        ({"accelerator": "auto", "devices": "auto"}, None, ["0", "1"], 2),
        ({"accelerator": "gpu", "devices": [1]}, None, ["1"], 1),
        ({"accelerator": "gpu", "devices": "0,1"}, None, ["0", "1"], 2),
        (GPU, 0, [], 0),
    ],
)
def test_gpus_that_a_job_asks_for(trainer, limit, gpus, count):
    wanted = demand(trainer, limit, SWEEP)
    assert [gpu for _, gpu in wanted.slots] == gpus
    assert wanted.count == count
    assert len({name for name, _ in wanted.slots}) == len(gpus)


@pytest.mark.parametrize(
    ("threads", "limit", "devices", "total", "count", "set_threads"),
    [
        (None, None, 1, 1, 1, None),  # a job takes all cores by default
        ("2", None, 1, 4, 1, None),
        ("16", None, 1, 1, 1, None),
        ("2", None, 2, 4, 2, None),
        ("2", 3, 1, 3, 1, None),
        (None, 4, 1, 4, 1, "2"),
        (None, 4, 9, 4, 4, "2"),
        (None, 100, "auto", 100, 1, "1"),
    ],
)
def test_a_cpu_is_shared_by_threads(monkeypatch, threads, limit, devices, total, count, set_threads):
    if threads:
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
    wanted = demand({"accelerator": "cpu", "devices": devices}, limit, SWEEP)
    assert (len(wanted.slots), wanted.count) == (total, count)
    assert wanted.environment.get("OMP_NUM_THREADS") == set_threads


@pytest.mark.parametrize(
    ("visible", "trainer", "limit", "sentence"),
    [
        ("0,1", {"accelerator": "gpu", "devices": 3}, None, r"devices=3 asks for more GPUs than the 2 that"),
        ("0,1", {"accelerator": "gpu", "devices": [0, 2]}, None, r"asks for more GPUs than the 2"),
        ("", GPU, None, r"than the 0 that this machine shows; see CUDA_VISIBLE_DEVICES, or choose trainer=cpu"),
        ("-1", GPU, None, r"than the 0"),
        ("0", CPU, -1, r"launch.slots=-1 is no number of jobs"),
    ],
)
def test_what_the_machine_has_not_is_one_sentence(monkeypatch, visible, trainer, limit, sentence):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with pytest.raises(RunError, match=sentence):
        demand(trainer, limit, SWEEP)


def test_gpus_are_counted_by_nvidia_smi(monkeypatch, tmp_path):
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\nprintf '0\\n1\\n2\\n'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert slots.visible_gpus() == (["0", "1", "2"], {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"})
    tool.write_text("#!/bin/sh\necho no driver; exit 9\n")
    assert slots.visible_gpus() == ([], {})


def test_submitit_hides_no_gpus(monkeypatch):
    monkeypatch.setenv("SUBMITIT_EXECUTOR", "local")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv(slots.VISIBLE_TO_SWEEP, "4,5")
    with share(GPU, None, SWEEP) as first, share(GPU, None, SWEEP) as second:
        assert [first.environment["CUDA_VISIBLE_DEVICES"], second.environment["CUDA_VISIBLE_DEVICES"]] == ["4", "5"]
    assert demand(CPU, 1, SWEEP).environment == {"CUDA_VISIBLE_DEVICES": "4,5"}
    monkeypatch.delenv(slots.VISIBLE_TO_SWEEP)
    assert demand(GPU, 0, SWEEP).environment == {"CUDA_VISIBLE_DEVICES": None}


def test_each_job_has_gpus_of_its_own():
    with share(GPU, None, SWEEP) as first, share(GPU, None, Path("/another/sweep")) as second:
        assert (first.gpus, second.gpus) == (["0"], ["1"])
        assert second.environment == {"CUDA_VISIBLE_DEVICES": "1"}
    with share({"accelerator": "gpu", "devices": 2}, 4, SWEEP) as both:
        assert both.environment["CUDA_VISIBLE_DEVICES"] == "0,1"  # two slots of one GPU would not do
    with share({"accelerator": "gpu", "devices": [1]}, None, SWEEP) as pinned:
        assert (pinned.gpus, pinned.environment) == (["1"], {})  # Lightning counts among all that are visible


def test_cpu_slots_belong_to_a_sweep():
    waited = []
    with share(CPU, 1, SWEEP), share(CPU, 1, Path("/runs/other"), lambda: waited.append(1)):
        assert not waited


def test_a_job_waits_for_all_its_slots_and_the_next_one_behind_it():
    order: list[str] = []
    waiting = threading.Semaphore(0)

    def job(name: str, trainer: dict) -> None:
        with share(trainer, None, SWEEP, waiting.release):
            order.append(name)

    with share(GPU, None, SWEEP) as first, share(GPU, None, SWEEP):
        both = threading.Thread(target=job, args=("both", {"accelerator": "gpu", "devices": 2}))
        both.start()
        waiting.acquire()
        one = threading.Thread(target=job, args=("one", GPU))
        one.start()
        waiting.acquire()
        assert order == []
        assert first.gpus == ["0"]
    both.join(60)
    one.join(60)
    assert sorted(order) == ["both", "one"]
    assert order[0] == "both"


HOLDER = """
import sys, subprocess
from pathlib import Path
from nic_lightning.runs.machine import slots
slots.tempfile.tempdir = sys.argv[1]
with slots.share({"accelerator": "gpu", "devices": 2}, None, Path("/x")) as held:
    job = subprocess.Popen(["sleep", "600"], pass_fds=held.files)
    print(job.pid, flush=True)
    job.wait()
"""


def test_the_kernel_frees_the_slots_of_what_was_killed_but_not_of_a_job_that_lives(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout
    with holder.stdout:
        job = int(holder.stdout.readline())
    try:
        holder.kill()
        holder.wait()
        wanted, folder = demand(GPU, None, SWEEP), tmp_path / f"nic_lightning-{os.getuid()}"
        with slots.ExitStack() as held:
            assert not slots._free(wanted, folder, held)  # the job still has them
    finally:
        os.kill(job, signal.SIGKILL)
    with share(GPU, None, SWEEP) as mine:
        assert mine.gpus == ["0"]


def test_a_folder_of_somebody_else_is_refused(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f"nic_lightning-{os.getuid()}").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunError, match="belongs to somebody else; set TMPDIR"), share(CPU, 1, SWEEP):
        pass

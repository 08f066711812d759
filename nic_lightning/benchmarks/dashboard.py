"""How soon a long list of runs is there, and what following it costs."""

from __future__ import annotations

import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nic_lightning.dashboard.catalogue import Catalogue
from nic_lightning.runs.record.record import RunRecord


def make_runs(root: Path, count: int, lines: int) -> None:
    """`count` finished runs in sweeps of ten, each with `lines` lines of metrics, written by the recorder.

    Config and environment are those of the first: to ask git a thousand times would take most of the time.
    """
    from nic_lightning.config import compose

    first = root / "sweep-000" / "run-0000"
    for number in range(count):
        folder = root / f"sweep-{number // 10:03d}" / f"run-{number:04d}"
        record = RunRecord(folder)
        if number == 0:
            from omegaconf import OmegaConf

            config: Any = OmegaConf.to_container(compose("train", ["codec=modulated", "logger=none", "name=bench"]))
            record.start(config | {"trainer": {"max_steps": lines * 50}}, ["codec=modulated"])
        else:
            folder.mkdir(parents=True)
            for name in ("config.yaml", "overrides.yaml", "environment.json", "status.json"):
                shutil.copyfile(first / name, folder / name)
        points = [f"{metric}@{lmbda}" for metric in ("bpp", "mse") for lmbda in (64, 128, 256, 512, 1024, 2048, 4096)]
        for line in range(lines):
            values = {f"train/{point}": 1 / (line + 1) for point in points}
            record.log(50 * line + 49, {**values, "train/loss": 9 / (line + 1)})
        record.finish("finished")


def main(runs: int, lines: int, rounds: int) -> None:
    """Print times in milliseconds, medians where a thing is done several times."""
    with tempfile.TemporaryDirectory(prefix="nic-bench-") as name:
        root = Path(name)
        make_runs(root, runs, lines)
        _measure(root, rounds)


def _measure(root: Path, rounds: int) -> None:
    from nic_lightning.dashboard.server import make_app

    catalogue = Catalogue(root)
    client = make_app(catalogue, "127.0.0.1", "runs").server.test_client()
    headers = {"Host": "127.0.0.1"}

    def ask(known: str | None) -> Any:
        names = ("delta.data", "known.data", "counts.children")
        outputs = [dict(zip(("id", "property"), each.split("."), strict=True)) for each in names]
        body = {"output": f"..{'...'.join(names)}..", "outputs": outputs, "changedPropIds": ["tick.n_intervals"]}
        body["inputs"] = [{"id": "tick", "property": "n_intervals", "value": 1}]
        body["state"] = [{"id": "known", "property": "data", "value": known}]
        answer = client.post("/_dash-update-component", json=body, headers=headers)
        return answer.get_json()["response"] if answer.status_code == 200 else None

    reader = threading.Thread(target=catalogue.look)
    reader.start()
    start, answers, seen = time.perf_counter(), [], 0
    first: tuple[float, int] | None = None
    while reader.is_alive() or not answers:
        asked = time.perf_counter()
        seen = len((ask(None) or {"delta": {"data": {"rows": []}}})["delta"]["data"]["rows"])
        answers.append(time.perf_counter() - asked)
        if first is None and seen:
            first = (time.perf_counter() - start, seen)
        time.sleep(0.2)
    said = f"{1e3 * first[0]:.0f} ms with {first[1]} runs by name" if first else "after everything was read"
    print(f"first list: {said}; all read after {time.perf_counter() - start:.1f} s")
    if answers:
        middle, longest = 1e3 * statistics.median(answers), 1e3 * max(answers)
        print(f"requests meanwhile: median {middle:.0f} ms, longest {longest:.0f} ms")
    whole = ask(None)
    known = whole["known"]["data"]
    print(f"whole list, {len(whole['delta']['data']['rows'])} runs: {_median(lambda: ask(None), rounds):.1f} ms")
    print(f"nothing new: {_median(lambda: ask(known), rounds):.1f} ms")
    print(f"a look at the disk, in the background: {_median(catalogue.look, rounds):.1f} ms")
    _curves(catalogue, rounds)


def _curves(catalogue: Catalogue, rounds: int) -> None:
    from nic_lightning.dashboard.live import MAX_RUNS_DRAWN, Live

    live = Live()
    folders = catalogue.folders([row["id"] for row in catalogue.rows()][:MAX_RUNS_DRAWN])
    first = _median(lambda: live.curves(folders), 1)
    again = _median(lambda: live.curves(folders), rounds)
    print(f"curves of {len(folders)} runs: first {first:.0f} ms, then {again:.1f} ms")


def _median(call: Callable[[], Any], rounds: int) -> float:
    """Milliseconds."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)

"""The command lines of `nic bench`; tests/benchmarks has what they time."""

from __future__ import annotations

import sys
import types

import pytest

from nic_lightning import cli
from nic_lightning.commands.app import ACTIONS


def test_bench_says_what_it_can_time(capsys) -> None:
    assert cli.main(["bench", "--help"]) == 0
    assert "CompressAI" in capsys.readouterr().out


def test_bench_passes_its_arguments_on(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    bench = types.SimpleNamespace(main=lambda *args, **options: seen.append((args, options)))
    monkeypatch.setitem(sys.modules, "nic_lightning.benchmarks.codec", bench)  # type: ignore[arg-type]
    assert cli.main(["bench", "codec", "--width", "8"]) == 0
    assert seen == [((8,), {"batch": 8, "crop": 240, "size": "512x768", "rounds": 9, "threads": None})]


@pytest.mark.parametrize("kind", ACTIONS["bench"])
def test_help_and_mistakes_of_a_benchmark_come_before_torch(monkeypatch: pytest.MonkeyPatch, capsys, kind: str) -> None:
    monkeypatch.setitem(sys.modules, f"nic_lightning.benchmarks.{kind}", None)  # type: ignore[arg-type]
    for arguments, code in (("--help", 0), ("--wdith=3", 2)):
        assert cli.main(["bench", kind, arguments]) == code
    said = capsys.readouterr()
    assert f"Usage: nic bench {kind}" in said.out
    near = dict.fromkeys(("codec", "evaluation"), "; did you mean --width?") | {"slimmable": "; did you mean --widths?"}
    near = near.get(kind, ".")
    assert said.err.splitlines() == [
        f"nic bench {kind}: unrecognized arguments: --wdith=3{near} See `nic bench {kind} --help`."
    ]
    if kind in ("codec", "slimmable"):
        assert cli.main(["bench", kind, "--crop", "100"]) == 2
        assert capsys.readouterr().err == "--crop is a multiple of 16, the stride of the codecs, not 100.\n"
    count = {"flow": "--repeats", "report": "--runs"}.get(kind, "--rounds")
    assert cli.main(["bench", kind, count, "0"]) == 2
    assert capsys.readouterr().err == f"{count} is at least 1, not 0.\n"

"""`nic inspect`: costs, latency, wrong input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nic_lightning import cli


def test_inspect(capsys) -> None:
    assert cli.main(["inspect", "codec=cae"]) == 0
    text = capsys.readouterr().out
    assert "4,002,819" in text
    assert cli.main(["inspect", "codec=cae", "codec.width=48", "--json", "--size", "64x96"]) == 0
    cost = json.loads(capsys.readouterr().out)
    assert cost["parameters"] == 268_035
    assert (cost["height"], cost["width"]) == (64, 96)


def test_inspect_latency(slim_run: Path, capsys) -> None:
    command = ["inspect", "codec=slimmable", "codec.widths=[4,8]", "--size", "32x48", "--latency", "--repeat", "2"]
    assert cli.main(command) == 0
    text = capsys.readouterr().out
    assert "medians of 2 rounds in which the points take turns" in text
    assert text.count("          w4  ") == 3
    assert cli.main(["inspect", "--run", str(slim_run), "--size", "32x48", "--latency", "--repeat", "2", "--json"]) == 0
    cost = json.loads(capsys.readouterr().out)
    assert [p["label"] for p in cost["points"]] == [p["label"] for p in cost["latency_ms"]] == ["w4", "w8", "w16"]
    for point in cost["latency_ms"]:
        for stage in ("analysis", "synthesis", "encoding", "decoding"):
            assert 0 < point[stage]["low"] <= point[stage]["median"] <= point[stage]["high"]
    assert cli.main(["inspect", "codec=cae", "--run", str(slim_run)]) == 2
    assert capsys.readouterr().err == "--run names the codec; leave codec=cae out.\n"
    assert cli.main([*command[:-1], "0"]) == 2
    assert "give 1 or more" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("override", "sentence"),
    [("codec.width=abc", "codec.width must be int, not 'abc'."), ("codec=jpeg", "is not a learned codec")],
)
def test_inspect_refuses(override: str, sentence: str, capsys) -> None:
    assert cli.main(["inspect", "codec=cae", override] if "." in override else ["inspect", override]) == 2
    assert sentence in capsys.readouterr().err

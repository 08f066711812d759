"""`nic data list` and `nic data check`."""

from __future__ import annotations

import json
from pathlib import Path

from PIL import Image

from nic_lightning import cli


def test_data_list(tmp_path: Path, capsys) -> None:
    assert cli.main(["data", "list", "--root", str(tmp_path)]) == 0
    assert "kodak" in capsys.readouterr().out


def test_data_check(tmp_path: Path, capsys) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "good.png")
    assert cli.main(["data", "check", str(tmp_path)]) == 0
    capsys.readouterr()
    (tmp_path / "bad.png").write_bytes(b"nothing")
    assert cli.main(["data", "check", str(tmp_path), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["present"] == ["good.png"]
    assert "bad.png" in report["damaged"][0]

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nic_lightning.errors import RunError, UserError
from nic_lightning.runs.index.labels import point_facts, require_labels, require_source


def test_labels_of_a_run(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoints" / "last.ckpt"
    checkpoint.parent.mkdir()
    checkpoint.touch()
    require_labels(tmp_path, ["x"])  # an older run has recorded none
    (tmp_path / "environment.json").write_text(json.dumps(point_facts(["64", "512"], False)))
    for source in (tmp_path, checkpoint):
        require_labels(source, ["64", "512"])
        require_labels(source, None)
        for wrong in ("w8", "77"):
            with pytest.raises(UserError, match=f"no operating point '{wrong}'; it has 64, 512"):
                require_labels(source, [wrong])
    (tmp_path / "environment.json").write_text(json.dumps(point_facts(["64", "512"], True)))
    require_labels(tmp_path, ["77"])  # for the codec to judge
    with pytest.raises(UserError, match="no operating point 'w8'"):
        require_labels(tmp_path, ["w8"])


def test_labels_of_an_export(tmp_path: Path) -> None:
    (tmp_path / "codec.json").write_text(json.dumps({"operating_points": [{"index": 0, "label": "w8"}]}))
    require_labels(tmp_path, ["w8", "100"])
    with pytest.raises(UserError, match="it has w8"):
        require_labels(tmp_path, ["w9"])


@pytest.mark.parametrize("text", ["", "[]", "{", '{"operating_points": 3}', "[" * 100_000])
def test_what_is_damaged_is_left_to_the_codec(tmp_path: Path, text: str) -> None:
    (tmp_path / "environment.json").write_text(text)
    require_labels(tmp_path, ["x"])


def test_a_source_exists(tmp_path: Path) -> None:
    require_source(tmp_path)
    with pytest.raises(RunError, match="none does not exist; give a run folder"):
        require_source(tmp_path / "none")

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nic_lightning.errors import RunError
from nic_lightning.runs.record.channels import CHANNEL_RATES, read_channel_rates, write_channel_rates

ENTRY = {"codec": "mae", "dataset": "kodak", "label": "64", "latent": "y", "images": 2, "bpp": [0.5, 0.25]}


def test_entries_replace_those_of_the_same_codec_and_data_set(tmp_path: Path) -> None:
    assert read_channel_rates(tmp_path) == []
    write_channel_rates(tmp_path, [])
    assert list(tmp_path.iterdir()) == []
    write_channel_rates(tmp_path, [ENTRY, ENTRY | {"dataset": "clic"}])
    write_channel_rates(tmp_path, [ENTRY | {"label": "128"}])
    assert [(e["dataset"], e["label"]) for e in read_channel_rates(tmp_path)] == [("clic", "64"), ("kodak", "128")]


DAMAGED = [
    *("[" * 9999, "{}", "[1]", '[{"codec": 1}]', json.dumps([ENTRY])[:-1]),
    *(json.dumps([ENTRY | {"bpp": rates}]) for rates in (["a"], 1, [1e99], [float("nan")], [0.0] * 8193)),
    json.dumps([ENTRY | {"images": 1.5}]),
]


@pytest.mark.parametrize("text", DAMAGED)
def test_damage_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / CHANNEL_RATES).write_text(text)
    with pytest.raises(RunError, match=f"{CHANNEL_RATES} is damaged"):
        read_channel_rates(tmp_path)
    write_channel_rates(tmp_path, [ENTRY])
    assert read_channel_rates(tmp_path) == [ENTRY]

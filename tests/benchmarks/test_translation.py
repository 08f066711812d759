"""`nic bench translation`: which numbers it prints, never how they come out."""

from __future__ import annotations

import re

import pytest

from nic_lightning import cli
from nic_lightning.benchmarks.translation_times import COLUMNS, NETWORKS, PLAIN, round_of_times, scaled_to
from nic_lightning.errors import UserError
from tests.benchmarks.recipes import TRANSLATION
from tests.codecs.test_translation import made


def test_times_add_up_and_the_codec_is_left_alone(picture):
    codec, x = made(), picture(32, 32)
    before = codec.pack(codec.compress(x, codec.operating_points[1]), codec.operating_points[1])
    rows = round_of_times(codec, x)
    sender, receiver = {"E^c", "h_a, h_s", "coding", "all"}, {"h_a, h_s", "coding", "G", "all"}
    assert {name: set(row) for name, row in rows.items()} == {
        "translate, sender": sender,
        "translate, receiver": receiver | {"M"},
        "autoencode, sender": sender,
        "autoencode, receiver": receiver,
        PLAIN: {"E^c", "M", "G", "all"},
    }
    for name, row in rows.items():
        assert min(row.values()) >= 0
        if name != PLAIN:
            assert sum(row.values()) == pytest.approx(2 * row["all"])
    assert set(NETWORKS.values()) < set(COLUMNS)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in codec.modules())
    assert codec.pack(codec.compress(x, codec.operating_points[1]), codec.operating_points[1]) == before


def test_untrained_content_is_scaled_to_a_rate(picture):
    codec, x = made(), picture(64, 64)
    found = scaled_to(codec, x, 1.5)
    assert found == pytest.approx(1.5, rel=0.05)
    point = codec.operating_points[0]
    assert 8 * len(codec.pack(codec.compress(x, point), point)) / 64**2 == found
    with pytest.raises(UserError, match=r"No scale of the content gives files of 0\.001 bits"):
        scaled_to(made(), x, 0.001)


def test_the_table(capsys, refused):
    assert cli.main(["bench", "translation", *TRANSLATION, "--rounds", "2", "--bpp", "2"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert re.match(
        r"ui2icodec, untrained, content scaled to (1\.9|2\.[01])\d bpp, one image of 32x32, 1 thread,", out[0]
    )
    assert out[2].split() == ["E^c", "h_a,", "h_s", "coding", "M", "G", "all"]
    assert len(out[3].split()) == 2 + len(COLUMNS)
    number = r"\d+\.\d{3}"
    assert re.fullmatch(rf"  autoencode / plain StarGAN v2: {number} \({number} to {number}\)", out[-1])
    for arguments, sentence in {
        ("--size", "0"): "--size is at least 1, not 0",
        ("--run", "x", "--memory"): "--run names a trained codec",
        ("--bpp", "-1"): "--bpp is above 0, not -1",
        ("codec=modulated",): "modulated does not translate",
    }.items():
        assert sentence in refused("bench", "translation", *arguments)

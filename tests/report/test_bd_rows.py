from __future__ import annotations

import pytest

from nic_lightning.report.curves.bd_rows import bd_rows
from nic_lightning.report.curves.curves import curves

from .samples import classic_rows, learned_rows


def test_rows_against_the_classic_codec():
    far = learned_rows("far")
    for each in far:
        each["psnr"] += 60
    found = bd_rows(curves([*learned_rows("one"), *learned_rows("two", scale=2.0), *far, *classic_rows()]))
    assert {row["anchor"] for row in found} == {"jpeg"}
    by_key = {(row["codec"], row["metric"]): row for row in found}
    assert len(by_key) == 6  # three codecs, PSNR and MS-SSIM
    one, two = by_key["one", "psnr"], by_key["two", "psnr"]
    assert one["problem"] is None
    assert 1 + two["bd_rate"] / 100 == pytest.approx(2 * (1 + one["bd_rate"] / 100))
    assert (one["low"], one["high"]) == (28, 35)
    assert by_key["far", "psnr"]["bd_rate"] is None
    assert "overlap" in by_key["far", "psnr"]["problem"]


def test_nothing_to_compare_gives_no_rows():
    assert bd_rows(curves(learned_rows())) == []
    assert bd_rows([]) == []

from __future__ import annotations

from nic_lightning.report.curves.text import rd_table
from tests.report.samples import classic_rows, learned_rows


def test_the_table_is_aligned():
    rows = learned_rows() + [{**r, "item": "b.png"} for r in learned_rows()] + classic_rows()
    text = rd_table(rows)
    title, header, rule, *lines = text.splitlines()
    assert title == "kodak (1 to 2 images)"
    assert header.split() == ["codec", "point", "bpp", "estimated", "PSNR", "MS-SSIM", "dB", "LPIPS"]
    assert set(rule) == {"-", " "}
    assert len({len(line) for line in [header, rule, *lines]}) == 1
    assert lines[0].split() == ["modulated", "64", "0.1000", "0.0990", "28.00", "14.00", "-"]
    assert lines[1].startswith(" ")
    assert lines[4].split() == ["jpeg", "q0", "0.2000", "-", "27.00", "13.50", "-"]


def test_a_block_for_each_data_set():
    text = rd_table(learned_rows(dataset="one") + learned_rows(dataset="two"))
    assert [block.splitlines()[0] for block in text.split("\n\n")] == ["one (1 image)", "two (1 image)"]


def test_nothing_to_show():
    assert rd_table([]) == "No results."


def test_names_do_not_steer_the_terminal():
    text = rd_table(learned_rows(codec="a\x1b[31mred\r\nb"))
    assert "\x1b" not in text
    assert "a?[31mred??b" in text

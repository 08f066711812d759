from __future__ import annotations

import re

from nic_lightning.commands.bench_training import main


def test_it_compares_the_framework_with_a_bare_loop_and_times_the_loader(capsys):
    """Says nothing of how the ratio comes out: a test is no place to time anything."""
    tiny = ["codec=modulated", "codec.width=8", "codec.lambdas=[64,512]", "data.crop=32", "data.batch_size=2"]
    assert main([*tiny, "--block", "2", "--rounds", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    number = r"[\d.]+"
    assert re.fullmatch(
        rf"training step: nic-train {number} ms, bare loop {number} ms, ratio {number} \({number} to {number}\)",
        lines[1],
    )
    assert re.fullmatch(rf"loader: \d+ samples/s, needed \d+: {number}% of a step", lines[2])

from __future__ import annotations

import re

import pytest

from nic_lightning import cli
from tests.tasks.discs import write_discs


@pytest.mark.slow
def test_it_compares_the_framework_with_a_bare_loop_and_times_the_loader(capsys):
    """Says nothing of how the ratio comes out: a test is no place to time anything."""
    tiny = ["codec=modulated", "codec.width=8", "codec.lambdas=[64,512]", "data.crop=32", "data.batch_size=2"]
    assert cli.main(["bench", "training", *tiny, "--block", "2", "--rounds", "2"]) == 0
    require_lines(capsys.readouterr().out)


@pytest.mark.slow
def test_it_compares_iterations_of_translation(capsys, tmp_path):
    discs = write_discs(tmp_path / "discs", count=4)
    tiny = ["codec.base=4", "codec.widest=8", "codec.halvings=2", "codec.latents=6", "codec.hyper=4"]
    data = ["data=domains", f"data.train={discs}", "data.domains=[blue,red]", "data.size=16", "data.batch_size=2"]
    recipe = ["codec=ui2icodec", "task=translation", "task.warm_up=0", *tiny, *data]
    assert cli.main(["bench", "training", *recipe, "--block", "2", "--rounds", "2"]) == 0
    require_lines(capsys.readouterr().out)


@pytest.mark.parametrize("override", ["codec=jpeg", "experiment=flow_features_small"])
def test_what_is_no_learned_codec_is_refused(override, refused):
    assert "Only the training of a learned codec is timed" in refused("bench", "training", override)


def require_lines(out: str) -> None:
    lines = out.splitlines()
    number = r"[\d.]+"
    assert re.fullmatch(
        rf"training step: nic-train {number} ms, bare loop {number} ms, ratio {number} \({number} to {number}\)",
        lines[1],
    )
    assert re.fullmatch(rf"loader: \d+ samples/s, needed \d+: {number}% of a step", lines[2])

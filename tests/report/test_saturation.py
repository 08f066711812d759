from __future__ import annotations

import math
from itertools import pairwise

import pytest

from nic_lightning.cli import main
from nic_lightning.errors import UserError
from nic_lightning.report.curves.saturation import lambdas_from_rows
from tests.report.samples import make_run, row

GAIN = {16: (0.10, 4e-4), 32: (0.12, 1.5e-4), 64: (0.13, 0.5e-4)}
"""Rate gain and floor of the error: the narrower a codec, the sooner it saturates."""


def model(width: int, lmbda: float, shift: float = 0.0):
    """R-D optimum of MSE = floor + 2^(-R / gain) / 100 for lambda MSE + R."""
    gain, floor = GAIN[width]
    decay = math.log(2) / gain
    rate = math.log(lmbda * decay / 100) / decay
    psnr = -10 * math.log10(floor + math.exp(-decay * rate) / 100)
    return row("cae", f"{lmbda:g}", rate, psnr + shift, width=width, lmbda=float(lmbda))


def rows(widths=tuple(GAIN), lambdas=(64, 128, 256, 512, 1024, 2048)):
    return [model(width, lmbda) for width in widths for lmbda in lambdas]


def test_every_width_gets_the_slope_where_it_leaves_the_wider_curve():
    found = lambdas_from_rows(rows(), tolerance=0.5)
    assert [one.width for one in found] == [16, 32, 64]
    assert found[-1].lmbda == 2048
    assert found[0].lmbda < found[1].lmbda < found[2].lmbda
    for narrow, wide in pairwise(found):
        if narrow.note:
            continue
        # The slope of the curve is the lambda that a model at this rate was trained for.
        gain, _ = GAIN[narrow.width]
        decay = math.log(2) / gain
        assert narrow.lmbda == pytest.approx(math.exp(decay * narrow.bpp) * 100 / decay, rel=0.02)
        assert narrow.bpp < wide.bpp
    assert not all(one.note for one in found[:-1])


def test_a_width_that_never_saturates_is_told():
    same = [{**model(64, lmbda), "width": width} for width in (32, 64) for lmbda in (64, 128, 256)]
    narrow, wide = lambdas_from_rows(same)
    assert narrow.lmbda == pytest.approx(wide.lmbda)
    assert "higher lambdas" in narrow.note
    below = [{**r, "psnr": r["psnr"] - (2 if r["width"] == 32 else 0)} for r in same]
    assert "lower lambdas" in lambdas_from_rows(below)[0].note


def test_a_width_that_is_not_needed_is_told():
    narrow = [{**model(32, lmbda, shift=-0.6 * (lmbda == 2048)), "width": 16} for lmbda in (64, 256, 512, 1024, 2048)]
    found = lambdas_from_rows([*narrow, *rows(widths=(32, 64))], tolerance=0.3)
    assert found[0].lmbda > found[1].lmbda
    assert [bool(one.note) for one in found] == [True, False, False]
    assert "width 16 saturates no sooner than width 32" in found[0].note


def test_too_few_or_unfinished_models_are_told():
    for wrong, sentence in (
        (rows(widths=(16,)), "two widths"),
        (rows(lambdas=(64, 128)), "three at least"),
        ([*rows(), {**model(16, 4096), "bpp": 0.01}], "Width 16: rate and PSNR do not rise"),
        ([], "two widths"),
    ):
        with pytest.raises(UserError, match=sentence):
            lambdas_from_rows(wrong)
    with pytest.raises(UserError, match="no rates in common"):
        lambdas_from_rows([{**r, "bpp": r["bpp"] * (50 if r["width"] == 32 else 1)} for r in rows(widths=(16, 32))])


def test_the_command_prints_the_override(tmp_path, capsys):
    for r in rows():
        make_run(tmp_path / "sweep" / f"w{r['width']}_{r['label']}", [r])
    assert main(["lambdas", str(tmp_path / "sweep"), "--tolerance", "0.5"]) == 0
    out = capsys.readouterr().out
    assert "'codec.widths=[16,32,64]' 'codec.lambdas=[" in out
    assert out.rstrip().endswith(",2048]'")
    assert main(["lambdas", str(tmp_path / "sweep"), "--dataset", "clic"]) == 2
    assert "there are: kodak" in capsys.readouterr().err


def test_two_models_of_one_width_and_lambda_are_not_averaged(tmp_path, capsys):
    for place, shift in (("a", 0.0), ("b", 1.0)):
        make_run(tmp_path / place / "w16_64", [model(16, 64, shift)])
    assert main(["lambdas", str(tmp_path / "a" / "w16_64"), str(tmp_path / "b" / "w16_64")]) == 2
    sentence = "The runs a/w16_64 and b/w16_64 are both of width 16 and lambda 64: leave one out.\n"
    assert capsys.readouterr().err == sentence

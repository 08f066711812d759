from __future__ import annotations

import math

import pytest

from nic_lightning.errors import UserError
from nic_lightning.report.curves.comparison import compare
from nic_lightning.report.curves.curves import curves, datasets, default_anchor, named, shown_range
from nic_lightning.report.page.embedded import membership
from tests.report.samples import classic_rows, learned_rows, row


def test_a_point_is_the_mean_over_images():
    rows = [row("mae", "64", 0.2, 28.0), row("mae", "64", 0.4, 32.0, item="b.png", lpips=0.25)]
    rows += [row("mae", "256", 0.8, 35.0), row("mae", "256", 1.0, 37.0, item="b.png")]
    (curve,) = curves(reversed(rows))
    assert [p["label"] for p in curve.points] == ["64", "256"]
    first = curve.points[0]
    assert first["bpp"] == pytest.approx(0.3)
    assert (first["psnr"], first["images"], first["lpips"]) == (30.0, 2, None)
    assert curve.items == {"a.png", "b.png"}
    assert not curve.uneven
    assert not curve.classic
    assert curve.has("psnr")
    assert not curve.has("lpips")


def test_runs_with_one_point_of_an_experiment_join():
    rows = [{**r, "run": f"lambda{i}", "experiment": "sweep"} for i, r in enumerate(learned_rows("cae"))]
    rows += [{**r, "run": f"other{i}", "experiment": "wide"} for i, r in enumerate(learned_rows("cae", 0.5))]
    first, second = curves(rows)
    assert (first.name, second.name) == ("cae (sweep)", "cae (wide)")
    assert first.runs == ["lambda0", "lambda1", "lambda2", "lambda3"]
    assert [p["run"] for p in first.points] == first.runs


def test_a_sweep_over_widths_and_lambdas_is_a_curve_for_each_width():
    rows = [
        {**r, "run": f"w{width}_{i}", "experiment": "sweep", "width": width}
        for width, scale in ((48, 1.0), (96, 0.9))
        for i, r in enumerate(learned_rows("cae", scale))
    ]
    made = curves(rows)
    assert [curve.name for curve in made] == ["cae (sweep, width 48)", "cae (sweep, width 96)"]
    assert [{p["width"] for p in curve.points} for curve in made] == [{48}, {96}]
    ladder = [row for row in rows if row["run"] in ("w48_0", "w48_1", "w96_2", "w96_3")]
    (one,) = curves(ladder)  # a lambda for each width: the independent models beside a slimmable codec
    assert (one.name, len(one.points)) == ("cae", 4)


def test_runs_with_several_points_stay_apart():
    made = curves(learned_rows(run="one") + learned_rows(run="two", scale=0.5))
    assert [curve.name for curve in made] == ["modulated (one)", "modulated (two)"]
    names = [c.name for c in curves([*learned_rows("a"), *learned_rows("b")])]
    assert names == ["a", "b"]


def test_curves_that_would_share_a_name_are_numbered():
    rows = [{**r, "codec": "modulated", "experiment": None} for r in learned_rows(run="")]
    single = row("modulated", "9", 0.3, 30.0, run="", experiment="")
    made = curves([*rows, {**single, "run": "x"}, {**single, "run": "y", "experiment": "y"}])
    assert len({curve.name for curve in made}) == 3


def test_a_classic_codec_measured_twice_is_one_curve():
    made = curves(classic_rows(run="one") + learned_rows(run="one") + classic_rows(run="two"))
    assert [(c.name, c.classic) for c in made] == [("modulated", False), ("jpeg", True)]
    assert made[1].runs == ["one", "two"]
    other = [{**r, "item": "b.png", "bpp": r["bpp"] * 1.1} for r in classic_rows(run="two")]
    assert [c.name for c in curves(classic_rows(run="one") + other)] == ["jpeg (one)", "jpeg (two)"]


def test_data_sets_stay_in_the_order_of_the_rows():
    made = curves(learned_rows(dataset="z") + learned_rows(dataset="a"))
    assert datasets(made) == ["z", "a"]
    assert [c.name for c in made] == ["modulated", "modulated"]


@pytest.mark.parametrize("rate", [None, math.nan, math.inf, 0.0, -1.0])
def test_rows_without_a_rate_are_left_out(rate):
    assert curves([{**row("a", "1", 1.0, 30.0), "bpp": rate}]) == []


def test_default_anchor():
    learned, classic = curves(learned_rows() + classic_rows())
    assert default_anchor([learned, classic]) is classic
    assert default_anchor([learned]) is learned
    assert default_anchor([]) is None


def test_compare():
    learned, classic = curves(learned_rows() + classic_rows())
    found = compare(classic, learned, "psnr")
    assert found.result is not None
    assert found.result.value < -40
    assert found.result.overlap == (28.0, 35.0)
    missing = compare(classic, learned, "lpips")
    assert missing.result is None
    assert "no usable values" in str(missing.problem)


def test_different_images_have_no_bd_rate():
    learned, classic = curves(learned_rows() + classic_rows(item="b.png"))
    assert "different images" in str(compare(classic, learned, "psnr").problem)
    (uneven,) = curves([*learned_rows(), row("modulated", "64", 0.1, 28.0, item="b.png")])
    assert uneven.uneven
    assert "The points of a curve" in str(compare(uneven, uneven, "psnr").problem)


def test_plots_open_on_the_learned_codecs():
    made = curves(learned_rows() + classic_rows())
    window = shown_range(made, "psnr")
    assert window is not None
    assert window[0] == (0.0, 1.0)
    assert window[1][0] < 27.0
    assert 35.0 < window[1][1] < 36.0
    assert shown_range(curves(classic_rows()), "psnr") is None
    infinite = curves([row("a", "1", 0.5, math.inf), row("a", "2", 0.7, math.inf)])
    assert shown_range(infinite, "psnr") is None


def test_modes_of_a_codec_are_curves_of_their_own():
    """A translation has no fidelity, which would hide that of autoencoding."""
    rows = [
        row("ui2icodec", "translate", 0.2, 0.0, mode="translate") | {"psnr": None},
        row("ui2icodec", "autoencode", 0.3, 28.0, mode="autoencode"),
    ]
    made = {curve.name: curve for curve in curves([*rows, *learned_rows()])}
    has = {name: curve.has("psnr") for name, curve in made.items()}
    assert has == {"modulated": True, "ui2icodec translate": False, "ui2icodec autoencode": True}


def test_two_sweeps_of_one_experiment_and_codec_are_a_curve_each():
    rows = [
        {**r, "run": f"{place}/lambda{i}", "experiment": "sweep"}
        for place, scale in (("a", 1.0), ("b", 0.5))
        for i, r in enumerate(learned_rows("cae", scale))
    ]
    made = curves(rows)
    assert [curve.name for curve in made] == ["cae (sweep, a)", "cae (sweep, b)"]
    assert [curve.points[-1]["bpp"] for curve in made] == [0.8, 0.4]
    single = [row for row in rows if row["run"].endswith("lambda2")]
    assert [(c.name, len(c.points)) for c in curves(single)] == [("cae (a/lambda2)", 1), ("cae (b/lambda2)", 1)]


def test_a_name_that_fits_the_folders_of_two_runs_names_none():
    made = curves(learned_rows(run="a/mod") + learned_rows(run="b/mod", scale=0.5) + classic_rows(run="a/mod"))
    assert named(made, "a/mod") is made[0]
    assert named(made, "modulated") is made[0]
    assert named(made, "jpeg") is made[2]
    assert named(made, "none") is None
    with pytest.raises(UserError, match="'mod' is the folder of several runs: name one of 'a/mod', 'b/mod'"):
        named(made, "mod")


def test_rows_belong_to_the_curve_of_their_mode():
    rows = [
        row("ui2icodec", f"{mode}{k}", 0.1 + 0.1 * k, 28.0 + k, mode=mode)
        for mode in ("translate", "auto")
        for k in (0, 1)
    ]
    made = curves(rows)
    assert [made[i].name for i in membership(made, rows)] == ["ui2icodec translate"] * 2 + ["ui2icodec auto"] * 2


def test_runs_of_their_own_join_where_only_lambda_differs():
    made = []
    for run, lmbda, series in (("paper/cae64", 64, "a"), ("paper/cae512", 512, "a"), ("paper/wide", 64, "b")):
        row = {"run": run, "codec": "cae", "experiment": run, "dataset": "kodak", "item": "x", "label": str(lmbda)}
        made.append(row | {"lmbda": lmbda, "bpp": lmbda / 1000, "psnr": 30.0, "series": series})
    narrow, wide = curves(made)
    assert (narrow.runs, [p["label"] for p in narrow.points]) == (["paper/cae64", "paper/cae512"], ["64", "512"])
    assert [curve.name for curve in (narrow, wide)] == ["cae (paper/cae)", "cae (paper/wide)"]
    again = curves([*made, made[0] | {"run": "again", "experiment": "again"}])  # another run of the same lambda
    assert [len(curve.points) for curve in again] == [2, 1, 1]

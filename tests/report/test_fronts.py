from __future__ import annotations

import numpy as np

from nic_lightning.report.curves.comparison import compare
from nic_lightning.report.curves.curve import Curve
from nic_lightning.report.curves.curves import curves
from nic_lightning.report.curves.pareto import convex_hull, joined, pareto
from nic_lightning.report.curves.published import published_curves
from tests.report.samples import learned_rows, row


def cloud(seed: int = 0) -> Curve:
    """One codec in six runs of several points each; nobody knows which are any good."""
    generator = np.random.default_rng(seed)
    rows = []
    for run in range(6):
        for label in range(5):
            rate = float(generator.uniform(0.1, 1.0))
            psnr = 30 + 5 * np.log2(rate) + float(generator.normal(0, 1.5))
            rows.append(row("mae", f"l{label}", rate, psnr, run=f"run{run}", lpips=1 - psnr / 50))
    (curve,) = joined(curves(rows))
    return curve


def test_runs_of_a_codec_join_and_points_keep_their_run():
    curve = cloud()
    assert len(curve.points) == len(curve.rows) == 30
    assert curve.name == "mae"
    assert {point["run"] for point in curve.points} == set(curve.runs) == {f"run{i}" for i in range(6)}
    rates = [point["bpp"] for point in curve.points]
    assert rates == sorted(rates)
    for point, by_item in zip(curve.points, curve.rows, strict=True):
        assert by_item["a.png"]["bpp"] == point["bpp"]


def test_the_front_is_what_no_point_beats():
    curve = cloud()
    found = pareto(curve, "psnr")
    values = [(p["bpp"], p["psnr"]) for p in curve.points]
    beaten = {v for v in values for w in values if w != v and w[0] <= v[0] and w[1] >= v[1]}
    assert [(p["bpp"], p["psnr"]) for p in found.points] == sorted(set(values) - beaten)
    assert 2 < len(found.points) < 30
    assert found.runs == list(dict.fromkeys(p["run"] for p in found.points))
    assert [next(iter(r.values()))["bpp"] for r in found.rows] == [p["bpp"] for p in found.points]
    assert compare(found, found, "psnr").result.value == 0.0  # what made the cloud not monotone is gone
    assert "not monotone" in compare(curve, found, "psnr").problem


def test_the_hull_is_on_the_front_and_concave():
    curve = cloud(1)
    found = convex_hull(curve, "psnr")
    x, y = (np.array([p[key] for p in found.points]) for key in ("bpp", "psnr"))
    slopes = np.diff(y) / np.diff(x)
    assert (np.diff(slopes) < 0).all()
    assert all(p in pareto(curve, "psnr").points for p in found.points)
    inside = [p for p in curve.points if x[0] <= p["bpp"] <= x[-1]]
    assert all(p["psnr"] <= np.interp(p["bpp"], x, y) + 1e-12 for p in inside)


def test_less_is_better_for_lpips():
    curve = cloud(2)
    assert pareto(curve, "lpips").points == pareto(curve, "psnr").points
    assert convex_hull(curve, "lpips").points == convex_hull(curve, "psnr").points


def test_points_without_the_metric_are_left_out():
    (curve,) = curves(learned_rows())
    assert pareto(curve, "lpips").points == []
    assert pareto(curve, "psnr").points == curve.points


def test_equal_points_count_once():
    rows = [row("a", "1", 0.2, 30.0), row("a", "2", 0.2, 31.0), row("a", "3", 0.3, 31.0), row("a", "4", 0.4, 32.0)]
    (curve,) = curves(rows)
    assert [point["label"] for point in pareto(curve, "psnr").points] == ["2", "4"]


def test_published_curves_stay_apart_and_other_images_are_told():
    published = published_curves(["vtm", "bpg"], "kodak")
    made = curves(learned_rows(run="one") + learned_rows(run="two", item="b.png"))
    joint = joined([*made, *published])
    assert [curve.name for curve in joint] == ["modulated", "vtm (published)", "bpg (published)"]
    assert joint[0].uneven
    assert convex_hull(published[0], "psnr").published

from __future__ import annotations

import math
from statistics import fmean

import numpy as np
import pytest

from nic_lightning.errors import UserError
from nic_lightning.metrics.bd import bd_quality, bd_rate
from nic_lightning.report.curves.comparison import compare, comparisons
from nic_lightning.report.curves.curve import Curve
from nic_lightning.report.curves.curves import curves
from nic_lightning.report.curves.published import published_curves
from tests.report.samples import LEARNED, classic_rows, learned_rows, row


def rows(codec: str, scale: float = 1.0, images: int = 12, seed: int = 0, **more):
    """Learned rows of several images, each with its own rate and quality."""
    generator = np.random.default_rng(seed)
    made = []
    for i in range(images):
        rate, quality = generator.uniform(0.7, 1.4), generator.uniform(-1.0, 1.0)
        for k, (bpp, psnr) in enumerate(LEARNED):
            values = {"ms_ssim": 0.9 + 0.02 * k, "ms_ssim_db": 12.0 + 2 * k}
            made.append(
                row(codec, str(k), bpp * scale * rate, psnr + quality, item=f"{i}.png", run=codec, **values | more)
            )
    return made


@pytest.fixture
def pair() -> list[Curve]:
    return curves(rows("a") + rows("b", 1.2, seed=1))


def test_means_and_their_interval(pair: list[Curve]):
    found = compare(*pair, "psnr", draws=500)
    assert found.result == bd_rate(pair[0].points, pair[1].points)
    assert found.images == 12
    assert found.interval is not None
    assert found.interval.low < found.result.value < found.interval.high
    assert compare(*pair, "psnr").interval is None
    assert compare(*pair, "psnr", kind="quality").result == bd_quality(pair[0].points, pair[1].points)
    assert compare(*pair, "psnr", method="akima").result == bd_rate(pair[0].points, pair[1].points, method="akima")
    (listed,) = comparisons(pair, pair[0], "psnr")
    assert listed.interval is not None
    assert listed.interval.draws == 1000


def test_the_mean_of_the_images_own_deltas(pair: list[Curve]):
    found = compare(*pair, "psnr", per_image=True, draws=500)
    own = []
    for i in range(12):
        points = [
            [p for p in rows(name, scale, seed=seed) if p["item"] == f"{i}.png"]
            for name, scale, seed in (("a", 1.0, 0), ("b", 1.2, 1))
        ]
        own.append(bd_rate(*points).value)
    assert found.result is not None
    assert found.result.value == pytest.approx(fmean(own))
    assert found.result.value != pytest.approx(compare(*pair, "psnr").result.value)
    assert found.interval is not None
    assert found.interval.low < found.result.value < found.interval.high
    assert not found.left_out


def test_images_without_a_delta_of_their_own_are_named():
    bent = rows("b", 1.2)
    bent[1]["psnr"] -= 10  # the second point of the first image
    found = compare(*curves(rows("a") + bent), "psnr", per_image=True)
    assert found.images == 11
    assert "not monotone" in found.left_out["0.png"]
    assert "Left out 1 of 12 images without a delta of their own: 0.png." in found.note
    for each in bent:
        each["psnr"] = -each["psnr"]
    assert "No image has a delta" in compare(*curves(rows("a") + bent), "psnr", per_image=True).problem


def test_few_images_have_no_interval():
    found = compare(*curves(rows("a", images=4) + rows("b", images=4)), "psnr", draws=100)
    assert found.interval is None
    assert found.note == "4 images are too few for an interval."


def test_other_images_or_an_image_twice_are_not_compared():
    first, second = curves(rows("a") + rows("b", images=11))
    assert "different images" in compare(first, second, "psnr").problem
    first, twice = curves(rows("a") + rows("b") + rows("b")[:1])
    assert "an image twice" in compare(first, twice, "psnr").problem
    first, second = curves(rows("a") + rows("b", dataset="clic"))
    assert "data sets: kodak and clic" in compare(first, second, "psnr").problem


@pytest.mark.parametrize("per_image", [False, True])
@pytest.mark.parametrize("kind", ["rate", "quality"])
@pytest.mark.parametrize(("metric", "gap"), [("lpips", None), ("ms_ssim_db", math.nan), ("psnr", math.inf)])
def test_deltas_are_of_the_images_that_both_curves_have_values_on(metric: str, gap: float | None, kind: str, per_image):
    """As if the others, whose rates are another codec's, had not been measured."""
    first, second = rows("a", lpips=0.5), rows("b", 1.2, lpips=0.5)
    for each in first + second:
        each["lpips"] = 0.5 - 0.05 * int(each["label"]) * (1.1 if each["codec"] == "b" else 1.0)
    for each in second:
        if each["item"] == "0.png":
            each.update({metric: gap, "bpp": 9 * each["bpp"]})
    for each in first:
        if each["item"] == "1.png" and (metric != "psnr" or each["label"] == "3"):
            each[metric] = gap
    options = {"kind": kind, "per_image": per_image, "draws": 100}
    found = compare(*curves(first + second), metric, **options)
    kept = [each for each in first + second if each["item"] not in ("0.png", "1.png")]
    right = compare(*curves(kept), metric, **options)
    assert right.result is not None
    assert (found.result, found.interval) == (right.result, right.interval)
    assert (found.images, found.without) == (10, ("0.png", "1.png"))
    name = {"lpips": "LPIPS", "ms_ssim_db": "MS-SSIM", "psnr": "PSNR"}[metric]
    assert found.note == f"Over 10 of 12 images: 0.png and 1.png have no finite {name}."


def test_a_published_mean_is_not_compared_with_that_of_some_images():
    some = rows("b", images=24)
    some[0]["psnr"] = math.inf
    found = compare(published_curves(["vtm"], "kodak")[0], curves(some)[0], "psnr")
    assert found.result is None
    about = "b has values on 23 of 24 images: 0.png has no finite PSNR."
    assert found.problem == f"A published curve is a mean over all images, and {about}"


def test_a_point_at_which_all_images_are_exact_is_what_has_no_value():
    first, second = rows("a"), rows("b")
    for each in second:
        if each["label"] == "3":
            each["psnr"] = math.inf
    found = compare(*curves(first + second), "psnr")
    assert "Point '3' of the test curve has no usable values" in found.problem
    assert found.without == ()


def test_published_means():
    (ours,) = curves(rows("a", images=24))
    (vtm,) = published_curves(["vtm"], "kodak")
    found = compare(vtm, ours, "psnr", draws=100)
    assert found.result == bd_rate(vtm.points, ours.points)
    assert (found.interval, found.images) == (None, None)
    assert "published mean curve" in found.note
    assert "image by image" in compare(vtm, ours, "psnr", per_image=True).problem
    (few,) = curves(rows("a", images=2))
    assert "different numbers of images, 24 and 2" in compare(vtm, few, "psnr").problem


def test_ms_ssim_against_published_means_is_in_db_of_the_mean_on_both_sides():
    """Ours is the mean of the images' dB, theirs the dB of a mean; only like is compared with like."""
    (ours,) = curves(rows("a", images=24, ms_ssim_db=99.0))
    for point, similarity in zip(ours.points, (0.9, 0.94, 0.97, 0.985), strict=True):
        point["ms_ssim"] = similarity
    (vtm,) = published_curves(["vtm"], "kodak")
    found = compare(vtm, ours, "ms_ssim_db")
    own = [{"bpp": p["bpp"], "ms_ssim_db": -10 * np.log10(1 - p["ms_ssim"])} for p in ours.points]
    assert found.result.value == pytest.approx(bd_rate(vtm.points, own, "ms_ssim_db").value)
    assert "that of the mean on both sides" in found.note
    for point in ours.points:
        point["ms_ssim"] = None
    assert "only a mean of dB" in compare(vtm, ours, "ms_ssim_db").problem


def test_unknown_words(pair: list[Curve]):
    for wrong in ({"metric": "snr"}, {"kind": "bits"}, {"method": "spline"}):
        with pytest.raises(UserError, match="choose one of"):
            compare(*pair, **{"metric": "psnr", **wrong})


def test_accuracy_is_compared_when_rows_have_it():
    listed = [learned_rows("a"), learned_rows("b", 1.1)]
    for made in listed:
        for k, each in enumerate(made):
            each["accuracy"] = 0.5 + 0.1 * k
    found = compare(*curves(listed[0] + listed[1]), "accuracy")
    assert found.result.value == pytest.approx(10.0)
    assert "no usable values" in compare(*curves(learned_rows() + classic_rows()), "accuracy").problem
    for each in listed[0]:
        each["accuracy"] = "high"  # further columns may hold anything
    assert not curves(listed[0])[0].has("accuracy")

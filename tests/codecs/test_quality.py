from __future__ import annotations

from itertools import pairwise

import pytest

from nic_lightning.codecs.fitting import largest_within
from nic_lightning.codecs.quality import point_of_quality
from nic_lightning.errors import UserError

LADDER = [32, 64, 128, 256, 512, 1024, 2048, 4096]


def test_the_scale_goes_from_the_lowest_over_the_default_to_the_highest_point(make_codec) -> None:
    continuous = make_codec("modulated", lambdas=LADDER)
    assert [point_of_quality(continuous, q).label for q in (1, 50, 100)] == ["32", "512", "4096"]
    assert point_of_quality(continuous, 75).lmbda == pytest.approx(512 * 8**0.5, rel=1e-3)  # half the way in log lambda
    lambdas = [point_of_quality(continuous, q).lmbda or 0.0 for q in range(1, 101)]
    assert all(low < high for low, high in pairwise(lambdas))
    discrete = make_codec("slimmable", widths=[2, 4, 6, 8], lambdas=64)
    assert [point_of_quality(discrete, q).index for q in (1, 25, 50, 74, 76, 100)] == [0, 1, 2, 2, 3, 3]
    assert point_of_quality(make_codec("cae"), 3).index == 0


@pytest.mark.parametrize("quality", [0, 101, -5, 50.0, True])
def test_other_numbers_are_no_quality(make_codec, quality) -> None:
    with pytest.raises(UserError, match="a whole number from 1 to 100"):
        point_of_quality(make_codec("cae"), quality)


def test_without_a_continuous_lambda_it_is_one_of_the_points(make_codec, picture) -> None:
    codec, x = make_codec("slimmable", widths=[4, 8, 16], lambdas=64), picture(64, 96)
    sizes = [len(codec.pack(codec.compress(x, p), p)) for p in codec.operating_points]
    assert sizes == sorted(set(sizes))
    assert [largest_within(codec, x, size).point.index for size in sizes] == [0, 1, 2]
    assert largest_within(codec, x, sizes[2] - 1).point.index == 1
    assert largest_within(codec, x, 10**6, codec.operating_points[:2]).point.index == 1

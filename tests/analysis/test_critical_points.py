"""Critical points: their strings are those of the cloud, and of the smallest set each point counts."""

from __future__ import annotations

import pytest
import torch

from nic_lightning.analysis.critical_points import critical_points, minimal_points
from nic_lightning.codecs.point_cloud import SIZES
from nic_lightning.errors import UserError
from tests.codecs.test_point_cloud import clouds, made, strings


@pytest.mark.parametrize("size", ["micro", "lite"])
@pytest.mark.parametrize("points", [8, 300])
def test_critical_points_have_the_string_of_the_cloud(size: str, points: int):
    codec = made(size)
    for cloud in clouds(4, points):
        found = critical_points(codec, cloud)
        assert 1 <= len(found) <= min(points, SIZES[size][0][-1])
        assert strings(codec, found[None]) == strings(codec, cloud[None])
        assert torch.equal(critical_points(codec, found), found)


@pytest.mark.parametrize("size", ["micro", "lite"])
def test_no_point_of_a_minimal_set_can_be_left_out(size: str):
    codec = made(size)
    for cloud in clouds(2, 300):
        found = minimal_points(codec, cloud)
        whole = strings(codec, cloud[None])
        assert strings(codec, found[None]) == whole
        for i in range(len(found)):
            rest = torch.cat([found[:i], found[i + 1 :]])
            assert strings(codec, rest[None]) != whole


def test_wider_bins_need_fewer_points():
    codec, cloud = made("micro"), clouds(1, 300)[0]
    fine = minimal_points(codec, cloud)
    codec.g_a.gain.weight.data.mul_(0.02)
    coarse = minimal_points(codec, cloud)
    assert len(coarse) < len(critical_points(codec, cloud))
    assert 1 <= len(coarse) < len(fine)


def test_points_that_are_there_twice_count_once():
    codec = made("micro")
    cloud = clouds(1, 50)[0]
    assert torch.equal(critical_points(codec, torch.cat([cloud, cloud])), critical_points(codec, cloud))


def test_what_has_no_critical_points_is_refused():
    codec = made("micro")
    with pytest.raises(UserError, match=r"\(P, 3\)"):
        critical_points(codec, torch.zeros(0, 3))
    with pytest.raises(UserError, match=r"codec.eval\(\)"):
        critical_points(codec.train(), torch.zeros(5, 3))

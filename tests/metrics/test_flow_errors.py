from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from nic_lightning.metrics.flow_errors import averages, boundary_distance, flow_errors

TABLE = Path(__file__).parents[2] / "experiments" / "timcflow_wta" / "sequences.csv"


@pytest.fixture
def four() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Estimate, truth and occlusions of 4x4 pixels, worked out by hand below."""
    truth = np.zeros((4, 4, 2), np.float32)
    truth[0] = [3, 4]  # 5 pixels
    truth[1] = [12, 16]  # 20
    truth[2] = [60, 80]  # 100
    truth[3, 3] = np.nan
    flow = truth.copy()
    flow[0, 0] += [3, 4]  # 5 off, more than 5 %
    flow[1, 1] += [0, 2]  # 2 off
    flow[2, 2] += [4, 0]  # 4 off, less than 5 %
    flow[2, 3] += [0, 10]  # 10 off
    flow[3, 0] = np.nan
    flow[3, 3] = 0
    occluded = np.zeros((4, 4), bool)
    occluded[:, 2:] = True
    return flow, truth, occluded


def test_errors_by_hand(four):
    found = flow_errors(*four).row()
    assert found["n_all"] == 14  # 16, one of unknown truth, one not estimated
    assert found["epe_all"] == pytest.approx((5 + 2 + 4 + 10) / 14)
    assert found["epe_noc"] == pytest.approx((5 + 2) / 7)
    assert found["epe_occ"] == pytest.approx((4 + 10) / 7)
    assert found["fl"] == pytest.approx(100 * 2 / 14)
    assert found["fl_noc"] == pytest.approx(100 / 7)
    assert found["fl_occ"] == pytest.approx(100 / 7)
    assert found["s0_10"] == pytest.approx(5 / 6)  # rows 0 and 3
    assert found["s10_40"] == pytest.approx(2 / 4)
    assert found["s40"] == pytest.approx(14 / 4)
    assert found["density"] == pytest.approx(100 * 14 / 15)
    assert found["density_noc"] == pytest.approx(100 * 7 / 8)
    assert found["density_occ"] == 100
    assert found["d0_10"] == found["epe_all"]
    assert found["d10_60"] is None


def test_pixels_can_be_excluded(four):
    flow, truth, occluded = four
    excluded = np.zeros((4, 4), bool)
    excluded[2] = True
    found = flow_errors(flow, truth, occluded, excluded).row()
    assert found["n_all"] == 10
    assert found["epe_all"] == pytest.approx(7 / 10)
    assert found["s40"] is None


def test_without_a_mask_nothing_is_said_of_visibility(four):
    found = flow_errors(four[0], four[1]).row()
    assert found["epe_all"] == pytest.approx(21 / 14)
    assert found["epe_noc"] is found["epe_occ"] is found["fl_occ"] is found["d0_10"] is None
    with pytest.raises(ValueError, match="differ in shape"):
        flow_errors(four[0][1:], four[1])


def test_a_picture_without_occluded_pixels_does_not_count_as_zero(four):
    flow, truth, occluded = four
    rows = [
        {"scene": "a", **flow_errors(flow, truth, occluded).row()},
        {"scene": "a", **flow_errors(flow, truth, occluded & False).row()},
        {"scene": "b", **flow_errors(truth, truth, occluded).row()},
    ]
    assert rows[1]["epe_occ"] is None
    found = averages(rows, "epe_occ")
    assert found["pooled"] == pytest.approx(14 / (7 + 7))
    assert found["image"] == found["sequence"] == pytest.approx((2 + 0) / 2)
    assert averages(rows[1:2], "epe_occ") == {"pooled": None, "image": None, "sequence": None}


def test_three_averages_differ_as_computed():
    rows = [
        {"scene": "a", "epe_all": 1.0, "n_all": 100},
        {"scene": "a", "epe_all": 4.0, "n_all": 50},
        {"scene": "b", "epe_all": 10.0, "n_all": 10},
    ]
    found = averages(rows, "epe_all")
    assert found["pooled"] == pytest.approx((100 + 200 + 100) / 160)
    assert found["image"] == pytest.approx(5)
    assert found["sequence"] == pytest.approx((300 / 150 + 10) / 2)


def test_the_published_average_is_that_over_sequences():
    with TABLE.open() as file:
        table = list(csv.DictReader(file))
    assert len(table) == 23
    expected = {
        "all3": 18.172,
        "all2": 22.622,
        "noc3": 15.124,
        "noc2": 17.919,
        "occ3": 39.470,
        "occ2": 57.898,
    }
    by_pair = {"all3": 14.9, "all2": 19.0, "noc3": 12.1, "noc2": 14.7, "occ3": 36.1, "occ2": 54.3}
    for column, value in expected.items():
        rows = [
            {"scene": line["sequence"], "epe_all": float(line[column]), "n_all": 1000}
            for line in table
            for _ in range(int(line["pairs"]))
        ]
        found = averages(rows, "epe_all")
        assert found["sequence"] == pytest.approx(value, abs=5e-4)
        assert found["pooled"] == pytest.approx(found["image"]) == pytest.approx(by_pair[column], abs=0.05)


def test_distance_from_the_boundary():
    occluded = np.zeros((100, 200), bool)
    occluded[:, 150:] = True
    distance = boundary_distance(occluded)
    assert (distance[:, [149, 150]] == 0).all()
    assert distance[50, 100] == pytest.approx(49)
    assert np.isinf(boundary_distance(occluded & False)).all()
    flow = np.zeros((100, 200, 2), np.float32)
    found = flow_errors(flow, flow, occluded)
    assert found.count["d0_10"] == 100 * 20
    assert found.count["d10_60"] == 100 * (50 + 40)
    assert found.count["d60_140"] == 100 * 80

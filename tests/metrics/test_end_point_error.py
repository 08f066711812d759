from __future__ import annotations

import numpy as np
import pytest
import torch

from nic_lightning.metrics.end_point_error import EndPointError
from nic_lightning.metrics.flow_errors import averages, flow_errors
from tests.metrics.ranks import on_two_ranks


def _items(count: int = 6) -> list[tuple]:
    """Flow, truth, occlusions and scene of small pictures; the second has no occluded pixel."""
    random = np.random.default_rng(0)
    made = []
    for number in range(count):
        truth = random.normal(0, 30, (9 + number, 12, 2)).astype(np.float32)
        truth[0, 0] = np.nan
        flow = (truth + random.normal(0, 4, truth.shape)).astype(np.float32)
        flow[3, :4] = np.nan
        occluded = random.random(truth.shape[:2]) < (0 if number == 1 else 0.3)
        made.append((flow, truth, occluded, "ab"[number // 4]))
    return made


def _metric(items) -> EndPointError:
    metric = EndPointError(["a", "b"])
    for flow, truth, occluded, scene in items:
        metric.update(torch.from_numpy(flow), torch.from_numpy(truth), torch.from_numpy(occluded), scene=scene)
    return metric


def test_it_agrees_with_the_averages_of_the_rows():
    items = _items()
    rows = [{"scene": scene, **flow_errors(*rest).row()} for *rest, scene in items]
    found = _metric(items).compute()
    for column, name in {"epe_occ": "epe_occ", "fl": "fl_all", "s40": "epe_s40", "fl_occ": "fl_occ"}.items():
        for kind, value in averages(rows, column).items():
            assert found[f"{name}/{kind}"].item() == pytest.approx(value, rel=1e-6), (name, kind)
    known = sum(flow_errors(*rest).known["all"] for *rest, _ in items)
    counted = sum(flow_errors(*rest).count["all"] for *rest, _ in items)
    assert found["density_all/pooled"].item() == pytest.approx(100 * counted / known)


def test_nothing_seen_is_no_number():
    metric = EndPointError(["a", "b"])
    zero = torch.zeros(5, 5, 2)
    metric.update(zero, zero, torch.zeros(5, 5, dtype=torch.bool), scene="a")
    found = metric.compute()
    assert found["epe_all/sequence"] == 0
    for kind in ("pooled", "image", "sequence"):
        assert found[f"epe_occ/{kind}"].isnan()
    with pytest.raises(ValueError, match="no scene 'c'"):
        metric.update(zero, zero, scene="c")


def test_sums_are_exact_over_many_pixels():
    metric = EndPointError()
    assert metric.sums.dtype == torch.float64
    assert metric.counts.dtype == torch.int64
    truth = torch.zeros(400, 500, 2)
    metric.update(truth + torch.tensor([0.1, 0]), truth)
    for _ in range(20):
        metric.sums, metric.counts = 2 * metric.sums, 2 * metric.counts  # 2e11 pixels, beyond float32's whole numbers
    assert metric.compute()["epe_all/pooled"].item() == pytest.approx(0.1, rel=1e-6)


@pytest.mark.slow
def test_two_ranks_agree_with_one_process(tmp_path):
    """Each has every other picture."""

    def measure(rank: int) -> dict[str, float]:
        return {name: value.item() for name, value in _metric(_items()[rank::2]).compute().items()}

    found = on_two_ranks(measure, tmp_path)
    alone = {name: value.item() for name, value in _metric(_items()).compute().items()}
    assert found[0] == pytest.approx(found[1], nan_ok=True)
    assert found[0] == pytest.approx(alone, rel=1e-6, nan_ok=True)

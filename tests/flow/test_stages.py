from __future__ import annotations

import numpy as np

from nic_lightning.flow.stages import stage_flows


def test_stages_come_at_full_size_and_in_order():
    labels = np.zeros((4, 6, 2), np.int16)
    labels[:, 3:] = 2, -1
    kept = np.ones((4, 6), bool)
    kept[0, 5] = False
    dense, flow = np.full((13, 19, 2), 1, np.float32), np.full((13, 19, 2), 2, np.float32)
    stages = {"labels": labels, "kept": kept, "dense": dense, "matches": np.zeros((3, 4)), "forward_cost": kept}
    told = stage_flows(flow, stages)
    assert list(told) == ["labels", "kept", "dense", "flow"]
    assert all(one.shape == (13, 19, 2) for one in told.values())
    assert (told["labels"][:, 12:] == [6, -3]).all()
    assert np.isnan(told["kept"][:3, 15:18]).all()
    assert np.isfinite(told["kept"][3:]).all()
    assert (told["kept"][3:12, 9:18] == [6, -3]).all()


def test_a_stage_that_changes_nothing_is_not_told():
    labels = np.ones((4, 6, 2), np.int16)
    flow = np.full((12, 18, 2), 3, np.float32)
    assert list(stage_flows(flow, {"labels": labels, "dense": flow.copy()})) == ["labels", "flow"]
    assert list(stage_flows(flow + 1, {"labels": labels, "dense": flow})) == ["labels", "flow"]
    assert list(stage_flows(flow, {})) == ["flow"]

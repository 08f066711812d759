"""The pair of KITTI that DCFlow's authors ship, whose numbers another implementation gave."""

from __future__ import annotations

import pytest

from nic_lightning.data.images import read_rgb
from nic_lightning.flow import consistency
from nic_lightning.flow.interpolation import interpolate
from nic_lightning.flow.io import read_flow
from nic_lightning.flow.pipeline import Pipeline
from nic_lightning.flow.refinement import refine
from nic_lightning.flow.semi_global_matching import Potts
from nic_lightning.flow.settings import preset
from nic_lightning.flow.stages import stage_flows
from nic_lightning.metrics.flow_errors import flow_errors


@pytest.mark.slow
def test_two_frames_check_interpolation_and_refinement(nic_data, monkeypatch):
    monkeypatch.setenv("NIC_DATA", str(nic_data))
    folder, weights = nic_data / "kitti" / "pair_000000", nic_data / "weights" / "dcflow_kitti_weights.npz"
    if not folder.is_dir() or not weights.is_file():
        pytest.skip("no KITTI pair or feature weights in the data root")
    first, second = (read_rgb(folder / f"000000_{number}.png") for number in (10, 11))
    truth = read_flow(folder / "flow_gt_000000_10.png")
    config = preset("dcflow", weights="kitti", smoothness=Potts(far=485), interpolation="none", refinement=None)
    found = Pipeline(config).run(None, first, second)
    labels, backward = found.stages["labels"], found.stages["backward"]

    errors = flow_errors(stage_flows(found.flow, found.stages)["labels"], truth).row()
    assert errors["epe_all"] == pytest.approx(16.4, abs=0.5)
    assert errors["fl"] == pytest.approx(32.4, abs=1)

    near, far = (consistency.keep(labels, backward, threshold, "off") for threshold in (0.8, 3.0))
    assert near.mean() == pytest.approx(0.545, abs=0.01)
    assert far.mean() == pytest.approx(0.641, abs=0.01)
    assert (far | ~near).all()

    for method in ("ric", "edge_aware"):
        kept = consistency.keep(labels, backward)
        dense = interpolate(first, second, consistency.matches(labels, kept, 3), method)
        errors = flow_errors(refine(first, second, dense), truth).row()
        assert errors["epe_all"] <= 8.3
        assert errors["fl"] <= 26.5

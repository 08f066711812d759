"""Motion compensation around a codec: what is hidden, what is predicted, and what it costs."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from nic_lightning.analysis.latent_motion.codec_motion import (
    WAYS,
    Pair,
    error_rows,
    flow_pair,
    ideal_bits,
    latent_field,
    moved_frame,
    predicted_pixels,
    rate_rows,
    shifted_pair,
)
from nic_lightning.analysis.latent_motion.frames import MovedFrames
from nic_lightning.analysis.latent_motion.motion import PIXELS, no_motion
from nic_lightning.analysis.latent_motion.networks import analysis_features
from nic_lightning.analysis.latent_motion.pictures import Matching, estimated_fields, field_error, panels
from nic_lightning.analysis.latent_motion.receptive_field import ReceptiveField
from nic_lightning.errors import UserError

FLOW_OF_3 = torch.tensor([3.0, 0.0])


def test_a_value_is_hidden_where_a_pixel_around_it_is() -> None:
    hidden = torch.zeros(1, 1, 32, 48, dtype=torch.bool)
    hidden[..., 9, 20] = True
    pair = Pair("a", torch.zeros(1, 3, 32, 48), torch.zeros(1, 3, 32, 48), no_motion(1, (32, 48)), hidden)
    assert pair.visible(PIXELS, 32, 48).logical_not().nonzero().tolist() == [[0, 0, 9, 20]]
    covered = pair.visible(ReceptiveField(57, 8, 0.0), 4, 6).logical_not().nonzero()
    assert covered.tolist() == [[0, 0, 1, 2], [0, 0, 1, 3]]  # at (8, 16) and (8, 24), both 4 pixels away
    shifted = pair.visible(ReceptiveField(57, 8, 6.0), 4, 6).logical_not().nonzero()
    assert shifted.tolist() == [[0, 0, 0, 2]]  # at (6, 22)


def test_unknown_and_occluded_flow_is_hidden_and_frames_are_cut() -> None:
    flow, occluded = FLOW_OF_3.expand(37, 50, 2).clone(), torch.zeros(37, 50, dtype=torch.bool)
    flow[4, 5], occluded[6, 7] = math.nan, True
    pair = flow_pair("a", torch.rand(3, 37, 50), torch.rand(3, 37, 50), flow, occluded, 16)
    assert pair.frame.shape == pair.reference.shape == (1, 3, 32, 48)
    assert pair.hidden is not None
    assert pair.hidden[0, 0].nonzero().tolist() == [[4, 5], [6, 7]]
    known = predicted_pixels(pair)[0, 0]
    assert not known[:, -3:].any()
    assert known[:, :-3].sum() == 32 * 45 - 2
    with pytest.raises(UserError, match="a is smaller than 64x64 pixels"):
        flow_pair("a", torch.rand(3, 37, 50), torch.rand(3, 37, 50), flow, occluded, 64)


def test_a_moved_frame_has_no_holes() -> None:
    reference = torch.rand(3, 32, 48)
    pair = flow_pair("a", torch.rand(3, 32, 48), reference, FLOW_OF_3.expand(32, 48, 2), None, 16)
    moved = moved_frame(pair.reference, pair)[0]
    assert torch.equal(moved[..., :-3], reference[..., 3:])
    assert torch.equal(moved[..., -3:], reference[..., -1:].expand(-1, -1, 3))


def test_ideal_bits_are_the_entropy_of_each_channel() -> None:
    symbols = torch.tensor([[[[0.0, 0, 1, 1]], [[0.5, 0.5, 0.5, 0.5]], [[-1, 0, 1, 2]]]])
    assert ideal_bits(symbols) == 4 * 1 + 0 + 4 * 2


@pytest.mark.parametrize("name", ["modulated", "hyperprior", "light"])
def test_rates_of_a_frame_that_is_its_reference(name, make_codec, picture) -> None:
    codec = make_codec(name)
    point, frame = codec.operating_points[-1], picture(64, 128)
    pair = Pair("a", frame, frame, no_motion(1, (64, 128)))
    rows = {row["way"]: row for row in rate_rows(codec, point, pair)}
    assert tuple(rows) == WAYS
    alone = codec(frame, point)
    bits = sum(-values.double().log2().sum() for values in alone.likelihoods.values())
    assert rows["frame"]["bpp"] == pytest.approx(float(bits) / (64 * 128), rel=0.1)  # centred at medians, or elsewhere
    assert rows["still"] == rows["latent motion"] | {"way": "still"}
    assert rows["still"]["bpp_ideal"] <= rows["frame"]["bpp_ideal"]
    assert all(math.isfinite(row[key]) for row in rows.values() for key in ("bpp", "bpp_ideal", "psnr"))


def test_latents_move_exactly_by_whole_strides(make_codec) -> None:
    from skimage import data

    codec = make_codec("modulated")
    point = codec.operating_points[0]
    features = analysis_features(codec, point)
    assert latent_field(codec, point) == features.geometry["y"] == (57, 16, 0)
    photo = torch.from_numpy(data.astronaut()).permute(2, 0, 1) / 255
    by_shift = {}
    for shift in (0, 8, 16):
        rows = error_rows(features, shifted_pair("a", photo, (160, 160), shift))
        by_shift[shift] = {(row["layer"], row["way"]): row["nrmse"] for row in rows}
    assert set(by_shift[0].values()) == {0.0}
    assert by_shift[8]["y", "latent motion"] > 0.001
    assert by_shift[8]["y", "frame motion"] < 1e-6  # as for layer2.0 of ResNet: order of sums at the end of rows
    assert by_shift[8]["g_a.gdns.1", "latent motion"] < 1e-6
    assert by_shift[16]["y", "latent motion"] < 1e-6 < by_shift[16]["y", "still"]
    with pytest.raises(UserError, match="a is smaller than 616x160"):
        shifted_pair("a", photo, (160, 600), 16)


def test_fields_and_panels_show_the_motion(make_codec) -> None:
    from skimage import data

    codec = make_codec("modulated")
    features = analysis_features(codec, codec.operating_points[0], ["g_a.convs.0"])
    photo = torch.from_numpy(data.astronaut()).permute(2, 0, 1) / 255
    pair = shifted_pair("a", photo, (96, 96), 4)  # what is seen at p is seen at p + 4 in the reference
    matching = Matching(block=9, radius=5, latent_block=3, latent_radius=2)
    found = estimated_fields(features, "g_a.convs.0", pair.frame, pair.reference, matching, channels=2)
    truth = np.broadcast_to(np.array([4, 0], np.float32), (96, 96, 2))
    assert np.nanmedian(found.in_frame[..., 0]) == 4
    assert np.nanmedian(found.in_layer[..., 0]) == 4  # one value of stride 4
    assert field_error(found.in_frame, truth) < 0.1
    wrong = np.where(np.isfinite(found.in_frame), 0, np.nan)
    assert field_error(wrong, truth) == 4
    assert math.isnan(field_error(wrong, truth, radius=3))  # too far for the search
    assert math.isnan(field_error(found.in_frame, np.full_like(truth, np.nan)))
    assert math.isnan(field_error(found.in_frame, np.full_like(truth, 90)))  # all leave the frame
    assert len(found.in_channels) == 2
    shown = list(panels(features, "g_a.convs.0", MovedFrames(photo, 64), channels=2))
    assert [panel.name for panel in shown] == ["translation", "rotation", "stretching", "shearing"]
    inside = shown[0].valid[4:-4, 8:-4]
    assert inside.all()  # 24 pixels right and 12 up are 6 and 3 values
    difference = (shown[0].actual - shown[0].predicted)[:, 4:-6, 9:-4]
    assert np.abs(difference).max() < 1e-4

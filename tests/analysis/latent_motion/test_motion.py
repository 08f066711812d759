"""Motion of frames and tensors, masks, NRMSE, and the random affine motions."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats

from nic_lightning.analysis.latent_motion.error import nrmse, nrmse_of_psnr
from nic_lightning.analysis.latent_motion.motion import (
    Affine,
    AffineMotion,
    FlowMotion,
    compensate,
    grid_places,
    no_motion,
)
from nic_lightning.analysis.latent_motion.receptive_field import ReceptiveField
from nic_lightning.analysis.latent_motion.sweeps import AFFINE, affine_draws, sweep
from nic_lightning.errors import UserError
from nic_lightning.metrics.nrmse import NormalisedRootMeanSquareError

SIZE = (48, 64)


def smooth(seed: int = 0, channels: int = 3) -> torch.Tensor:
    """A band-limited picture: its waves are 12 pixels and longer."""
    generator = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(*(torch.arange(n, dtype=torch.float32) for n in SIZE), indexing="ij")
    planes = torch.zeros(channels, *SIZE)
    for plane in planes:
        for _ in range(6):
            a, b, phase = (torch.rand(3, generator=generator) * torch.tensor([0.5, 0.5, 6.3])).tolist()
            plane += torch.sin(a * x + b * y + phase)
    return planes[None]


@pytest.mark.parametrize("mask", ["paper", "strict", "interior"])
@pytest.mark.parametrize("field", [ReceptiveField(1, 1, 0.0), ReceptiveField(83, 8, 0.0), ReceptiveField(263, 16, 6.0)])
def test_no_motion_has_no_error(mask, field) -> None:
    tensor = smooth()
    predicted, valid = compensate(tensor, no_motion(1, (384, 512)), field, mask)
    assert valid.any() if mask == "interior" else valid.all()
    assert nrmse(predicted, tensor, valid).item() == 0


@pytest.mark.parametrize("mask", ["paper", "strict"])
def test_whole_shifts_are_copies(mask) -> None:
    tensor = smooth()
    motion = AffineMotion([Affine(translate_x=16, translate_y=-8)], (384, 512))
    predicted, valid = compensate(tensor, motion, ReceptiveField(83, 8, 3.0), mask)
    assert torch.equal(predicted[..., :-1, 2:], tensor[..., 1:, :-2])
    assert valid.sum() == (SIZE[0] - 1) * (SIZE[1] - 2)


def test_whole_shifts_along_one_axis_leave_no_jitter_in_the_mask() -> None:
    _, valid = compensate(smooth(), AffineMotion([Affine(translate_x=0.5, translate_y=8)], SIZE))
    assert not valid[..., :8, :].any()
    assert valid[..., 8:, 2:-2].all()


def test_positive_rotation_is_counter_clockwise() -> None:
    tensor = smooth()[..., :48]
    predicted, _ = compensate(tensor, AffineMotion([Affine(rotate=90)], (48, 48)))
    assert (predicted - torch.rot90(tensor, 1, (2, 3))).abs().max() < 1e-4  # float32 places: 48 * 2^-24 of a pixel


def test_a_motion_and_its_inverse_restore_the_interior() -> None:
    tensor = smooth()
    there = AffineMotion([Affine(3.3, -2.6, 1.03, 0.97, 2, -1, 5)], SIZE)

    class Back:
        size = SIZE

        def __len__(self) -> int:
            return 1

        def source(self, places):
            away = places.double() - there._centre
            return (
                torch.einsum("ij,...j->...i", torch.linalg.inv(there._back[0]), away)[None]
                + there._centre
                + there._shift
            )

    moved, _ = compensate(tensor, there)
    back, _ = compensate(moved, Back())
    error = (back - tensor)[..., 14:-14, 14:-14].abs().max() / (tensor.max() - tensor.min())
    assert error < 1e-2  # what bicubic interpolation loses twice of waves of 12 pixels


def test_a_tensor_moves_as_its_strided_frame() -> None:
    """Samples of a frame at s u + o are a tensor without any error but that of interpolation: Eq. 12 with an offset."""
    frame, motion = smooth(), AffineMotion([Affine(rotate=8, scale_x=1.1)], SIZE)
    moved, _ = compensate(frame, motion)
    field = ReceptiveField(1, 2, 1.0)
    predicted, valid = compensate(frame[..., 1::2, 1::2], motion, field, "strict")
    assert nrmse(predicted, moved[..., 1::2, 1::2], valid).item() < 0.01
    wrong, valid = compensate(frame[..., 1::2, 1::2], motion, field._replace(offset=-3.0), "strict")
    assert nrmse(wrong, moved[..., 1::2, 1::2], valid).item() > 0.02


def test_dense_flow_moves_as_the_affine_motion_that_it_samples() -> None:
    tensor, motion = smooth(), AffineMotion([Affine(2.5, 1.25, 1.02, 1, 1, 0, 3)], SIZE)
    places = grid_places(*SIZE)
    flow = FlowMotion((motion.source(places) - places).float())
    one, valid_one = compensate(tensor, motion, mask="strict")
    other, valid_other = compensate(tensor, flow, mask="strict")
    both = valid_one & valid_other
    assert both.float().mean() > 0.7
    assert nrmse(other, one, both).item() < 1e-5  # float32 flow


def test_the_interior_sees_no_border() -> None:
    """Values 16 apart that see 57 samples, in a frame of 192: those from 2 to 10 see 28 samples on either side."""
    field, motion = ReceptiveField(57, 16, 0.0), AffineMotion([Affine(), Affine(translate_x=32)], (192, 192))
    _, valid = compensate(torch.rand(1, 1, 12, 12), motion, field, "interior")
    assert valid[0, 0].nonzero().amin(0).tolist() == [2, 2]
    assert valid[0, 0].nonzero().amax(0).tolist() == [10, 10]
    assert valid[1, 0].nonzero().amin(0).tolist() == [2, 4]
    with pytest.raises(UserError, match="leaves no value of the frame"):
        compensate(torch.rand(1, 1, 12, 12), motion, ReceptiveField(227, 16, 0.0), "interior")


def test_unknown_flow_predicts_nothing() -> None:
    flow = torch.zeros(1, *SIZE, 2)
    flow[:, 10, 20] = math.nan
    _, valid = compensate(smooth(), FlowMotion(flow))
    assert (~valid).nonzero().tolist() == [[0, 0, 10, 20]]


def test_a_motion_that_leaves_nothing_is_one_sentence() -> None:
    with pytest.raises(UserError, match=r"\(translate_x 400\) leaves no value of block4 \(64x48\) to predict"):
        compensate(
            smooth(),
            AffineMotion([Affine(), Affine(translate_x=400)], (192, 256)),
            ReceptiveField(9, 4, 0.0),
            "paper",
            "block4",
        )
    with pytest.raises(UserError, match=r"The motion scale_x 0 flattens a frame"):
        AffineMotion([Affine(scale_x=0)], SIZE)


def test_nrmse_is_the_formula_and_ignores_scale_and_shift() -> None:
    actual, predicted = torch.rand(2, 3, 5, 7), torch.rand(2, 3, 5, 7)
    mask = torch.rand(2, 1, 5, 7) > 0.4
    for n in range(2):
        inside = mask[n].expand(3, -1, -1)
        expected = (predicted[n] - actual[n])[inside].double().square().mean().sqrt() / (
            actual[n].max() - actual[n].min()
        )
        assert nrmse(predicted, actual, mask)[n].item() == pytest.approx(expected.item(), rel=1e-6)  # float32 input
    scaled = nrmse(5 * predicted - 3, 5 * actual - 3, mask)
    assert torch.allclose(scaled, nrmse(predicted, actual, mask), rtol=1e-5)  # rounding of float32
    assert nrmse(actual, actual, mask & False).isnan().all()


def test_nrmse_of_psnr() -> None:
    assert [round(float(nrmse_of_psnr(psnr)), 4) for psnr in (27, 28, 41)] == [0.0445, 0.0397, 0.0089]


def test_the_metric_is_the_mean_over_samples() -> None:
    metric = NormalisedRootMeanSquareError()
    actual, predicted = torch.rand(3, 2, 4, 4), torch.rand(3, 2, 4, 4)
    mask = torch.ones(3, 1, 4, 4, dtype=torch.bool)
    mask[2] = False
    metric.update(predicted[:1], actual[:1])
    metric.update(predicted[1:], actual[1:], mask[1:])
    assert metric.compute().item() == pytest.approx(nrmse(predicted[:2], actual[:2]).mean().item(), rel=1e-6)


def test_affine_motions_are_uniform_and_follow_from_the_seed() -> None:
    draws = affine_draws(2048, seed=3)
    assert draws == affine_draws(2048, seed=3)
    assert draws[:5] == affine_draws(5, seed=3)
    assert draws != affine_draws(2048, seed=4)
    for key, (low, high) in AFFINE.items():
        values = [getattr(draw, key) for draw in draws]
        assert low <= min(values)
        assert max(values) <= high
        assert stats.kstest(values, "uniform", (low, high - low)).pvalue > 0.01


def test_sweeps() -> None:
    values = sweep("rotate", 21)
    assert [value for value, _ in values] == pytest.approx(range(-10, 11))
    assert values[0][1] == Affine(rotate=-10)
    with pytest.raises(UserError, match="no sweep 'turn'; there are: translate, rotate, scale, shear"):
        sweep("turn", 3)
    with pytest.raises(UserError, match="lowest and the highest"):
        sweep("scale", 3, [2, 1])

"""Learned weights of the triple cost: the objective, and optima that were planted."""

from __future__ import annotations

import pytest
import torch

from nic_lightning.flow.lambdas import LearnedLambdas
from nic_lightning.losses.triple_cost import candidate_costs, triple_cost

RADIUS, SIDE = 3, 22


def noise(seed: int) -> torch.Tensor:
    made = torch.randn(2, 16, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(made, dim=1)


def blurred(features: torch.Tensor, seed: int, amount: float) -> torch.Tensor:
    return torch.nn.functional.normalize(features + amount * noise(seed), dim=1)


def learned(previous, following, current, truth, steps: int = 150) -> list[float]:
    """The weights after some steps of Adam."""
    weighting = LearnedLambdas()
    optimiser = torch.optim.Adam(weighting.parameters(), 0.1)
    valid = torch.ones(truth.shape[0], SIDE, SIDE, dtype=torch.bool)
    for _ in range(steps):
        optimiser.zero_grad()
        weighting(previous, current, following, truth, valid, RADIUS).backward()
        optimiser.step()
    found = weighting.lambdas.detach()
    assert (found >= 0).all()
    assert float(found.sum()) == pytest.approx(1)
    return found.tolist()


@pytest.fixture
def moved():
    """Features of a frame that moves by (2, -1), and its motion."""
    current = noise(0)
    truth = torch.tensor([2, -1])[None, :, None, None].expand(2, 2, SIDE, SIDE)
    following, previous = (current.roll((sign * -1, sign * 2), (2, 3)) for sign in (1, -1))
    return previous, current, following, truth


def test_a_frame_of_noise_is_given_no_weight(moved):
    previous, current, following, truth = moved
    forward = learned(noise(7), blurred(following, 8, 1.5), current, truth)
    assert forward[0] > 0.9
    assert max(forward[1:]) < 0.1
    backward = learned(blurred(previous, 9, 1.5), noise(7), current, truth)
    assert backward[1] > 0.9


def test_where_each_pixel_is_seen_in_one_of_two_frames_the_minimum_wins(moved):
    previous, current, following, truth = moved
    hidden = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    hidden[:, ::2] = True  # in frame t coordinates every second column is hidden in the next frame, the others before
    gone_next, gone_before = (mask.roll((s * -1, s * 2), (0, 1)) for mask, s in ((hidden, 1), (~hidden, -1)))
    following, previous = torch.where(gone_next, noise(5), following), torch.where(gone_before, noise(6), previous)
    assert learned(previous, following, current, truth)[2] > 0.5


def test_costs_of_candidates_are_those_of_equation_5_4(moved):
    previous, current, following, _ = moved
    forward = candidate_costs(current, following, RADIUS)
    backward = candidate_costs(current, previous, RADIUS, -1)
    assert forward.shape == (2, 49, SIDE - 6, SIDE - 6)
    truth = (-1 + RADIUS) * 7 + 2 + RADIUS
    for costs in (forward, backward):
        assert float(costs[:, truth, 3:-3, 3:-3].abs().max()) < 1e-5
    y, x, dy, dx = 4, 5, 1, -3
    by_hand = 1 - (current[1, :, y + RADIUS, x + RADIUS] * previous[1, :, y + RADIUS - dy, x + RADIUS - dx]).sum()
    torch.testing.assert_close(backward[1, (dy + RADIUS) * 7 + dx + RADIUS, y, x], by_hand)
    mixed = triple_cost(forward, backward, torch.tensor([0.5, 0.25, 0.25]))
    torch.testing.assert_close(mixed, 0.5 * forward + 0.25 * backward + 0.25 * torch.minimum(forward, backward))


def test_what_is_unknown_or_moves_too_far_counts_for_nothing(moved):
    previous, current, following, truth = moved
    weighting, valid = LearnedLambdas(), torch.ones(2, SIDE, SIDE, dtype=torch.bool)
    whole = weighting(previous, current, following, truth, valid, RADIUS)
    wild = truth.clone()
    wild[:, :, ::2] = 50
    some = valid.clone()
    some[:, ::2] = False
    torch.testing.assert_close(
        weighting(previous, current, following, wild, valid, RADIUS),
        weighting(previous, current, following, truth, some, RADIUS),
    )
    assert float(whole.detach()) > 0
    none = weighting(previous, current, following, truth, torch.zeros_like(valid), RADIUS)
    assert float(none.detach()) == 0
    none.backward()

"""The triplet loss against loops over pixels, and where its negatives lie."""

from __future__ import annotations

import math

import pytest
import torch

from nic_lightning.losses.triplet import mine, triplet_margin, window


def features(*shape: int, seed: int = 0) -> torch.Tensor:
    made = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(made, dim=1)


@pytest.fixture
def case():
    """Two pairs of small frames, matches anywhere, some pixels without one."""
    generator = torch.Generator().manual_seed(3)
    first, second = features(2, 5, 4, 6, seed=1), features(2, 5, 7, 8, seed=2)
    targets = torch.stack([torch.randint(high, (2, 4, 6), generator=generator) for high in (8, 7)], 1)
    return first, second, targets, torch.rand(2, 4, 6, generator=generator) < 0.8


def brute_force(first, second, targets, valid, margin, inner, outer, negatives):
    """Mean of the hinges and part of the winners, pixel by pixel."""
    hinges, won = [], []
    for n, y, x in valid.nonzero().tolist():
        anchor, (mx, my) = first[n, :, y, x], targets[n, :, y, x].tolist()
        distance = (anchor - second[n, :, my, mx]).square().sum()
        others = [
            (anchor - second[n, :, j, i]).square().sum()
            for j in range(second.shape[2])
            for i in range(second.shape[3])
            if inner < math.hypot(i - mx, j - my) <= outer
        ]
        hinges += [max(0.0, float(margin + distance - other)) for other in sorted(others)[:negatives]]
        won.append(all(distance < other for other in others))
    return sum(hinges) / len(hinges), sum(won) / len(won)


@pytest.mark.parametrize(("inner", "outer", "negatives"), [(1, 5, 3), (0, 1.5, 2), (2, 2.3, 30)])
def test_the_loss_is_that_of_loops_over_pixels(case, inner, outer, negatives):
    found = triplet_margin(*case, margin=0.7, inner=inner, outer=outer, negatives=negatives)
    loss, wins = brute_force(*case, 0.7, inner, outer, negatives)
    assert float(found.loss) == pytest.approx(loss, abs=1e-5)
    assert float(found.wins) == pytest.approx(wins, abs=1e-6)


@pytest.mark.parametrize("mining", ["hardest", "random"])
def test_negatives_lie_in_the_frame_near_the_match_and_not_too_near(case, mining):
    first, second, targets, valid = case
    batch, y, x = valid.nonzero(as_tuple=True)
    anchors, matches = first.permute(0, 2, 3, 1)[batch, y, x], targets.permute(0, 2, 3, 1)[batch, y, x]
    torch.manual_seed(0)
    seen = set()
    for _ in range(20):
        found = mine(anchors, second, batch, matches, 1.0, 3.0, 4, mining)
        away = (found.places - matches[:, None]).float().norm(dim=-1)[found.exist]
        assert ((away > 1) & (away <= 3)).all()
        assert ((found.places >= 0) & (found.places < torch.tensor([8, 7]))).all()
        for places, exist in zip(found.places, found.exist, strict=True):
            assert len(torch.unique(places[exist], dim=0)) == int(exist.sum())  # none twice
        seen.add(tuple(found.places.flatten().tolist()))
    assert len(seen) == (1 if mining == "hardest" else 20)
    corner = mine(anchors[:1], second, batch[:1], torch.tensor([[0, 0]]), 5.5, 6.0, 50, mining)
    assert corner.exist.any()
    assert not corner.exist.all()  # the window reaches beyond the frame


def test_gradients_pull_matches_together_and_push_the_others_away():
    first, second = (features(1, 4, 6, 6, seed=seed).requires_grad_() for seed in (5, 6))
    line = torch.arange(6)
    targets = torch.stack(torch.meshgrid(line, line, indexing="xy"))[None]
    valid = torch.zeros(1, 6, 6, dtype=torch.bool)
    valid[0, 3, 3] = True
    triplet_margin(first, second, targets, valid, margin=4.0, negatives=1).loss.backward()
    assert second.grad is not None
    positive = second.grad[0, :, 3, 3]
    torch.testing.assert_close(positive, -2 * first.detach()[0, :, 3, 3])
    torch.testing.assert_close(second.grad.sum((0, 2, 3)), torch.zeros(4), atol=1e-5, rtol=0)  # -2a and one 2a
    nothing = triplet_margin(first, second, targets, torch.zeros_like(valid))
    assert float(nothing.loss.detach()) == float(nothing.wins) == 0
    nothing.loss.backward()


def test_the_window_is_a_ring():
    offsets = window(1.0, 5.0)
    assert len(offsets) == 81 - 5  # 81 whole points within 5 pixels, the middle and its four neighbours left out
    assert [1, 1] in offsets.tolist()
    assert [1, 0] not in offsets.tolist()

from __future__ import annotations

import pytest
import torch

from nic_lightning.errors import UserError
from nic_lightning.tasks.schedule import WarmupAndDecay


def rates(steps: int, lower_at: int | None = None, **arguments) -> list[float]:
    """Learning rate of each step; at `lower_at` somebody else halves it."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = WarmupAndDecay(optimizer, **arguments)
    seen = []
    for step in range(steps):
        if step == lower_at:
            optimizer.param_groups[0]["lr"] /= 2
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return seen


def test_rises_stays_and_falls():
    seen = rates(20, end=20, warmup=4, decay=5)
    assert seen[:5] == pytest.approx([0.01, 0.2575, 0.505, 0.7525, 1.0])
    assert seen[4:16] == pytest.approx([1.0] * 12)
    assert seen[15:] == pytest.approx([1.0, 0.8, 0.6, 0.4, 0.2])


def test_what_somebody_else_lowers_stays_lowered():
    plain, lowered = rates(20, end=20, decay=5, halve_at=[8]), rates(20, lower_at=10, end=20, decay=5, halve_at=[8])
    assert lowered[:10] == plain[:10]
    assert lowered[10:] == pytest.approx([r / 2 for r in plain[10:]])
    assert plain[8] == 0.5


def test_goes_on_from_its_state():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = WarmupAndDecay(optimizer, 20, 4, 5)
    for _ in range(17):
        optimizer.step()
        schedule.step()
    again = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    resumed = WarmupAndDecay(again, 20, 4, 5)
    again.load_state_dict(optimizer.state_dict())
    resumed.load_state_dict(schedule.state_dict())
    for o, s in ((optimizer, schedule), (again, resumed)):
        o.step()
        s.step()
    assert again.param_groups[0]["lr"] == optimizer.param_groups[0]["lr"] == pytest.approx(0.4)


@pytest.mark.parametrize(
    "wrong", [{"decay": 21}, {"warmup": 16, "decay": 5}, {"warmup": -1}, {"end": None, "decay": 1}]
)
def test_phases_that_do_not_fit_end_in_a_sentence(wrong):
    with pytest.raises(UserError, match=r"task\.decay"):
        rates(1, **{"end": 20, **wrong})

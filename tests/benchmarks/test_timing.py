from __future__ import annotations

import torch

from nic_lightning.benchmarks.timing import alternate, once, timed


def test_functions_take_turns():
    order = []
    times = alternate(2, torch.zeros(1), lambda x: order.append("a"), lambda x: order.append("b"), warm_up=1)
    assert order == ["a", "b"] * 3
    assert [len(series) for series in times] == [2, 2]


def test_the_call_that_warms_up_is_not_counted():
    calls = []
    found = timed(lambda: calls.append(0), 3)
    assert len(calls) == 4
    assert found.keys() == once(lambda: None).keys() == {"wall", "core"}
    assert found["wall"] > 0

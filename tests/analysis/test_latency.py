from __future__ import annotations

import pytest
import torch

from nic_lightning.analysis import latency
from nic_lightning.analysis.latency import STAGES, latency_table, measure_latency, photograph, spread, stage_times
from nic_lightning.errors import UserError


def test_points_take_turns_and_the_first_round_does_not_count(make_codec, monkeypatch) -> None:
    codec, order = make_codec("slimmable", widths=[4, 8]), []

    def fake(codec, x, point) -> dict[str, float]:
        order.append(point.label)
        base = [1000, 1, 2, 3, 4, 5][(len(order) - 1) // 2]
        return {stage: base + 10.0 * i + 100 * point.index for i, stage in enumerate(STAGES)}

    monkeypatch.setattr(latency, "stage_times", fake)
    narrow, wide = measure_latency(codec, torch.zeros(1, 3, 16, 16), repeat=5)
    assert order == ["w4", "w8"] * 6
    assert (narrow.label, wide.label) == ("w4", "w8")
    assert narrow.analysis == latency.Spread(3, 2, 4)
    assert wide.decoding == latency.Spread(133, 132, 134)
    text = latency_table([narrow, wide], 5)
    assert "3.0 (2.0 to 4.0)" in text
    assert "medians of 5 rounds" in text
    assert spread([7.0]) == latency.Spread(7, 7, 7)
    for wrong in (0, -1):
        with pytest.raises(UserError, match="give 1 or more"):
            measure_latency(codec, torch.zeros(1, 3, 16, 16), repeat=wrong)


@pytest.mark.parametrize("name", ["slimmable", "modulated_hyperprior"])
def test_each_stage_is_timed_once(make_codec, name: str) -> None:
    codec = make_codec(name, **({"widths": [4, 8]} if name == "slimmable" else {"lambdas": [64, 512]}))
    x, point = photograph((33, 50)), codec.operating_points[0]
    calls: dict[str, int] = {}

    def counted(method: str):
        original = getattr(codec, method)

        def call(*arguments):
            calls[method] = calls.get(method, 0) + 1
            assert not torch.is_grad_enabled()
            return original(*arguments)

        return call

    for method in ("analysis", "synthesis", "encode_latents", "decode_image_latents"):
        setattr(codec, method, counted(method))
    times = stage_times(codec, x, point)
    assert sorted(times) == sorted(STAGES)
    assert all(value > 0 for value in times.values())
    assert calls == dict.fromkeys(("analysis", "synthesis", "encode_latents", "decode_image_latents"), 1)
    assert sorted(stage_times(codec, x, point, coding=False)) == ["analysis", "synthesis"]
    assert calls["encode_latents"] == 1


def test_the_photograph_has_any_size() -> None:
    small, large = photograph((20, 30)), photograph((600, 1030))
    assert small.shape == (1, 3, 20, 30)
    assert large.shape == (1, 3, 600, 1030)
    assert torch.equal(large[..., :20, :30], small)
    assert torch.equal(large[..., 512:532, 512:542], small)
    assert 0 <= large.min() < large.max() <= 1

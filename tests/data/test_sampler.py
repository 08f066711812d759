"""The order of samples over epochs, ranks and restarts."""

from __future__ import annotations

from collections import Counter

import pytest

from nic_lightning.data.sampler import EpochSampler


def test_one_epoch_visits_every_image_once():
    sampler = EpochSampler(images=10, samples=10, seed=0)
    pairs = list(sampler)
    assert {epoch for epoch, _ in pairs} == {0}
    assert sorted(index for _, index in pairs) == list(range(10))


def test_order_depends_on_seed_and_epoch_only():
    orders = {tuple(EpochSampler(50, 50, seed).order(epoch)) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9
    assert EpochSampler(50, 50, 1).order(2) == EpochSampler(50, 50, 1).order(2)


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_ranks_share_the_epoch_without_overlap(world_size):
    ranks = [EpochSampler(11, 11, 0, rank, world_size) for rank in range(world_size)]
    parts = [sampler.order(5) for sampler in ranks]
    assert {len(part) for part in parts} == {11 // world_size} == {len(sampler) for sampler in ranks}
    joined = [index for part in parts for index in part]
    assert len(set(joined)) == len(joined)


def test_more_samples_than_images_spread_evenly_and_fewer_are_a_subset():
    many = Counter(index % 4 for index in EpochSampler(4, 400, 0).order(0))
    assert set(many.values()) == {100}
    few = [tuple(EpochSampler(100, 5, 0).order(epoch)) for epoch in range(3)]
    assert len(set(few)) == 3
    assert all(len(set(order)) == 5 for order in few)


def test_start_continues_exactly_and_another_epoch_forgets_it():
    whole = list(EpochSampler(20, 20, 7))
    sampler = EpochSampler(20, 20, 7)
    sampler.start = 8
    assert list(sampler) == whole[8:]
    assert len(sampler) == 20
    sampler.set_epoch(0)
    assert sampler.start == 8
    sampler.set_epoch(1)
    assert len(list(sampler)) == 20


def test_a_repeated_epoch_shows_the_first_one_again():
    sampler = EpochSampler(20, 20, 7, repeat=True)
    first = list(sampler)
    sampler.set_epoch(3)
    assert list(sampler) == first == list(EpochSampler(20, 20, 7))

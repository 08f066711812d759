"""What building a codec may allocate."""

from __future__ import annotations

import pytest
import torch

from nic_lightning.codecs.loading import build_codec
from nic_lightning.codecs.room import Room
from nic_lightning.errors import UserError

MAKERS = {
    "empty": lambda: torch.empty(10, 10),
    "empty of a sequence": lambda: torch.empty((10, 10)),
    "empty of a named size": lambda: torch.empty(size=(10, 10)),
    "full": lambda: torch.full((100,), 0.5),
    "randint": lambda: torch.randint(0, 5, (10, 10)),
    "eye": lambda: torch.eye(10),
    "arange": lambda: torch.arange(99),
    "arange with a step": lambda: torch.arange(0, 49.5, 0.5),
    "linspace": lambda: torch.linspace(0, 1, 100),
    "randperm": lambda: torch.randperm(100),
    "new_zeros": lambda: torch.zeros(()).new_zeros(9, 11),
    "repeat": lambda: torch.zeros(1).repeat(100),
    "zeros_like": lambda: torch.zeros_like(torch.zeros(1).expand(100)),
}


@pytest.mark.parametrize("maker", MAKERS)
def test_factories_are_counted(maker: str) -> None:
    with Room(101):  # arange may count one more than it makes
        MAKERS[maker]()
    with pytest.raises(UserError, match="more memory"), Room(98):
        MAKERS[maker]()


def test_several_tensors_are_counted_together() -> None:
    with Room(100):
        kept = [torch.zeros(40), torch.zeros(40)]
        with pytest.raises(UserError, match="more memory"):
            torch.zeros(40)
    assert len(kept) == 2


@pytest.mark.parametrize(
    "name", ["cae.CompressiveAutoencoder", "hyperprior.ScaleHyperprior", "modulated.ModulatedAutoencoder"]
)
def test_no_memory_is_taken_for_a_codec_without_room(name: str) -> None:
    config = {"_target_": f"nic_lightning.codecs.{name}", "width": 8000}  # gigabytes, which a machine would not give
    with pytest.raises(UserError, match="more memory"), Room(2**24):
        build_codec(config)

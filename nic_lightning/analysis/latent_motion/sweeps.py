"""Which motions are tried: sweeps of one parameter, and random affine motions (Ulhaq and Bajić, ICASSP 2021)."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from nic_lightning.analysis.latent_motion.motion import Affine
from nic_lightning.errors import UserError

SWEEPS: dict[str, tuple[str, float, float]] = {
    "translate": ("translate_x", -30.0, 30.0),
    "rotate": ("rotate", -10.0, 10.0),
    "scale": ("scale_x", 0.8, 1.25),
    "shear": ("shear_x", -10.0, 10.0),
}
"""By sweep: the parameter, and its range in the four plots of Figure 5."""
AFFINE: dict[str, tuple[float, float]] = {
    "translate_x": (-32.0, 32.0),
    "translate_y": (-32.0, 32.0),
    "scale_x": (0.95, 1.05),
    "scale_y": (0.95, 1.05),
    "shear_x": (-5.0, 5.0),
    "shear_y": (-5.0, 5.0),
    "rotate": (-10.0, 10.0),
}
"""Ranges of Figure 6, in the order in which they are drawn."""


def sweep(name: str, count: int, limits: Sequence[float] | None = None) -> list[tuple[float, Affine]]:
    """Values of the parameter of a sweep, evenly spread over its range or over `limits`, and their motions.

    Raises:
        UserError: there is no such sweep, or the limits are none.
    """
    if name not in SWEEPS:
        raise UserError(f"There is no sweep {name!r}; there are: {', '.join(SWEEPS)}.")
    parameter, low, high = SWEEPS[name]
    if limits is not None:
        if len(limits) != 2 or not limits[0] <= limits[1]:
            raise UserError(
                f"The limits of the sweep {name} are {list(limits)}; give the lowest and the highest value."
            )
        low, high = limits
    if count < 1 or (name == "scale" and low <= 0):
        raise UserError(f"The sweep {name} needs at least one value, and scales above 0.")
    values = [(low + high) / 2] if count == 1 else torch.linspace(low, high, count, dtype=torch.float64).tolist()
    return [(value, Affine(**{parameter: value})) for value in values]


def affine_draws(count: int, seed: int = 0) -> list[Affine]:
    """Motions whose seven parameters are uniform in `AFFINE`, independent; the first n follow from the seed alone."""
    generator = torch.Generator().manual_seed(seed)
    low, high = (torch.tensor([limits[end] for limits in AFFINE.values()]).double() for end in (0, 1))
    drawn = low + (high - low) * torch.rand(count, len(AFFINE), generator=generator, dtype=torch.float64)
    return [Affine(**dict(zip(AFFINE, row, strict=True))) for row in drawn.tolist()]

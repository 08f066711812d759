"""Variational refinement of a dense flow: brightness and gradient constancy, smoothness; OpenCV's solver.

One scale, from the given flow on, as at the end of EpicFlow (Revaud et al. 2015, section 4). The thesis' last step
(section 5.5) is coarse-to-fine and starts from a dense flow as well.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nic_lightning.errors import UserError
from nic_lightning.flow.interpolation import Flow, Image, to_bytes

_STEPS, _WEIGHTS = ("outer", "inner"), ("alpha", "gamma", "delta", "omega")


def check_refinement(settings: Mapping[str, Any]) -> None:
    """Raise UserError for what `refine` cannot take: frames are matched for minutes before it is called."""
    for name, value in settings.items():
        if name not in _STEPS + _WEIGHTS:
            raise UserError(f"The refinement has no setting {name!r}; it has {', '.join(_STEPS + _WEIGHTS)}.")
        if name in _STEPS and not (type(value) is int and value > 0):
            raise UserError(f"refinement.{name} is a whole number from 1 on, not {value!r}.")
        if name in _WEIGHTS and not (type(value) in (int, float) and math.isfinite(value) and value >= 0):
            raise UserError(f"refinement.{name} is a number of 0 or more, not {value!r}.")


def refine(
    image1: Image,
    image2: Image,
    flow: NDArray[Any],
    *,
    alpha: float = 20.0,
    gamma: float = 10.0,
    delta: float = 5.0,
    outer: int = 10,
    inner: int = 30,
    omega: float = 1.6,
) -> Flow:
    """Flow (H, W, 2) after `outer` linearisations; unknown pixels (NaN) stay unknown.

    OpenCV's own 5 linearisations of 5 inner steps are too weak for flow that is whole in steps of 3 pixels.

    Args:
        image1: reference frame, RGB (H, W, 3), uint8 or float in [0, 1].
        image2: the next frame, of the same size.
        flow: where to begin, (H, W, 2) in pixels.
        alpha: weight of smoothness.
        gamma: weight of gradient constancy.
        delta: weight of brightness constancy.
        outer: fixed-point iterations, each with the second image warped anew.
        inner: successive over-relaxations in each.
        omega: over-relaxation, between 1 and 2.
    """
    import cv2

    solver = cv2.VariationalRefinement.create()
    solver.setAlpha(alpha)
    solver.setGamma(gamma)
    solver.setDelta(delta)
    solver.setFixedPointIterations(outer)
    solver.setSorIterations(inner)
    solver.setOmega(omega)
    grey1, grey2 = (cv2.cvtColor(to_bytes(image), cv2.COLOR_RGB2GRAY) for image in (image1, image2))
    unknown = ~np.isfinite(flow).all(-1)
    start = np.where(unknown[..., None], 0, flow).astype(np.float32)  # a copy: the solver works in place
    refined = np.asarray(solver.calc(grey1, grey2, start), np.float32)
    refined[unknown] = np.nan
    return refined


DEFAULTS: dict[str, float] = {
    name: setting.default
    for name, setting in inspect.signature(refine).parameters.items()
    if setting.kind is setting.KEYWORD_ONLY
}
"""Every setting of the refinement, with the value that it has where none is given."""

"""What point clouds are called, counted in and compared by. No torch needed."""

from __future__ import annotations

from pathlib import Path

from nic_lightning.media.base import Medium, Quality, Rate
from nic_lightning.media.handling import Handler


def _look(path: Path) -> None:
    from nic_lightning.media.cloud.files import require_cloud

    require_cloud(path)


def _handler() -> Handler:
    from nic_lightning.media.cloud.handler import CloudHandler

    return CloudHandler()


MEDIUM = Medium(
    name="cloud",
    unit="point",
    units="points",
    rate=Rate("bits", "bits_estimated", "bit/cloud", "rate [bits per cloud]", "bits that each cloud shall have"),
    qualities=(
        Quality("accuracy", "Accuracy", digits=3),
        Quality("cross_entropy", "Cross entropy", "nat", digits=3, lower_is_better=True, drawn=False),
        Quality("chamfer", "Chamfer distance", digits=5, lower_is_better=True, log_axis=True),
    ),
    default="accuracy",
    look=_look,
    handler=_handler,
)
"""Point clouds: what a machine recognises in them, and what a viewer sees of them."""

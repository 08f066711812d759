"""Training of the features that optical flow is matched with, and of the weights of the triple cost."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nic_lightning.data.flow_crops import FlowCrop
from nic_lightning.data.flow_training import FlowDataModule
from nic_lightning.data.motion import Scene
from nic_lightning.errors import UserError
from nic_lightning.flow.features import FeatureNetwork
from nic_lightning.flow.lambdas import LearnedLambdas
from nic_lightning.flow.pipeline import Pipeline
from nic_lightning.flow.settings import FlowConfig
from nic_lightning.flow.triple import TWO_FRAMES, Lambdas
from nic_lightning.flow.weights import load_weights, to_npz
from nic_lightning.losses.triplet import MININGS, triplet_margin
from nic_lightning.metrics.flow_errors import flow_errors
from nic_lightning.runs.record.files import write_atomically
from nic_lightning.tasks.base import Task

log = logging.getLogger(__name__)

OPTIMISERS = ("sgd", "adam")
FEATURES = "features.npz"
"""In the run folder, when training has ended: what `nic flow --weights` takes on any machine."""


class FlowFeaturesTask(Task):
    """Triplet margin loss of pixels, their matches and negatives near them (DCFlow, Xu et al. 2017; `losses.triplet`).

    With `lambdas`, the weights of the triple cost are learned on the features as they become, from frames that have
    one before (`flow.lambdas`, `losses.triple_cost`); the features do not feel it.

    Args:
        margin: of the triplet loss, in squared distances of unit vectors.
        inner: places this near to the true match are no negatives, in pixels of the working scale.
        outer: nor are places further away.
        negatives: of each pixel; DCFlow has 3.
        mining: "hardest", the most similar of them, or "random" ones, as DCFlow.
        optimizer: "sgd" with momentum, as DCFlow, or "adam".
        learning_rate: of the features.
        momentum: of SGD.
        lower_at: steps at which all learning rates are divided by ten.
        train_features: false: only the weights of the triple cost are learned, on the features of `init_from`.
        lambdas: learn the weights of the triple cost.
        lambda_learning_rate: of these.
        lambda_radius: of the candidate motions, around that of the crop, in pixels of the working scale.
        validation_displacement: largest motion that validation looks for, in full-size pixels.
    """

    def __init__(
        self,
        margin: float = 1.0,
        inner: float = 1.0,
        outer: float = 5.0,
        negatives: int = 3,
        mining: str = "hardest",
        optimizer: str = "sgd",
        learning_rate: float = 0.1,
        momentum: float = 0.9,
        lower_at: Sequence[int] = (),
        train_features: bool = True,
        lambdas: bool = False,
        lambda_learning_rate: float = 0.02,
        lambda_radius: int = 6,
        validation_displacement: int = 48,
    ) -> None:
        super().__init__()
        _require(margin, inner, outer, negatives, mining, optimizer, lambda_radius)
        if not (train_features or lambdas):
            raise UserError("Nothing is left to train: give task.lambdas=true or task.train_features=true.")
        self.triplets: dict[str, Any] = {"margin": margin, "inner": inner, "outer": outer}
        self.triplets |= {"negatives": negatives, "mining": mining}
        self.optimizer, self.momentum, self.lower_at = optimizer, momentum, list(lower_at)
        self.rates = {"features": learning_rate, "lambdas": lambda_learning_rate}
        self.lambda_radius, self.validation_displacement = lambda_radius, validation_displacement
        self.network = FeatureNetwork().requires_grad_(train_features)
        self.weighting = LearnedLambdas() if lambdas else None
        self.train_features, self.started = train_features, False

    def start_from(self, source: str) -> None:
        """Begin with the weights of a file or run that `load_weights` takes."""
        self.network.load_state_dict({name: torch.from_numpy(value) for name, value in load_weights(source).items()})
        self.started = True

    @property
    def lambdas(self) -> Lambdas | None:
        """The learned weights of the triple cost so far; None where they are not learned."""
        if self.weighting is None:
            return None
        first, second, third = self.weighting.lambdas.tolist()
        return first, second, third

    def on_fit_start(self) -> None:
        """Refuse data without known motion, or not enough of it, and features that nobody has trained."""
        data = getattr(self.trainer, "datamodule", None)
        if not isinstance(data, FlowDataModule):
            raise UserError("The flow's features are trained on frames of known motion: give data=flow.")
        if self.weighting is not None and data.crop <= 2 * self.lambda_radius:
            raise UserError(
                f"data.crop is {data.crop}; to learn lambdas it has to be more than twice task.lambda_radius, "
                f"{self.lambda_radius}."
            )
        if self.weighting is not None and not getattr(data.train_images, "has_previous", False):
            raise UserError("Lambdas are learned from three frames, and no frame of data.sets has one before.")
        if not (self.train_features or self.started or self.trainer.ckpt_path):
            raise UserError("task.train_features=false needs trained features: give init_from=FILE or a run.")

    def training_step(self, batch: FlowCrop, batch_idx: int) -> Tensor:
        """Loss of a batch of crops."""
        frames = [batch.current, batch.following] + ([] if self.weighting is None else [batch.previous])
        features = self.network(torch.cat(frames)).float().split(len(batch.current))
        found = triplet_margin(features[0], features[1], _targets(batch.motion), batch.visible, **self.triplets)
        loss = found.loss
        self.latest = {"train/loss": loss.detach(), "train/wins": found.wins}
        if self.weighting is not None:
            valid = batch.known & batch.has_previous[:, None, None]
            ordered = features[2], features[0], features[1]
            matching = self.weighting(*ordered, batch.motion, valid, self.lambda_radius)
            loss = loss + matching if self.train_features else matching
            self.latest["train/matching"] = matching.detach()
            for number, value in enumerate(self.weighting.lambdas.detach(), 1):
                self.latest[f"train/lambda{number}"] = value
        if self.logs_after(1):
            rate = self.trainer.optimizers[0].param_groups[0]["lr"]
            self.log_dict({**self.latest, "train/learning_rate": rate}, batch_size=len(batch.current))
        return loss

    def validation_step(self, scene: Scene, batch_idx: int) -> None:
        """End-point error of the cheapest labels (winner takes all) of two frames, and of three where that is learned.

        In full-size pixels, over all pixels with known flow and over those that the next frame shows.
        """
        values = {}
        for name, lambdas in (("epe", TWO_FRAMES), ("epe_triple", self.lambdas)):
            if lambdas is not None:
                row = self._errors(scene, lambdas)
                values |= {f"val/{self.validation_name}/{name}": row["epe_all"]}
                values |= {f"val/{self.validation_name}/{name}_noc": row["epe_noc"]}
        there = {name: value for name, value in values.items() if value is not None}
        self.log_dict(there, batch_size=1, sync_dist=True)

    def _errors(self, scene: Scene, lambdas: Lambdas) -> dict[str, Any]:
        ratio = self.trainer.datamodule.ratio  # pyright: ignore[reportAttributeAccessIssue]
        reach = min(max(self.validation_displacement, ratio), 100 * ratio - 1)
        labels_only = {"strategy": "none", "smoothness": None, "interpolation": "none", "refinement": None}
        config = FlowConfig(ratio=ratio, max_displacement=reach, lambdas=lambdas, **labels_only)
        with torch.autocast(self.device.type, enabled=False):
            result = Pipeline(config, self.network).run(scene.previous, scene.current, scene.following)
        return flow_errors(result.flow, scene.flow, scene.hidden).row()

    def configure_optimizers(self) -> Any:
        """One optimiser with the groups "features" and "lambdas", where these are trained."""
        parts = {"features": self.network.parameters() if self.train_features else [], "lambdas": []}
        if self.weighting is not None:
            parts["lambdas"] = self.weighting.parameters()
        groups = [{"params": list(p), "lr": self.rates[name], "name": name} for name, p in parts.items()]
        groups = [group for group in groups if group["params"]]
        made = torch.optim.Adam(groups) if self.optimizer == "adam" else torch.optim.SGD(groups, momentum=self.momentum)
        schedule = torch.optim.lr_scheduler.MultiStepLR(made, self.lower_at, gamma=0.1)
        return {"optimizer": made, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the weights of the triple cost as the pipeline takes them."""
        checkpoint["lambdas"] = self.lambdas

    def finish(self, folder: Path) -> None:
        """Write the features, and the weights of the triple cost beside them, as a file; say how to use it."""
        tensors = {name: value.detach().cpu().numpy() for name, value in self.network.state_dict().items()}
        write_atomically(folder / FEATURES, to_npz(tensors, self.lambdas))
        print(f"Features: nic flow FRAMES -o DIR --weights {folder / FEATURES}")
        if self.train_features and abs(float(self.latest.get("train/loss", 0)) / self.triplets["margin"] - 1) < 0.01:
            log.warning(
                "The loss is that of pixels which all look alike, task.margin: these features distinguish nothing. "
                "Hard frames can do that to task.mining=hardest; give task.mining=random, or more data."
            )
        if self.lambdas is not None:
            told = ", ".join(f"{value:.3f}" for value in self.lambdas)
            print(f"Learned weights of the triple cost: {told}; --set lambdas=learned takes them.")


def _targets(motion: Tensor) -> Tensor:
    """Places of the matches in the following crop, (N, 2, s, s)."""
    line = torch.arange(motion.shape[-1], device=motion.device)
    return motion + torch.stack(torch.meshgrid(line, line, indexing="xy"))


def _require(
    margin: float, inner: float, outer: float, negatives: int, mining: str, optimizer: str, radius: int
) -> None:
    if mining not in MININGS:
        raise UserError(f"task.mining is {mining!r}; it can be {' or '.join(MININGS)}.")
    if optimizer not in OPTIMISERS:
        raise UserError(f"task.optimizer is {optimizer!r}; it can be {' or '.join(OPTIMISERS)}.")
    if not 0 <= inner < outer <= 50 or outer < 1:
        raise UserError(f"task.inner and task.outer are radii, 0 <= inner < outer <= 50, not {inner:g} and {outer:g}.")
    if not 0 < margin <= 4:
        raise UserError(f"task.margin lies in (0, 4], as squared distances of unit vectors do; it is {margin:g}.")
    if negatives < 1 or not 1 <= radius <= 20:
        raise UserError("task.negatives is at least 1, and task.lambda_radius lies between 1 and 20.")

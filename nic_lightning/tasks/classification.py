"""Training for classification: what a machine has to know of an input, in as few bits as possible."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler

from nic_lightning.codecs.clouds import CloudCodec
from nic_lightning.codecs.learned import LearnedCodec
from nic_lightning.data.cloud_module import Clouds
from nic_lightning.errors import UserError
from nic_lightning.losses.classification import rate_accuracy
from nic_lightning.media.cloud.chamfer import chamfer_distance
from nic_lightning.tasks.optimizers import Make
from nic_lightning.tasks.rate_distortion import RateDistortionTask


class ClassificationTask(RateDistortionTask):
    """Minimise the sum over operating points of `lambda * cross entropy [nats] + bits of a cloud`.

    A codec that makes points of its latents learns that beside, by the Chamfer distance; no gradient of it reaches the
    encoder or the entropy model. Optimiser, schedule and clipping are those of `RateDistortionTask`.

    Args:
        codec: a codec of clouds.
        codec_config: the codec's plain config, kept in checkpoints.
        chamfer: weight of the Chamfer distance, where the codec makes points.
        learning_rate: of the networks.
        quantile_learning_rate: of the quantiles.
        halve_at: steps at which both are halved.
        warmup: steps in which they rise linearly from a hundredth.
        decay: last steps of `trainer.max_steps` in which they fall linearly towards 0.
        freeze: parameter name prefixes of the codec that are not trained.
        learning_rate_factors: by parameter name prefix, what the networks' learning rate is multiplied with there.
        optimizer: makes the optimiser, a partial of conf/optimizer; None: Adam.
        schedule: makes the schedule, a partial of conf/schedule, in place of `halve_at`, `warmup` and `decay`.
    """

    def __init__(
        self,
        codec: LearnedCodec,
        codec_config: dict[str, Any] | None = None,
        chamfer: float = 16000.0,
        learning_rate: float = 1e-3,
        quantile_learning_rate: float = 1e-3,
        halve_at: Sequence[int] = (),
        warmup: int = 0,
        decay: int = 0,
        freeze: Sequence[str] = (),
        learning_rate_factors: Mapping[str, float] | None = None,
        optimizer: Make | None = None,
        schedule: Callable[..., LRScheduler] | None = None,
    ):
        if not isinstance(codec, CloudCodec):
            raise UserError(f"Codec {codec.name} has no classes; give codec=point_cloud.")
        if not 0 <= chamfer < math.inf:
            raise UserError(f"task.chamfer is {chamfer:g}; give a weight of 0 or more.")
        super().__init__(
            codec, codec_config, learning_rate=learning_rate, quantile_learning_rate=quantile_learning_rate,
            halve_at=halve_at, warmup=warmup, decay=decay, freeze=freeze, learning_rate_factors=learning_rate_factors,
            optimizer=optimizer, schedule=schedule, compile=False,
        )  # fmt: skip
        self.clouds, self.chamfer = codec, chamfer

    def on_fit_start(self) -> None:
        """Refuse data without labels."""
        if not isinstance(getattr(getattr(self.trainer, "datamodule", None), "train_images", None), Clouds):
            raise UserError("task=classification trains on labelled clouds: give data=furniture or another such set.")

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Loss of clouds (N, P, 3) and labels (N,), summed over the codec's operating points."""
        x, labels = batch
        logged: dict[str, Tensor] = {}
        loss = x.new_zeros(())
        for point, clouds, output in self.codec.training_outputs(x):
            terms = rate_accuracy(output, labels, point.lmbda or 0.0)
            loss = loss + terms.loss
            logged |= {
                f"train/bits@{point.label}": terms.bits,
                f"train/cross_entropy@{point.label}": terms.cross_entropy,
                f"train/accuracy@{point.label}": terms.accuracy,
            }
            points = self.clouds.reconstruction(output.y_hat)
            if points is not None:
                logged[f"train/chamfer@{point.label}"] = distance = chamfer_distance(clouds, points).mean()
                loss = loss + self.chamfer * distance
        return self.whole_loss(loss, logged, len(x))

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Estimated rate, cross entropy and accuracy of clouds at every operating point."""
        x, labels = batch
        name, total = self.validation_name, x.new_zeros(())
        values: dict[str, Tensor] = {}
        for point, output in zip(self.codec.operating_points, self.codec.outputs(x), strict=True):
            terms = rate_accuracy(output, labels, point.lmbda or 0.0)
            total = total + terms.loss
            values |= {
                f"val/{name}/bits_estimated@{point.label}": terms.bits,
                f"val/{name}/cross_entropy@{point.label}": terms.cross_entropy,
                f"val/{name}/accuracy@{point.label}": terms.accuracy,
            }
            points = self.clouds.reconstruction(output.y_hat)
            if points is not None:
                values[f"val/{name}/chamfer@{point.label}"] = chamfer_distance(x, points).mean()
        values[f"val/{name}/loss"] = total
        self.log_dict(values, batch_size=len(x), sync_dist=True)

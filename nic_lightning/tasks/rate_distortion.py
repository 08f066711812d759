"""Rate-distortion training: every operating point of a codec on the same crops, one backward pass."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.optim.lr_scheduler import LRScheduler, MultiStepLR

from nic_lightning.codecs.learned import LearnedCodec
from nic_lightning.data.domains import DomainFolders
from nic_lightning.errors import UserError
from nic_lightning.losses.rate_distortion import Distortion, bits, rate_distortion
from nic_lightning.metrics.fidelity import psnr
from nic_lightning.tasks.base import QUANTILES, CodecTask
from nic_lightning.tasks.distortion import chosen_distortion
from nic_lightning.tasks.optimizers import Group, Make, adam, kernels_of
from nic_lightning.tasks.schedule import WarmupAndDecay

log = logging.getLogger(__name__)


def require_lambdas(codec: LearnedCodec) -> None:
    """Raise UserError where a point has no lambda, as of foreign weights: nothing says what distortion weighs."""
    unknown = [point.label for point in codec.operating_points if point.lmbda is None]
    if unknown:
        raise UserError(f"Point {unknown[0]} of codec {codec.name} has no lambda to train with; give codec.lmbda.")


class RateDistortionTask(CodecTask):
    """Minimise sum over operating points of `lambda_i * D_i + R_i` (thesis eq. 2.5 and 2.8).

    One Adam with two parameter groups: the network, and the entropy models' quantiles, which only the auxiliary loss
    moves. One backward pass of rate-distortion plus auxiliary loss gives the gradients of the usual two optimisers.

    Args:
        codec: what is trained.
        codec_config: the codec's plain config, kept in checkpoints so that they can be decoded from alone.
        distortion: "mse", "l1", "ms-ssim" (1 - MS-SSIM; crops must then exceed 160 pixels a side), "lpips"; a mixture
            of these by weights, {"mse": 1, "lpips": .05}; or a function of (x_hat, x).
        learning_rate: of the network.
        quantile_learning_rate: of the quantiles.
        halve_at: steps at which both learning rates are halved.
        warmup: steps in which they rise linearly from a hundredth.
        decay: last steps of `trainer.max_steps` in which they fall linearly towards 0.
        freeze: parameter name prefixes of the codec that are not trained, such as [g_a, g_s].
        learning_rate_factors: by parameter name prefix, what the network's learning rate is multiplied with there.
        average: decay of a moving average of the weights, .999 or so, which is validated and decoded with; None: none.
        optimizer: makes the optimiser of named groups (`tasks/optimizers.py`), a partial of conf/optimizer; None: Adam.
        schedule: makes the schedule of the optimiser and trainer.max_steps (`tasks/schedule.py`), a partial of
            conf/schedule, in place of `halve_at`, `warmup` and `decay`.
        channels_last: memory format of images and kernels; faster on CPUs and on tensor cores.
        compile: compile the transforms with TorchDynamo when training on a GPU.
    """

    weighs_distortion: ClassVar[bool] = True
    """Whether every operating point has to have a lambda."""

    def __init__(
        self,
        codec: LearnedCodec,
        codec_config: dict[str, Any] | None = None,
        distortion: str | Mapping[str, float] | Distortion = "mse",
        learning_rate: float = 1e-4,
        quantile_learning_rate: float = 1e-3,
        halve_at: Sequence[int] = (),
        warmup: int = 0,
        decay: int = 0,
        freeze: Sequence[str] = (),
        learning_rate_factors: Mapping[str, float] | None = None,
        average: float | None = None,
        optimizer: Make | None = None,
        schedule: Callable[..., LRScheduler] | None = None,
        channels_last: bool = True,
        compile: bool = True,
    ):
        super().__init__(codec, codec_config, average)
        if not all(codec.reconstructs(point) for point in codec.operating_points):
            raise UserError(
                f"Codec {codec.name} translates; rate and distortion do not train that: give task=translation."
            )
        if self.weighs_distortion:
            require_lambdas(codec)
        self.distortion, self.cost = chosen_distortion(distortion)
        self.learning_rate, self.quantile_learning_rate = learning_rate, quantile_learning_rate
        self.halve_at, self.compile_transforms = list(halve_at), compile
        self.warmup, self.decay = warmup, decay
        self.make_optimizer, self.make_schedule = optimizer or adam, schedule
        if schedule is not None and (warmup or decay or halve_at):
            raise UserError("task.schedule takes the place of task.warmup, decay and halve_at: leave these out.")
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        _freeze(codec, freeze)
        self.learning_rate_factors = dict(learning_rate_factors or {})
        _require_prefixes(codec, self.learning_rate_factors, "learning_rate_factors")
        if bad := [f for f in self.learning_rate_factors.values() if not 0 < f < math.inf]:
            raise UserError(f"task.learning_rate_factors has {bad[0]:g}; give positive numbers, or freeze the part.")

    def configure_model(self) -> None:
        """Lay out kernels; distributed training fixes the layout of their gradients right after this."""
        self.codec.memory_format = self.memory_format
        self.codec.to(memory_format=self.memory_format)  # pyright: ignore[reportCallIssue]

    def on_fit_start(self) -> None:
        """Refuse data of domains; compile the transforms where that pays."""
        data = getattr(self.trainer, "datamodule", None)
        if isinstance(getattr(data, "train_images", None), DomainFolders):
            raise UserError("Rate and distortion train on images without domains: give data=folder or another set.")
        side, multiple = getattr(data, "crop", None) or 0, self.codec.downsampling
        if side > multiple and side % multiple:
            log.info(
                "Crops of %d pixels are cut to %d, a multiple of the codec's %d; data.crop=%d would use all of them.",
                side, side // multiple * multiple, multiple, -(-side // multiple) * multiple,
            )  # fmt: skip
        if self.compile_transforms and self.device.type == "cuda":
            self.codec.analysis = torch.compile(self.codec.analysis)
            self.codec.synthesis = torch.compile(self.codec.synthesis)

    def training_step(self, x: Tensor, batch_idx: int) -> Tensor:
        """Loss of crops (N, 3, h, w) in [0, 1], summed over the codec's operating points."""
        x = self.without_padding(x).contiguous(memory_format=self.memory_format)
        logged: dict[str, Tensor] = {}
        loss = x.new_zeros(())
        with parametrize.cached():  # kernels stored as coefficients are worked out once for all points
            for point, crops, output in self.codec.training_outputs(x):
                terms = rate_distortion(output, crops, point.lmbda or 0.0, self.cost)
                loss = loss + terms.loss
                logged |= {
                    f"train/bpp@{point.label}": terms.bpp,
                    f"train/{self.distortion}@{point.label}": terms.distortion,
                }
        return self.whole_loss(loss, logged, len(x))

    def without_padding(self, x: Tensor) -> Tensor:
        """Crops (N, 3, h, w) cut to multiples of the codec's downsampling, where they are larger than that.

        What is padded has no distortion. A codec that sees padding in every crop learns to save its bits, and then
        drops the right and bottom edge of images that need none.
        """
        multiple = self.codec.downsampling
        height, width = (side // multiple * multiple or side for side in x.shape[-2:])
        return x[..., :height, :width]

    def whole_loss(self, loss: Tensor, logged: dict[str, Tensor], batch_size: int) -> Tensor:
        """The loss with that of the quantiles; both are logged beside `logged`, values of one step by name."""
        auxiliary = self.codec.auxiliary_loss()
        logged |= {"train/loss": loss, "train/auxiliary": auxiliary}
        self.latest = {name: value.detach() for name, value in logged.items()}
        if self.logs_after(1):
            rate = self.trainer.optimizers[0].param_groups[0]["lr"]
            self.log_dict({**self.latest, "train/learning_rate": rate}, batch_size=batch_size)
        return loss + auxiliary

    def validation_step(self, batch: tuple[Sequence[str], Tensor], batch_idx: int) -> None:
        """Estimated rate and 8-bit PSNR of whole images at every operating point."""
        _, x = batch
        name = self.validation_name
        values, total = {}, x.new_zeros(())
        for point, output in zip(self.codec.operating_points, self.codec.outputs(x), strict=True):
            bpp = bits(output.likelihoods) / (x.shape[0] * x.shape[2] * x.shape[3])
            values[f"val/{name}/bpp_estimated@{point.label}"] = bpp
            values[f"val/{name}/psnr@{point.label}"] = psnr(x, output.x_hat.float()).mean()
            total = total + rate_distortion(output, x, point.lmbda or 0.0).loss
        values[f"val/{name}/loss"] = total
        self.log_dict(values, batch_size=len(x), sync_dist=True)

    def configure_optimizers(self) -> Any:
        """The optimiser with groups "network", "network.PREFIX" for each learning rate factor, and "quantiles".

        All learning rates follow the schedule.
        """
        rates = {"network": self.learning_rate}
        rates |= {f"network.{prefix}": self.learning_rate * f for prefix, f in self.learning_rate_factors.items()}
        rates[QUANTILES] = self.quantile_learning_rate
        kernels = kernels_of(self.codec)
        groups = {name: Group(name, rate, kernels=kernels) for name, rate in rates.items()}
        for name, parameter in self.codec.named_parameters():
            if parameter.requires_grad:
                groups[self._group(name)].parameters.append(parameter)
        # A fused step unscales float16's gradients itself, and only after they were clipped.
        scaled = self._trainer is not None and str(self.trainer.precision).startswith("16")
        optimizer = self.make_optimizer([group for group in groups.values() if group.parameters], not scaled)
        self.take_average_of(optimizer)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": self._schedule(optimizer), "interval": "step"}}

    def _schedule(self, optimizer: torch.optim.Optimizer) -> LRScheduler:
        if self.make_schedule is None and not self.warmup and not self.decay:
            return MultiStepLR(optimizer, self.halve_at, gamma=0.5)
        steps = self.trainer.max_steps
        if self.make_schedule is not None:
            return self.make_schedule(optimizer, steps if steps > 0 else None)
        return WarmupAndDecay(optimizer, steps if steps > 0 else None, self.warmup, self.decay, self.halve_at)

    def _group(self, name: str) -> str:
        if name.endswith(QUANTILES):
            return QUANTILES
        prefix = max((p for p in self.learning_rate_factors if _begins(name, p)), key=len, default=None)
        return f"network.{prefix}" if prefix else "network"

    def configure_gradient_clipping(self, optimizer, gradient_clip_val=None, gradient_clip_algorithm=None) -> None:
        """Clip the network's gradients only, by norm or value: the quantiles' are orders of magnitude larger."""
        if not gradient_clip_val:
            return
        network = [p for g in optimizer.param_groups if g["name"] != QUANTILES for p in g["params"]]
        if gradient_clip_algorithm == "value":
            nn.utils.clip_grad_value_(network, gradient_clip_val)
            return
        self.latest["train/gradient_norm"] = nn.utils.clip_grad_norm_(network, gradient_clip_val).detach()


def _begins(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(prefix + ".")


def _require_prefixes(codec: nn.Module, prefixes: Iterable[str], option: str) -> None:
    names = [name for name, _ in codec.named_parameters()]
    for prefix in prefixes:
        if not any(_begins(name, prefix) for name in names):
            known = ", ".join(sorted({name.split(".")[0] for name in names}))
            raise UserError(f"task.{option} names {prefix!r}, which the codec does not have; it has {known}.")


def _freeze(codec: nn.Module, prefixes: Sequence[str]) -> None:
    _require_prefixes(codec, prefixes, "freeze")
    for name, parameter in codec.named_parameters():
        if any(_begins(name, prefix) for prefix in prefixes):
            parameter.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in codec.parameters()):
        raise UserError("task.freeze names every part of the codec: nothing is left to train.")

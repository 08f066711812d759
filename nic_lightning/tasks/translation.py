"""Adversarial training of image-to-image translation through a bottleneck, and of autoencoding beside it."""

from __future__ import annotations

import copy
import random
import sys
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from nic_lightning.codecs.learned import LearnedCodec
from nic_lightning.codecs.translation import I2ICodec
from nic_lightning.data.domains import DomainFolders, Translation
from nic_lightning.errors import UserError
from nic_lightning.layers.stargan import Discriminator, initialise
from nic_lightning.losses.translation import fading, rate
from nic_lightning.metrics.fidelity import psnr
from nic_lightning.tasks.base import QUANTILES, CodecTask
from nic_lightning.tasks.translation_steps import Step, TranslationSteps, Weights, portions, take

SCHEDULES = ("both", "alternate", "random", "autoencode")
PRECISIONS = ("32-true", "bf16-mixed")
STABLE_BATCH = 8
"""Images over all ranks: StarGAN v2's users report an FID of 60 with 4 (issue 101 of its repository)."""


class TranslationTask(CodecTask):
    """Train `I2ICodec` and `UI2ICodec` (thesis chapter 4), in the order of StarGAN v2's released training.

    One iteration is: discriminator with styles of random vectors, the same with styles of reference images,
    discriminator of autoencoding; then E^c, G, hyperprior, M and E^s with random vectors, E^c, G and hyperprior in
    autoencoding, and the same with references. Each is a step of its own. A unified codec is first trained for
    `warm_up` iterations on the distortion of autoencoding alone.

    `network` is what is trained. `codec`, which checkpoints are decoded with, is its exponential moving average.

    Lightning's step count, and so `trainer.max_steps`, checkpoints and logs, count iterations: of the optimisers only
    the last one of an iteration, which moves the entropy models' quantiles, steps through Lightning, which counts.

    Args:
        codec: what is trained.
        codec_config: the codec's plain config, kept in checkpoints so that they can be decoded from alone.
        lambda_t: weight of the rate, in bits per pixel, in translation.
        lambda_a: weight of the distortion of autoencoding, of images in [-1, 1].
        autoencoding_rate: weight of the rate in autoencoding. Equation 4.7 as printed is lambda_a 1 and 20 here.
        beta: weight of the adversarial loss of autoencoding; 0 leaves out its discriminator.
        style: weight of the style reconstruction.
        diversity: weight of the style diversification at the start.
        diversity_iterations: in how many iterations after the warm-up it falls to 0; 0: it stays.
        cycle: weight of the cycle consistency.
        r1: weight of the gradient penalty of the discriminators.
        warm_up: iterations on the distortion alone, of a codec that autoencodes.
        mode_schedule: "both" modes in each iteration, "alternate", one of them at "random", or "autoencode" only.
        autoencode_probability: of "random".
        accumulate: parts that a batch is computed in, one after the other, to save memory.
        ema_decay: of the moving average, for each iteration.
        learning_rate: of all networks but the mapping network.
        mapping_learning_rate: of the mapping network.
        quantile_learning_rate: of the entropy models' quantiles.
        betas: of all Adams.
        weight_decay: of all networks, added to the gradient.
    """

    def __init__(
        self,
        codec: LearnedCodec,
        codec_config: dict[str, Any] | None = None,
        lambda_t: float = 0.1,
        lambda_a: float = 20.0,
        autoencoding_rate: float = 1.0,
        beta: float = 1.0,
        style: float = 1.0,
        diversity: float = 1.0,
        diversity_iterations: int = 100_000,
        cycle: float = 1.0,
        r1: float = 1.0,
        warm_up: int = 50_000,
        mode_schedule: str = "both",
        autoencode_probability: float = 0.5,
        accumulate: int = 1,
        ema_decay: float = 0.999,
        learning_rate: float = 1e-4,
        mapping_learning_rate: float = 1e-6,
        quantile_learning_rate: float = 1e-3,
        betas: Sequence[float] = (0.0, 0.99),
        weight_decay: float = 1e-4,
    ):
        super().__init__(codec, codec_config)
        self.automatic_optimization = False
        weights = Weights(lambda_t, lambda_a, autoencoding_rate, beta, style, cycle, r1)
        _require(codec, mode_schedule, accumulate, autoencode_probability, ema_decay)
        assert isinstance(codec, I2ICodec)
        self.codec: I2ICodec = codec
        self.weights = weights
        self.diversity, self.diversity_iterations = diversity, diversity_iterations
        self.unified = len(codec.operating_points) > 1
        self.warm_up = warm_up if self.unified else 0
        self.mode_schedule, self.autoencode_probability = mode_schedule, autoencode_probability
        self.accumulate, self.ema_decay = accumulate, ema_decay
        self.rates = {"network": learning_rate, "mapping": mapping_learning_rate, QUANTILES: quantile_learning_rate}
        self.adam: dict[str, Any] = {"betas": tuple(betas), "weight_decay": weight_decay, "fused": True}
        modes = ("translate", "autoencode") if self.unified and beta else ("translate",)
        self.discriminators = nn.ModuleDict({mode: _discriminator(codec) for mode in modes})
        self.network: I2ICodec | None = None

    def configure_model(self) -> None:
        """Part what is trained from its average; until here, `codec` may have been given other weights."""
        if self.network is None:
            self.network = copy.deepcopy(self.codec).requires_grad_(True)
            self.codec.requires_grad_(False)

    def on_fit_start(self) -> None:
        """Refuse data and precisions that cannot work."""
        images = getattr(getattr(self.trainer, "datamodule", None), "train_images", None)
        if not isinstance(images, DomainFolders):
            raise UserError("Translation trains on images of several domains: give data=celeba_hq, afhq or domains.")
        if images.domains != list(self.codec.domains):
            raise UserError(
                f"The data has the domains {', '.join(images.domains)}, the codec {', '.join(self.codec.domains)}: "
                f"give codec.domains=[{','.join(images.domains)}]."
            )
        if (size := self.trainer.datamodule.crop) != self.codec.size:  # pyright: ignore[reportAttributeAccessIssue]
            raise UserError(f"data.size is {size} and codec.size {self.codec.size}: give both the same.")
        if str(self.trainer.precision) not in PRECISIONS:
            raise UserError(
                f"trainer.precision is {self.trainer.precision}; translation trains in {' or '.join(PRECISIONS)}."
            )
        batch = self.trainer.datamodule.batch_size * self.trainer.world_size  # pyright: ignore[reportAttributeAccessIssue]
        if batch < STABLE_BATCH and self.global_rank == 0:
            print(
                f"Batches of {batch} images: StarGAN v2's training is unstable below {STABLE_BATCH}; raise "
                "data.batch_size, with task.accumulate where memory is short.",
                file=sys.stderr,
            )

    def training_step(self, batch: Translation, batch_idx: int) -> None:
        """One iteration."""
        assert self.network is not None
        iteration = self.global_step
        parts = portions(batch, self.network.latent_dim, self.accumulate)
        generator, discriminator, quantiles = self.optimizers()  # pyright: ignore[reportGeneralTypeIssues]
        diversity = self.diversity_weight(iteration)
        logged: dict[str, Tensor] = {}
        for step in self.steps(iteration, diversity):
            optimizer = discriminator if step.trains_discriminator else generator
            logged |= take(step, parts, optimizer.optimizer, self._trainable())  # past Lightning, which would count it
        auxiliary = self.network.auxiliary_loss()
        quantiles.zero_grad()
        auxiliary.backward()
        quantiles.step()
        with torch.no_grad():
            self._average(list(self.codec.parameters()), list(self.network.parameters()), 0)
        self._log_terms(logged | {"train/auxiliary": auxiliary.detach()}, diversity, len(batch.source))

    @property
    def _average(self) -> Any:
        return get_ema_multi_avg_fn(self.ema_decay)

    def _trainable(self) -> list[nn.Parameter]:
        networks: list[nn.Module] = [self.network, self.discriminators]  # pyright: ignore[reportAssignmentType]
        return [p for network in networks for name, p in network.named_parameters() if not name.endswith(QUANTILES)]

    def steps(self, iteration: int, diversity: float) -> list[Step]:
        """What is done in an iteration, in order; it follows from the iteration's number alone."""
        assert self.network is not None
        made = TranslationSteps(self.network, self.discriminators, self.weights)
        if iteration < self.warm_up:
            return [made.autoencode(warm_up=True)]
        translate, autoencode = self.modes(iteration)
        steps = [made.discriminate(source) for source in ("latent", "reference") if translate]
        if autoencode and self.weights.beta > 0:
            steps.append(made.discriminate("autoencode"))
        if translate:
            steps.append(made.translate("latent", diversity))
        if autoencode:
            steps.append(made.autoencode())
        return [*steps, made.translate("reference", diversity)] if translate else steps

    def modes(self, iteration: int) -> tuple[bool, bool]:
        """Whether an iteration trains translation, and autoencoding."""
        if not self.unified:
            return True, False
        if self.mode_schedule == "alternate":
            return iteration % 2 == 0, iteration % 2 == 1
        if self.mode_schedule == "random":
            autoencode = random.Random(iteration).random() < self.autoencode_probability  # the same on all ranks
            return not autoencode, autoencode
        return self.mode_schedule == "both", True

    def diversity_weight(self, iteration: int) -> float:
        """Weight of the diversity loss in an iteration."""
        return fading(self.diversity, max(iteration - self.warm_up, 0), self.diversity_iterations)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Estimated rate of rounded latents in both modes, where any are, and PSNR of autoencoding, of the average."""
        x, _ = batch
        values = {}
        for point in self.codec.operating_points:
            output = self.codec(x, point, **self.codec.receiver_example(point))
            if self.codec.makes_files:
                values[f"val/{self.validation_name}/bpp_estimated@{point.label}"] = rate(output.likelihoods, x)
            if self.codec.reconstructs(point):
                values[f"val/{self.validation_name}/psnr@{point.label}"] = psnr(x, output.x_hat.float()).mean()
        self.log_dict(values, batch_size=len(x), sync_dist=True)

    def _log_terms(self, logged: dict[str, Tensor], diversity: float, size: int) -> None:
        self.latest = self.latest | logged
        if self.logs_after(0):
            rate = self.trainer.optimizers[0].param_groups[0]["lr"]
            own = {"train/lambda_ds": diversity, "train/learning_rate": rate}
            self.log_dict({**self.latest, **own}, batch_size=size)

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Adams of the generator's side (mapping network in a group of its own), the discriminators, the quantiles."""
        assert self.network is not None
        groups: dict[str, list[nn.Parameter]] = {"network": [], "mapping": [], QUANTILES: []}
        for name, parameter in self.network.named_parameters():
            kind = QUANTILES if name.endswith(QUANTILES) else "mapping" if name.startswith("mapping.") else "network"
            groups[kind].append(parameter)
        described = {n: {"params": ps, "lr": self.rates[n], "name": n} for n, ps in groups.items()}
        return [
            torch.optim.Adam([described["network"], described["mapping"]], **self.adam),
            torch.optim.Adam(self.discriminators.parameters(), self.rates["network"], **self.adam),
            torch.optim.Adam([described[QUANTILES]], fused=True),
        ]


def _require(codec: LearnedCodec, schedule: str, accumulate: int, probability: float, decay: float) -> None:
    if not isinstance(codec, I2ICodec):
        raise UserError(f"Codec {codec.name} does not translate: give codec=i2icodec or ui2icodec, or another task.")
    if codec.size % codec.downsampling:
        raise UserError(
            f"codec.size is {codec.size}, no multiple of {codec.downsampling}: lower codec.halvings to train so small."
        )
    if schedule not in SCHEDULES:
        raise UserError(f"task.mode_schedule is {schedule!r}; it can be {', '.join(SCHEDULES)}.")
    if accumulate < 1:
        raise UserError(f"task.accumulate is {accumulate}; it is the number of parts of a batch, 1 or more.")
    if not (0 <= probability <= 1 and 0 <= decay < 1):
        raise UserError("task.autoencode_probability lies in [0, 1], and task.ema_decay in [0, 1).")


def _discriminator(codec: I2ICodec) -> Discriminator:
    discriminator = Discriminator(codec.size, codec.base, codec.widest, len(codec.domains))
    initialise(discriminator)
    return discriminator

"""What the framework adds to a training step, and whether the data keeps up."""

from __future__ import annotations

import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn
from torch.nn.utils import parametrize

from nic_lightning.benchmarks.plain_translation_loop import plain_iterations
from nic_lightning.callbacks.standard import standard_callbacks
from nic_lightning.codecs.learned import LearnedCodec
from nic_lightning.config import ConfigError, check_targets, compose
from nic_lightning.errors import UserError, counted
from nic_lightning.losses.rate_distortion import rate_distortion
from nic_lightning.runs.loggers.loggers import RecordLogger
from nic_lightning.runs.record.record import RunRecord


def plain_steps(codec: LearnedCodec, batches: Iterator[Tensor], config: DictConfig, device: torch.device) -> Iterator:
    """A training loop as short as it can be: yields after each step."""
    codec.to(device=device, memory_format=codec.memory_format)  # pyright: ignore[reportCallIssue]
    network = [p for n, p in codec.named_parameters() if not n.endswith("quantiles")]
    quantiles = [p for n, p in codec.named_parameters() if n.endswith("quantiles")]
    groups = [{"params": network, "lr": 1e-4}, {"params": quantiles, "lr": 1e-3}]
    optimizer = torch.optim.Adam(groups, fused=True)
    half = torch.autocast(device.type, torch.bfloat16, enabled=str(config.trainer.precision).startswith("bf16"))
    for x in batches:
        x = x.to(device, non_blocking=True).contiguous(memory_format=codec.memory_format)
        optimizer.zero_grad()
        with half, parametrize.cached():
            losses = [rate_distortion(codec(x, p), x, p.lmbda or 0.0).loss for p in codec.operating_points]
            loss = torch.stack(losses).sum() + codec.auxiliary_loss()
        loss.backward()
        if config.trainer.gradient_clip_val:
            nn.utils.clip_grad_norm_(network, config.trainer.gradient_clip_val)
        optimizer.step()
        yield


class Alternate(pl.Callback):
    """After every block of framework steps, as many of the plain loop; `framework` and `plain` hold seconds a step."""

    def __init__(self, steps: Iterator, block: int) -> None:
        self.steps, self.block, self.count = steps, block, 0
        self.framework: list[float] = []
        self.plain: list[float] = []
        self._since = 0.0

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        """Take the time since the last plain step, then the plain steps' own."""
        self.count += 1
        if self.count % self.block:
            return
        middle = _clock(pl_module.device)
        for _step in range(self.block):
            next(self.steps)
        end = _clock(pl_module.device)
        if self.count > self.block:  # the first block warms both up
            self.framework.append((middle - self._since) / self.block)
            self.plain.append((end - middle) / self.block)
        self._since = end


def measure(config: DictConfig, block: int, rounds: int) -> tuple[Alternate, float]:
    """Both kinds of steps in turns, and the seconds that the loader takes for a batch alone."""
    if config.codec is None:  # a task that trains something else
        _require_learned(None)
    options: Any = OmegaConf.to_container(config.trainer, resolve=True)
    codec_config: Any = OmegaConf.to_container(config.codec, resolve=True)
    device = torch.device("cuda" if str(config.trainer.accelerator) in ("gpu", "cuda") else "cpu")
    with tempfile.TemporaryDirectory() as name:
        record = RunRecord(Path(name))
        record.start({}, [])
        pl.seed_everything(config.seed, workers=True, verbose=False)
        codecs = [instantiate(config.codec, _convert_="all") for _ in range(2)]
        _require_learned(codecs[0])
        task = instantiate(config.task, _partial_=True, _convert_="all")(codec=codecs[0], codec_config=codec_config)
        data, twin = (instantiate(config.data, _convert_="all") for _ in range(2))
        loop = plain_iterations if str(config.task._target_).endswith("TranslationTask") else plain_steps
        alternate = Alternate(loop(codecs[1], _endless(twin), config, device), block)
        trainer = pl.Trainer(
            **{**options, "max_steps": block * (rounds + 1), "limit_val_batches": 0},
            default_root_dir=name,
            logger=RecordLogger(record),
            callbacks=[*standard_callbacks(config, record), alternate],
            enable_progress_bar=False,
            enable_checkpointing=False,
        )
        trainer.fit(task, datamodule=data)
        batches = _endless(twin)
        next(batches)
        start = time.perf_counter()
        for _ in range(block * 2):
            next(batches)
        return alternate, (time.perf_counter() - start) / (block * 2)


def main(overrides: list[str], *, block: int, rounds: int) -> None:
    """Print the ratio of a step in the framework to one of a plain loop, both in turns, and the loader's pace."""
    config = compose("train", overrides)
    if problems := check_targets(config):
        raise ConfigError(" ".join(problems))
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", category=FutureWarning, module="torch|pytorch_lightning")
    warnings.filterwarnings("ignore", ".*(treespec|training batches|many workers|val_dataloader).*")
    alternate, loading = measure(config, block, rounds)
    step, plain = statistics.median(alternate.framework), statistics.median(alternate.plain)
    ratios = [a / b for a, b in zip(alternate.framework, alternate.plain, strict=True)]
    print(f"{counted(torch.get_num_threads(), 'thread')}, torch {torch.__version__}, medians of {rounds} rounds")
    print(f"training step: nic-train {1e3 * step:.1f} ms, bare loop {1e3 * plain:.1f} ms, ", end="")
    print(f"ratio {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})")
    size = config.data.batch_size
    print(f"loader: {size / loading:.0f} samples/s, needed {size / step:.0f}: {loading / step:.1%} of a step")


def _require_learned(codec: Any) -> None:
    if not isinstance(codec, LearnedCodec):
        raise UserError("Only the training of a learned codec is timed: choose one, such as codec=modulated.")


def _endless(data: Any) -> Iterator[Any]:
    data.prepare_data()
    data.setup("fit")
    loader = data.train_dataloader()
    epoch = 0
    while True:
        loader.sampler.set_epoch(epoch)
        yield from loader
        epoch += 1


def _clock(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()

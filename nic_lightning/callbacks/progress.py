"""One line of progress: step, rate, PSNR and time left."""

from __future__ import annotations

import math
import sys
import time
from typing import Any

import pytorch_lightning as pl
from tqdm import tqdm

from nic_lightning.media.base import all_media
from nic_lightning.runs.record.text import duration

LONG = 3 * 3600.0
"""Seconds; what takes longer on a CPU is said at once."""
FIRST_STEPS = (1, 4)
"""Steps between which a run's pace is measured first."""


class Progress(pl.Callback):
    """A bar over all steps of the run on a terminal; a line every `seconds`, and at the end, in a log file."""

    def __init__(self, seconds: float = 20.0) -> None:
        self.seconds = seconds
        self._bar: Any = None
        self._warmed_up: float | None = None
        self._first = (0, 0.0)
        self._printed = 0.0
        self._shown = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open the bar on the rank that writes, and say where a continued run goes on."""
        self._first = (trainer.global_step, time.monotonic())
        self._printed = time.monotonic()
        if trainer.is_global_zero and trainer.global_step:
            print(
                f"Going on after step {trainer.global_step} of {_steps(trainer) or '?'}.", file=sys.stderr, flush=True
            )
        if trainer.is_global_zero and sys.stderr.isatty():
            self._bar = tqdm(total=_steps(trainer), initial=trainer.global_step, unit="step", dynamic_ncols=True)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Advance; values are read (which waits for a GPU) only when they are shown."""
        now = time.monotonic()
        if trainer.is_global_zero:
            self._foretell(trainer, now)
        if self._bar is not None:
            self._bar.update(trainer.global_step - self._bar.n)
        if not trainer.is_global_zero or now - self._printed < (1.0 if self._bar is not None else self.seconds):
            return
        self._printed = now
        if self._bar is not None:
            self._bar.set_postfix_str(summary(getattr(pl_module, "latest", {})), refresh=False)
            return
        self._line(trainer, pl_module, now)

    def _foretell(self, trainer: pl.Trainer, now: float) -> None:
        """After the first steps, say how long a run of hours will take; the very first takes longer than others."""
        made, total = trainer.global_step - self._first[0], _steps(trainer)
        if made == FIRST_STEPS[0] and self._warmed_up is None:
            self._warmed_up = now
        if made != FIRST_STEPS[1] or self._warmed_up is None or not total:
            return
        left = (total - trainer.global_step) * (now - self._warmed_up) / (FIRST_STEPS[1] - FIRST_STEPS[0])
        self._warmed_up = None
        if left > LONG and _on_cpu(trainer):
            print(
                f"The {total:,} steps of this run will take about {duration(left)} on this processor. Shorter: fewer "
                "by trainer.max_steps, a narrower codec by codec.width, smaller crops by data.crop; or trainer=gpu. "
                "It can be stopped at any time, and the same command goes on.",
                file=sys.stderr,
                flush=True,
            )

    def _line(self, trainer: pl.Trainer, pl_module: pl.LightningModule, now: float) -> None:
        shown = summary(getattr(pl_module, "latest", {}))
        done, total = trainer.global_step, _steps(trainer)
        self._shown = done
        pace = (done - self._first[0]) / max(now - self._first[1], 1e-9)
        left = f"{duration((total - done) / pace)} left" if total and pace else "time left unknown"
        print(f"step {done}/{total or '?'}  {shown}  {pace:.1f} steps/s  {left}", file=sys.stderr, flush=True)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Close the bar, or print the last line."""
        if self._bar is None and trainer.is_global_zero and trainer.global_step > max(self._first[0], self._shown):
            self._line(trainer, pl_module, time.monotonic())
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _on_cpu(trainer: pl.Trainer) -> bool:
    return trainer.strategy.root_device.type == "cpu"


def _steps(trainer: pl.Trainer) -> int | None:
    total = trainer.estimated_stepping_batches
    return int(total) if math.isfinite(total) else None


def summary(latest: dict[str, Any]) -> str:
    """Rate and PSNR of the last batch, from the lowest operating point to the highest; adversarial losses; matches."""
    errors = [float(v) for k, v in latest.items() if k.startswith("train/mse@")]
    parts = []
    for rate in dict.fromkeys(medium.rate for medium in all_media()):
        if values := [float(v) for k, v in latest.items() if k.startswith(f"train/{rate.key}@")]:
            parts.append(f"{rate.unit} {_span(values, '.3f')}")
    if errors:
        parts.append(f"PSNR {_span([-10 * math.log10(max(e, 1e-10)) for e in errors], '.2f')} dB")
    for name, letter in (("train/discriminator@latent", "D"), ("train/generator@latent", "G")):
        if name in latest:
            parts.append(f"{letter} {float(latest[name]):.2f}")
    if "train/wins" in latest:
        parts.append(f"loss {float(latest['train/loss']):.3f}  matches found {100 * float(latest['train/wins']):.1f} %")
    return "  ".join(parts)


def _span(values: list[float], form: str) -> str:
    ends = [format(values[0], form), format(values[-1], form)]
    return ends[0] if len(values) == 1 else "..".join(ends)

"""Time that a translation codec takes to encode and decode, memory that its training takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from nic_lightning.analysis.latency import photograph
from nic_lightning.benchmarks.translation_times import scaled_to, table, times
from nic_lightning.codecs.loading import load_codec
from nic_lightning.codecs.translation import I2ICodec, as_translation
from nic_lightning.config import ConfigError, check_targets, compose
from nic_lightning.errors import counted


def main(
    overrides: list[str],
    *,
    run: Path | None,
    size: int | None,
    bpp: float,
    rounds: int,
    threads: int,
    memory: bool,
) -> None:
    """Print a table of times, or with --memory one of memory."""
    torch.set_num_threads(threads)
    if memory:
        from nic_lightning.benchmarks.translation_memory import report

        print(report(_config(overrides)))
        return
    codec = _codec(overrides, run)
    side = size or codec.size
    x = photograph((side, side))
    what = f"run {run}" if run else f"untrained, content scaled to {scaled_to(codec, x, bpp):.2f} bpp"
    used = counted(threads, "thread")
    print(f"{codec.name}, {what}, one image of {side}x{side}, {used}, torch {torch.__version__}")
    print(f"core-milliseconds, medians of {rounds} rounds in which all take turns")
    print(table(times(codec, x, rounds)))


def _codec(overrides: list[str], run: Path | None) -> I2ICodec:
    if run is not None:
        codec = load_codec(run)
    else:
        from hydra.utils import instantiate

        torch.manual_seed(0)
        codec = instantiate(_config(overrides).codec, _convert_="all")
        codec.update_tables()
    problem = f"Codec {codec.name} does not translate: give codec=i2icodec or codec=ui2icodec."
    codec = as_translation(codec, problem)
    codec.require_files()
    return codec.eval().requires_grad_(False)


def _config(overrides: list[str]) -> Any:
    config = compose("train", overrides)
    if problems := check_targets(config, missing_ok=True):
        raise ConfigError(" ".join(problems))
    return config

"""`nic bench translation`: time that a translation codec takes to encode and decode, memory that its training takes."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import torch

from nic_lightning.analysis.bench_arguments import FULL, parse
from nic_lightning.analysis.latency import photograph
from nic_lightning.analysis.translation_times import scaled_to, table, times
from nic_lightning.codecs.loading import load_codec
from nic_lightning.codecs.translation import I2ICodec
from nic_lightning.config import ConfigError, check_targets, compose
from nic_lightning.errors import UserError, counted


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table of times, or with --memory one of memory."""
    args = parse("translation", arguments)
    if args.bpp <= 0:
        raise UserError(f"--bpp is above 0, not {args.bpp:g}.")
    if args.run is not None and (args.overrides or args.memory):
        raise UserError("--run names a trained codec to time: leave overrides and --memory out.")
    torch.set_num_threads(args.threads)
    if args.memory:
        from nic_lightning.commands.training_memory import report

        print(report(_config(args.overrides or FULL)))
        return 0
    codec = _codec(args)
    size = args.size or codec.size
    x = photograph((size, size))
    what = f"run {args.run}" if args.run else f"untrained, content scaled to {scaled_to(codec, x, args.bpp):.2f} bpp"
    threads = counted(args.threads, "thread")
    print(f"{codec.name}, {what}, one image of {size}x{size}, {threads}, torch {torch.__version__}")
    print(f"core-milliseconds, medians of {args.rounds} rounds in which all take turns")
    print(table(times(codec, x, args.rounds)))
    return 0


def _codec(args: argparse.Namespace) -> I2ICodec:
    if args.run is not None:
        codec = load_codec(args.run)
    else:
        from hydra.utils import instantiate

        torch.manual_seed(0)
        codec = instantiate(_config(args.overrides or FULL).codec, _convert_="all")
        codec.update_tables()
    if not isinstance(codec, I2ICodec):
        raise UserError(f"Codec {codec.name} does not translate: give codec=i2icodec or codec=ui2icodec.")
    codec.require_files()
    return codec.eval().requires_grad_(False)


def _config(overrides: list[str]) -> Any:
    config = compose("train", overrides)
    if problems := check_targets(config, missing_ok=True):
        raise ConfigError(" ".join(problems))
    return config

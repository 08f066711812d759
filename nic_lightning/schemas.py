"""Types of the top level of every config. Groups are typed by the signatures of their targets (`check_targets`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

STRINGS, STRINGS_OR_NULL = {"strings": True, "none": False}, {"strings": True, "none": True}
"""Metadata of fields that take a list of strings, or one string for a list of it: OmegaConf would refuse the latter."""


@dataclass
class CheckpointConfig:
    """How often training saves its whole state."""

    every_n_steps: int | None = 1000
    every_n_minutes: float | None = None


@dataclass
class GuardConfig:
    """What happens when training diverges."""

    restarts: int = 0
    lower: float = 0.5


@dataclass
class EvaluationConfig:
    """What is measured with real files after training, and by `nic-evaluate`."""

    datasets: Any = field(default_factory=lambda: ["embedded"], metadata=STRINGS)
    baselines: Any = field(default_factory=list, metadata=STRINGS)
    points: Any = field(default=None, metadata=STRINGS_OR_NULL)
    save_images: int = 2
    lpips: Any = False
    fid: Any = field(default_factory=list, metadata=STRINGS)
    side: int | None = None
    limit: int | None = None
    workers: int | None = None


@dataclass
class TranslationConfig:
    """How `nic-evaluate` measures translations (`metrics/translation.py`); it does where `validation` is named."""

    train: str | None = None
    validation: str | None = None
    extractors: Any = field(default_factory=lambda: ["stargan"], metadata=STRINGS)
    through: Any = field(default_factory=list, metadata=STRINGS)
    outputs: int = 10
    batch_size: int = 32
    limit: int | None = None
    seed: int = 0
    sources: int = 4


@dataclass
class LaunchConfig:
    """How the jobs of a multirun share a machine (`runs/machine/slots.py`)."""

    slots: int | None = None


@dataclass
class TrainConfig:
    """Top level of conf/train.yaml. Groups are typed by the signatures of their targets (`check_targets`)."""

    codec: Any = "???"
    task: Any = "???"
    data: Any = "???"
    trainer: Any = "???"
    logger: Any = None
    callbacks: Any = None
    name: str = "???"
    run_dir: str = "???"
    seed: int = 0
    deterministic: bool = False
    tags: Any = field(default_factory=list, metadata=STRINGS)
    fresh: bool = False
    ckpt_path: str | None = None
    init_from: str | None = None
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    guard: GuardConfig = field(default_factory=GuardConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    launch: LaunchConfig = field(default_factory=LaunchConfig)


@dataclass
class EvaluateConfig:
    """Top level of conf/evaluate.yaml."""

    codec: Any = None
    flow: Any = None
    run: str | None = None
    name: str | None = None
    run_dir: str | None = None
    device: str = "cpu"
    root: str | None = None
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    translation: TranslationConfig = field(default_factory=TranslationConfig)


@dataclass
class MatchingConfig:
    """Block matching of `nic-analyze` (`analysis/latent_motion/block_matching.py`), in samples of frame and tensor."""

    block: int = 31
    radius: int = 11
    latent_block: int = 3
    latent_radius: int = 5


@dataclass
class PairsConfig:
    """Frames with true motion, for the studies "fields" and "codec_motion"."""

    dataset: str | None = None
    limit: int | None = None
    shifts: int = 33
    points: Any = field(default=None, metadata=STRINGS_OR_NULL)


@dataclass
class AnalyzeConfig:
    """Top level of conf/analyze.yaml."""

    network: Any = "???"
    logger: Any = None
    study: Any = field(default_factory=lambda: ["curves", "histogram", "panels", "fields"], metadata=STRINGS)
    name: str = "???"
    run_dir: str = "???"
    seed: int = 0
    tags: Any = field(default_factory=list, metadata=STRINGS)
    device: str = "cpu"
    root: str | None = None
    images: str = "embedded"
    limit: int | None = None
    size: int = 224
    mask: str = "paper"
    batch: int = 16
    samples: dict[str, int] = field(default_factory=dict)
    limits: dict[str, Any] = field(default_factory=dict)
    draws: int = 2048
    layer: str | None = None
    matching: MatchingConfig = field(default_factory=MatchingConfig)
    pairs: PairsConfig = field(default_factory=PairsConfig)

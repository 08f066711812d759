"""`nic-train`: compose, seed, build, fit, measure, record. Heavy imports wait until a config has passed its checks."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nic_lightning.config import run_hydra
from nic_lightning.errors import RunError, UserError

if TYPE_CHECKING:
    import pytorch_lightning as pl
    from omegaconf import DictConfig

    from nic_lightning.codecs.learned import LearnedCodec


def main() -> None:
    """Entry point of the console script."""
    run_hydra(train, "train")


def train(config: DictConfig) -> None:
    """One run in its own folder; a job of a multirun goes to a process of its own."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode
    from omegaconf import OmegaConf

    from nic_lightning.runs.folder import claim
    from nic_lightning.runs.isolation import run_job
    from nic_lightning.runs.record import RunRecord

    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir).resolve()
    if hydra.mode == RunMode.MULTIRUN:
        run_job(folder, list(hydra.overrides.task), hydra.runtime.cwd)
        return
    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # pyright: ignore[reportAssignmentType]
    main_process = os.environ.get("LOCAL_RANK", "0") == "0"
    if main_process and claim(folder, plain, config.fresh) == "finished":
        print(f"{folder} is finished already; give name=NAME for a new run, or fresh=true to start over.")
        return
    record = RunRecord(folder)
    if main_process:
        record.start(plain, list(hydra.overrides.task))
    try:
        fit_and_measure(config, plain, folder, record)
    except BaseException as error:
        if main_process:
            record.finish("failed", f"{type(error).__name__}: {error}")
        raise
    if main_process:
        record.finish("finished")


def fit_and_measure(config: DictConfig, plain: dict[str, Any], folder: Path, record: Any) -> None:
    """Train to the end, then evaluate with real files from the saved checkpoint."""
    import pytorch_lightning as pl
    from hydra.utils import instantiate

    from nic_lightning.runs.loggers import RecordLogger
    from nic_lightning.runs.wandb import wandb_logger

    pl.seed_everything(config.seed, workers=True, verbose=False)
    codec = instantiate(config.codec, _convert_="all")
    task = instantiate(config.task, codec=codec, codec_config=plain["codec"], _convert_="all")
    data = instantiate(config.data, _convert_="all")
    last = folder / "checkpoints" / "last.ckpt"
    resume = config.ckpt_path or (str(last) if last.exists() else None)
    if resume is None:
        start_from(codec, config.init_from)
    wandb = wandb_logger(folder, tags=list(config.tags), config=plain, **(plain["logger"] or {"mode": "disabled"}))
    trainer = pl.Trainer(
        **plain["trainer"],
        default_root_dir=str(folder),
        logger=[RecordLogger(record), *([wandb] if wandb else [])],
        callbacks=callbacks(config, folder),
        enable_progress_bar=False,
    )
    trainer.fit(task, datamodule=data, ckpt_path=resume)
    if trainer.interrupted:
        raise RunError("Interrupted; the same command continues the run.")
    trainer.save_checkpoint(last)
    if trainer.is_global_zero:
        measure(config, folder, wandb)


def start_from(codec: LearnedCodec, source: str | None) -> None:
    """Begin with the codec weights of another run (`init_from`)."""
    from nic_lightning.codecs.loading import find_checkpoint, read_checkpoint

    adopt = getattr(codec, "adopt", None)
    if source is None:
        if adopt:
            raise UserError(f"codec {codec.name} starts from a trained autoencoder; give init_from=RUN.")
        return
    state = read_checkpoint(find_checkpoint(source)).get("state_dict", {})
    state = {k.removeprefix("codec."): v for k, v in state.items() if k.startswith("codec.")}
    try:
        (adopt or codec.load_state_dict)(state)
    except RuntimeError as error:
        raise UserError(f"init_from={source} does not fit this codec: {str(error).splitlines()[1].strip()}") from error


def callbacks(config: DictConfig, folder: Path) -> list[pl.Callback]:
    """What every run has around its training."""
    from nic_lightning.callbacks.checkpoint import checkpoints
    from nic_lightning.callbacks.progress import Progress
    from nic_lightning.callbacks.random_state import RandomState

    cadence = config.checkpoint
    return [
        RandomState(),
        Progress(),
        *checkpoints(folder / "checkpoints", cadence.every_n_steps, cadence.every_n_minutes),
    ]


def measure(config: DictConfig, folder: Path, wandb: Any) -> None:
    """Real files of every evaluation set at every operating point, into the results table, the terminal and W&B."""
    from hydra.utils import instantiate

    from nic_lightning.callbacks.evaluation import evaluate_into_run
    from nic_lightning.codecs.loading import load_codec
    from nic_lightning.config import compose
    from nic_lightning.report.curves import curves
    from nic_lightning.report.figures import rd_figure
    from nic_lightning.report.text import rd_table
    from nic_lightning.runs.wandb import log_results_to_wandb

    wanted = config.evaluation
    if not wanted.datasets:
        return
    classics = [instantiate(compose("train", [f"codec={name}"]).codec, _convert_="all") for name in wanted.baselines]
    rows = evaluate_into_run(
        load_codec(folder),
        folder,
        run=folder.name,
        experiment=config.name,
        datasets=list(wanted.datasets),
        root=config.data.get("root"),
        baselines=classics,
        points=list(wanted.points) if wanted.points else None,
        save_images=wanted.save_images,
        lpips_path=wanted.lpips,
        limit=wanted.limit,
    )
    print(rd_table(rows))
    figures = {"rate-distortion/psnr": folder / "figures" / "rd_psnr.png"}
    rd_figure(curves(rows), "psnr", figures["rate-distortion/psnr"])
    if wandb:
        log_results_to_wandb(wandb, rows, figures, sorted((folder / "figures" / "reconstructions").rglob("*.png")))


if __name__ == "__main__":
    main()

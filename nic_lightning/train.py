"""`nic-train`: compose, seed, build, fit, measure, record. Heavy imports wait until a config has passed its checks."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nic_lightning.config import run_hydra
from nic_lightning.machine import shows_gpu
from nic_lightning.runs.machine.process import main_process
from nic_lightning.runs.machine.threads import spin_briefly

if TYPE_CHECKING:
    from omegaconf import DictConfig


SMALL = "experiment=small"
_CHOOSES = re.compile(
    r"\+{0,2}(codec|experiment|task|trainer|ckpt_path|init_from)\b|--?(config-name|cn|h|help|hydra-help|sc)\b"
)
"""Arguments that say what to train, or that nothing is to be trained."""


def main() -> None:
    """Entry point of the console script."""
    if not shows_gpu() and not any(map(_CHOOSES.match, sys.argv[1:])):
        # The full size takes months on a CPU.
        looks = any(argument.startswith(("--cfg", "-c", "--info", "-i")) for argument in sys.argv[1:])
        sys.argv.append(SMALL)
        if main_process() and not looks:
            sentence = "There is no GPU here, so this is {}, some minutes of training; experiment=mae is the full size."
            print(sentence.format(SMALL), file=sys.stderr)
    spin_briefly()
    run_hydra(train, "train")


def train(config: DictConfig) -> None:
    """One run in its own folder; a job of a multirun goes to a process of its own."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode
    from omegaconf import OmegaConf

    from nic_lightning.runs.machine.threads import share_busy_machine
    from nic_lightning.runs.record.record import GO_ON, RunRecord, ending_in, ending_of
    from nic_lightning.runs.resume.locking import occupied
    from nic_lightning.runs.resume.resume import recorded_overrides
    from nic_lightning.runs.sweep.isolation import run_job

    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir).resolve()
    take_base(config)
    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # pyright: ignore[reportAssignmentType]
    if hydra.mode == RunMode.MULTIRUN:
        run_job(folder, plain, hydra)
        return
    share_busy_machine()
    record = RunRecord(folder)
    if not main_process():
        fit_and_measure(config, plain, folder, record)
        return
    with occupied(folder, plain, config.fresh) as meaning:
        if meaning == "finished":
            print(
                f"{folder} is finished already{ending_of(folder)}; give name=NAME for a new run or fresh=true to start "
                "over; nic-evaluate run=FOLDER measures it anew."
            )
            return
        record.start(plain, recorded_overrides(folder, plain, hydra.overrides.task, str(hydra.job.config_name)))
        with ending_in(record, GO_ON):
            fit_and_measure(config, plain, folder, record)
        print(f"The run is in {folder}; nic report {os.path.relpath(folder)} makes a page of it.")


def take_base(config: DictConfig) -> None:
    """Put the config of the codec in `init_from` in the place of `codec.base`, where the codec wraps another one.

    What a run is, its record says; so this comes before the run has a folder.
    """
    if not (config.get("init_from") and config.get("codec") and "base" in config.codec):
        return
    from omegaconf import OmegaConf

    from nic_lightning.codecs.starting import base_of

    plain: dict[str, Any] = OmegaConf.to_container(config.codec, resolve=True)  # pyright: ignore[reportAssignmentType]
    base = base_of(plain, config.init_from)
    if base is not None:
        OmegaConf.update(config, "codec.base", base, merge=False, force_add=True)


def fit_and_measure(config: DictConfig, plain: dict[str, Any], folder: Path, record: Any) -> None:
    """Train to the end, then evaluate with real files from the saved checkpoint."""
    import pytorch_lightning as pl
    from hydra.utils import instantiate

    from nic_lightning.callbacks.training import fit, keep_end, trainer_of
    from nic_lightning.codecs.starting import start_from
    from nic_lightning.metrics.extractors import load_extractor
    from nic_lightning.runs.index.labels import point_facts
    from nic_lightning.runs.loggers.wandb import finish_wandb
    from nic_lightning.runs.settings.deterministic import say_cost
    from nic_lightning.runs.settings.precision import say_slow
    from nic_lightning.runs.settings.switches import repeats_first_epoch

    quieten()
    if main_process():
        say_cost(plain)
        say_slow(plain)
    for extractor in config.evaluation.fid:
        load_extractor(extractor)  # missing weights are found before training; it draws, so it comes before the seed
    pl.seed_everything(config.seed, workers=True, verbose=False)
    codec, task = build(config, plain)
    if codec is not None and main_process():
        labels = [point.label for point in codec.candidate_points]
        record.add_environment(point_facts(labels, codec.lambda_range is not None))
    data = instantiate(config.data, _convert_="all")
    data.repeat_epoch = repeats_first_epoch(config.trainer)
    data.prepare_data()
    data.setup("fit")  # what is missing is found before W&B and the trainer start
    resume = config.ckpt_path or checkpoint_to_continue(folder)
    if resume is None:
        if codec is not None:
            start_from(codec, config.init_from)
        elif config.init_from is not None:
            task.start_from(config.init_from)
        if main_process():
            record.cut_metrics(0)  # of an earlier start that was killed before it saved anything
    wandb, others = wandb_of(config, plain, folder), other_loggers(config, folder)
    trainer = trainer_of(config, plain, folder, record, [*others, *([wandb] if wandb else [])])
    fit(trainer, task, data, resume, config, folder)
    keep_end(trainer, record, folder)
    if codec is not None:
        measure(config, folder, wandb)
        draw_translations(config, folder, wandb)
    elif trainer.is_global_zero:
        task.finish(folder)
    if trainer.is_global_zero:
        finish_wandb(wandb)


def build(config: DictConfig, plain: dict[str, Any]) -> tuple[Any, Any]:
    """The codec, None where the task trains none, and the task."""
    from hydra.utils import instantiate

    from nic_lightning.callbacks.chosen import points_of
    from nic_lightning.codecs.loading import foreign_package, trust
    from nic_lightning.metrics.trial import try_files

    make_task = instantiate(config.task, _partial_=True, _convert_="all")  # Hydra would instantiate codec_config, too
    if config.codec is None:
        return None, make_task()
    codec = instantiate(config.codec, _convert_="all")
    trust(config.codec._target_)
    points_of(codec, config.evaluation.points)  # a wrong label is found before training
    if config.evaluation.datasets:
        codec.require_files()  # for the same reason
    task = make_task(codec=codec, codec_config=codec.config_to_keep(plain["codec"]))
    try_files(codec)  # what would else show at the first file after training
    if main_process() and (package := foreign_package(config.codec._target_)):
        print(
            f"{config.codec._target_} is of a package of your own: other commands use the run where the environment "
            f"variable NIC_CODEC_PACKAGES holds {package}.",
            file=sys.stderr,
        )
    return codec, task


def wandb_of(config: DictConfig, plain: dict[str, Any], folder: Path) -> Any:
    """The W&B logger, None where there is none; a job of a sweep is grouped by the sweep's name."""
    from hydra.utils import instantiate

    from nic_lightning.runs.loggers.chosen import wandb_settings

    settings = wandb_settings(config.logger)
    if settings is None:
        return None
    sweep = folder.parent.name if folder != Path(config.run_dir).resolve() else None
    return instantiate(settings, folder=folder, group=sweep, _partial_=True)(config=plain)


def other_loggers(config: DictConfig, folder: Path) -> list[Any]:
    """The loggers beside W&B; those that take a folder get the run's, which in a multirun is the job's own."""
    from hydra.utils import instantiate

    from nic_lightning.runs.loggers.chosen import by_name

    chosen = {name: one for name, one in by_name(config.logger).items() if name != "wandb"}
    return [instantiate(one, **({"folder": folder} if "folder" in one else {})) for one in chosen.values()]


def quieten() -> None:
    """Leave out what third parties say about themselves; warnings about the run stay."""
    import logging
    import warnings

    for name in ("pytorch_lightning", "pytorch_lightning.utilities.rank_zero", "pytorch_lightning.trainer"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", category=FutureWarning, module="torch|pytorch_lightning")
    about_data = ("The number of training batches", ".*does not have many workers", "Total length of `list`")
    for message in ("`isinstance.treespec", *about_data):
        warnings.filterwarnings("ignore", message)
    logging.raiseExceptions = False  # a log file on a full disk would bring a traceback with each line


def checkpoint_to_continue(folder: Path) -> str | None:
    """The newest intact checkpoint of the run folder, if it has one; damaged ones are named on stderr."""
    from nic_lightning.runs.resume.checkpoints import newest_intact

    path, damaged = newest_intact(folder)
    for sentence in damaged if main_process() else []:
        print(f"{sentence}; continuing from {path}.", file=sys.stderr)
    return str(path) if path else None


def measure(config: DictConfig, folder: Path, wandb: Any) -> None:
    """Real files of every evaluation set at every operating point, into the results table, the terminal and W&B.

    Every rank measures its share of the images; the first one prints the results.
    """
    from nic_lightning.callbacks.evaluation import evaluate_into_run, measurements
    from nic_lightning.callbacks.evaluation_progress import EvaluationProgress
    from nic_lightning.callbacks.ranks import Ranks
    from nic_lightning.codecs.loading import load_codec

    wanted = config.evaluation
    if not wanted.datasets:
        return
    with EvaluationProgress() as progress:
        rows = evaluate_into_run(
            load_codec(folder),
            folder,
            run=folder.name,
            experiment=config.name,
            datasets=list(wanted.datasets),
            root=config.data.get("root"),
            points=list(wanted.points) if wanted.points else None,
            **measurements(wanted),
            ranks=Ranks.of_this_process(),
            on_item=progress if main_process() else None,
        )
    if main_process():
        tell(rows, folder, wandb, with_distances=bool(wanted.fid))


def tell(rows: list[dict[str, Any]], folder: Path, wandb: Any, with_distances: bool) -> None:
    """Results as tables and plots: in the terminal, in the run folder, in W&B."""
    from nic_lightning.report.curves.bd_rows import bd_rows
    from nic_lightning.report.curves.curve import drawn_over
    from nic_lightning.report.curves.curves import curves
    from nic_lightning.report.curves.figures import rd_figure
    from nic_lightning.report.curves.text import rd_table
    from nic_lightning.report.page.distances import distance_table
    from nic_lightning.report.page.schedule import schedule_figure
    from nic_lightning.runs.loggers.wandb import log_results_to_wandb
    from nic_lightning.runs.record.distances import read_distances
    from nic_lightning.runs.record.record import read_metrics

    print(rd_table(rows))
    distances = read_distances(folder) if with_distances else []
    if distances:
        print(f"\n{distance_table(distances)}")
    made = curves(rows)
    plots = {m: rd_figure(made, m, folder / "figures" / f"rd_{m}.png") for m in drawn_over(made)}
    lines = read_metrics(folder) if (folder / "metrics.jsonl").exists() else []  # of a run too short to log any
    plots["lambda_schedule"] = schedule_figure(lines, folder / "figures" / "lambda_schedule.png")
    pictures = folder / "figures" / "reconstructions"
    log_results_to_wandb(
        wandb,
        rows,
        {name: path for name, path in plots.items() if path},
        {str(path.relative_to(pictures).with_suffix("")): path for path in sorted(pictures.rglob("*.png"))},
        {"bd_rate": bd_rows(made), "distances": distances},
    )


def draw_translations(config: DictConfig, folder: Path, wandb: Any) -> None:
    """Pictures of what a codec that translates does, into the run's figures and W&B."""
    images = config.data.get("validation") or config.data.get("train")
    if config.codec.get("domains") is None or not isinstance(images, str) or not main_process():
        return
    from nic_lightning.callbacks.translation_evaluation import draw_into_run
    from nic_lightning.codecs.loading import load_codec
    from nic_lightning.runs.loggers.wandb import log_results_to_wandb

    codec = load_codec(folder)
    if codec.translates:
        made = draw_into_run(codec, folder, config.name, images, config.data.get("root"))
        log_results_to_wandb(wandb, [], made, {})


if __name__ == "__main__":
    main()

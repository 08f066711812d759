"""`nic-analyze`: motion of frames in the feature tensors of a network, or of a trained codec."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nic_lightning.config import run_hydra, safe_name
from nic_lightning.errors import UserError, choices
from nic_lightning.machine import surely_no_gpu
from nic_lightning.runs.machine.threads import spin_briefly
from nic_lightning.zoo import no_source, source_of

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from nic_lightning.analysis.latent_motion.studies import Study

STUDIES = ("curves", "histogram", "panels", "fields", "codec_motion")
MASKS = ("paper", "strict", "interior")
PICTURES = "latent_motion"
"""Folder of the figures, in the run folder."""


def main() -> None:
    """Console script."""
    spin_briefly()
    run_hydra(analyze, "analyze")


def analyze(config: DictConfig) -> None:
    """Do the studies that `config` names (conf/analyze.yaml), and keep them in a run folder."""
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    from nic_lightning.runs.machine.threads import share_busy_machine
    from nic_lightning.runs.record.record import RunRecord, ending_in
    from nic_lightning.runs.resume.locking import occupied_for_analysis

    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # pyright: ignore[reportAssignmentType]
    check(plain)
    share_busy_machine()
    folder = run_folder(config)
    with occupied_for_analysis(folder, plain) as meaning:
        if meaning == "finished":
            print(f"{folder} is finished already; give name=NAME for another analysis.")
            return
        record = RunRecord(folder)
        record.start(plain, list(HydraConfig.get().overrides.task))
        with ending_in(record):
            _analyse(config, plain, folder)
    print(f"\nResults: {folder}; nic report {folder} makes a page of them.")


def check(plain: Mapping[str, Any]) -> None:
    """Raise UserError for settings that cannot work and data that is not there, before torch is imported."""
    from nic_lightning.data.catalog import locate
    from nic_lightning.data.flow_sets import flow_set
    from nic_lightning.runs.loggers.chosen import by_name

    studies = plain["study"]
    for name in studies:
        if name not in STUDIES:
            raise UserError(f"There is no study {name!r}; {choices(name, STUDIES)}.")
    if others := [name for name in by_name(plain["logger"]) if name != "wandb"]:
        raise UserError(f"An analysis has no metrics to log to {others[0]}: give logger=wandb or logger=none.")
    if not studies:
        raise UserError(f"study is empty: name one, {choices('', STUDIES)}.")
    if plain["mask"] not in MASKS:
        raise UserError(f"mask={plain['mask']} is no mask; {choices(plain['mask'], MASKS)}.")
    least = {"size": 8, "batch": 1, "draws": 1, "limit": 1, "pairs.limit": 1, "pairs.shifts": 0}
    for key, value in least.items():
        given = plain["pairs"][key[6:]] if key.startswith("pairs.") else plain[key]
        if given is not None and given < value:
            raise UserError(f"{key} has to be at least {value}, not {given}.")
    if str(plain["device"]).startswith("cuda") and surely_no_gpu():
        raise UserError(f"There is no GPU for device={plain['device']}; device=cpu does without.")
    run = (plain["network"] or {}).get("run")
    if run is not None and not source_of(run).exists():
        raise UserError(f"network.run={no_source(run)}")
    if "codec_motion" in studies and run is None:
        raise UserError("study=codec_motion is of a trained codec: give network=codec network.run=RUN.")
    if _needs_images(plain):
        locate(plain["images"], plain["root"])
    if "codec_motion" in studies or plain["pairs"]["dataset"] is not None:
        flow_set(plain["pairs"]["dataset"] or "sintel_final", plain["root"])


def _needs_images(plain: Mapping[str, Any]) -> bool:
    without = {"codec_motion", *(["fields"] if plain["pairs"]["dataset"] is not None else [])}
    return not set(plain["study"]) <= without


def run_folder(config: DictConfig) -> Path:
    """Of the run; of a job of a multirun, a folder in there that is named by its overrides."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    folder, hydra = Path(config.run_dir), HydraConfig.get()
    return folder / safe_name(hydra.job.override_dirname) if hydra.mode == RunMode.MULTIRUN else folder


def _analyse(config: DictConfig, plain: dict[str, Any], folder: Path) -> None:
    from hydra.utils import instantiate

    from nic_lightning.analysis.latent_motion.studies import Study
    from nic_lightning.layers.device import checked_device
    from nic_lightning.report.curves.latent_motion import figures, summary, summary_table
    from nic_lightning.runs.loggers.chosen import wandb_settings
    from nic_lightning.runs.loggers.wandb import finish_wandb, log_results_to_wandb
    from nic_lightning.runs.record.latent_motion import read_latent_motion, write_latent_motion

    device = checked_device(str(config.device))
    features = instantiate(config.network, _convert_="all").to(device)
    if _needs_images(plain) and (sentence := features.about_small_frames(config.size, config.size)):
        print(sentence, file=sys.stderr)
    study = Study(features, _settings(plain), plain["network"].get("run"), _say)
    study.layer()  # a wrong name before hours of work
    rows = [row for name in plain["study"] for row in study.rows(name)]
    write_latent_motion(folder, rows)
    table = read_latent_motion(folder)
    made = figures(table, folder / PICTURES) | _draw(study, folder / PICTURES)
    print(summary_table(table))
    wandb, logged = None, wandb_settings(config.logger)
    if logged is not None:
        wandb = instantiate(logged, folder=folder, _partial_=True)(config=plain)
    log_results_to_wandb(wandb, [], made, {}, {"latent_motion": summary(table)})
    finish_wandb(wandb)


def _settings(plain: Mapping[str, Any]) -> Any:
    from nic_lightning.analysis.latent_motion.pictures import Matching
    from nic_lightning.analysis.latent_motion.studies import Settings

    same = ("images", "root", "limit", "size", "mask", "batch", "seed", "samples", "limits", "draws", "layer")
    pairs = plain["pairs"]
    return Settings(
        **{key: plain[key] for key in same},
        matching=Matching(**plain["matching"]),
        pairs=pairs["dataset"],
        pair_limit=pairs["limit"],
        shifts=pairs["shifts"],
        points=pairs["points"],
    )


def _draw(study: Study, folder: Path) -> dict[str, Path]:
    from nic_lightning.report.curves.motion_pictures import field_figure, panel_figure

    made = {}
    for one in study.drawn:
        path = folder / f"{one.kind}.png"
        if one.kind == "fields":
            made[one.kind] = field_figure(one.fields, one.truth, path)
        else:
            made[one.kind] = panel_figure(one.panels, one.layer, path)
    return made


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()

"""`nic-evaluate`: measure a trained run, or a classic codec, with real files."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nic_lightning.config import run_hydra
from nic_lightning.errors import UserError
from nic_lightning.runs.machine.threads import spin_briefly
from nic_lightning.zoo import no_source, source_of

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from nic_lightning.codecs.base import ImageCodec


def main() -> None:
    """Console script."""
    spin_briefly()
    run_hydra(evaluate, "evaluate")


def evaluate(config: DictConfig) -> None:
    """Measure what `config` names (conf/evaluate.yaml) and print its R-D table."""
    from nic_lightning.runs.index.labels import require_labels
    from nic_lightning.runs.machine.threads import share_busy_machine
    from nic_lightning.runs.settings.preflight import check_counts, check_evaluation

    check_counts(config.evaluation)
    share_busy_machine()
    if config.flow is not None:
        _evaluate_flow(config)
        return
    if config.run is None and config.codec is None:
        raise UserError("Give what to evaluate: run=RUN for a trained codec, codec=jpeg or codec=webp.")
    if config.run is not None and config.codec is None and not source_of(config.run).exists():
        raise UserError(no_source(config.run))
    check_evaluation(plain_config(config))
    if config.run is not None:
        require_labels(Path(config.run), config.evaluation.points)

    from nic_lightning.callbacks.chosen import points_of
    from nic_lightning.codecs.learned import is_learned
    from nic_lightning.layers.device import checked_device

    checked_device(config.device)
    codec, folder, name = _trained(config) if config.run is not None else _classic(config)
    own = config.run is not None and folder.resolve() == _run_of(source_of(config.run))
    # What is refused here leaves the record of an earlier evaluation as it is, and makes no folder.
    points_of(codec, config.evaluation.points)
    datasets = _datasets(config, codec)
    if datasets and is_learned(codec):
        codec.require_files()
    with contextlib.nullcontext() if own else _recorded(config, folder, name):
        rows = _measure(config, codec, folder, name, datasets)
        translations = _translations(config, codec, folder, name)
    _tell(folder, rows, translations, with_distances=bool(config.evaluation.fid))


def _measure(
    config: DictConfig, codec: ImageCodec, folder: Path, name: str, datasets: list[str]
) -> list[dict[str, Any]]:
    """Rows of real files on every data set, written into the run folder."""
    from nic_lightning.callbacks.evaluation import evaluate_into_run, measurements
    from nic_lightning.callbacks.evaluation_progress import EvaluationProgress

    wanted = config.evaluation
    with EvaluationProgress() as progress:
        return evaluate_into_run(
            codec,
            folder,
            run=folder.resolve().name,
            experiment=name,
            datasets=datasets,
            root=config.root,
            points=None if wanted.points is None else list(wanted.points),
            **measurements(wanted),
            device=config.device,
            on_item=progress,
        )


def _tell(folder: Path, rows: list[dict[str, Any]], translations: list[dict[str, Any]], with_distances: bool) -> None:
    """Print what was measured as tables, and where it lies."""
    from nic_lightning.report.curves.text import rd_table
    from nic_lightning.report.page.distances import distance_table
    from nic_lightning.report.page.translations import translation_table
    from nic_lightning.runs.record.distances import read_distances
    from nic_lightning.runs.record.translation import TRANSLATION

    files = []
    if rows or not translations:
        print(rd_table(rows))
        files.append("results.parquet")
    if with_distances:
        print(f"\n{distance_table(read_distances(folder))}")
    if translations:
        print(translation_table(translations))
        files.append(TRANSLATION)
    print(f"\nResults: {' and '.join(str(folder / name) for name in files)}")


def _translations(config: DictConfig, codec: ImageCodec, folder: Path, name: str) -> list[dict[str, Any]]:
    """Measure a codec that translates, where domains are named."""
    if config.translation.validation is None and config.translation.train is None:
        return []
    from nic_lightning.callbacks.translation_evaluation import TranslationWishes, translate_into_run

    lpips = config.evaluation.lpips  # its diversity is measured wherever there are weights
    named = lpips if isinstance(lpips, str) else None
    wishes = TranslationWishes(**config.translation, root=config.root, lpips=named)
    return translate_into_run(codec, folder, name, wishes, device=config.device, progress=_say_task)


def _datasets(config: DictConfig, codec: ImageCodec) -> list[str]:
    """What to write files of: nothing, where the codec makes none and its translations are measured instead."""
    if getattr(codec, "makes_files", True) or config.translation.validation is None:
        return list(config.evaluation.datasets)
    if config.evaluation.datasets:
        print(f"{codec.name} makes no files; only its translations are measured.", file=sys.stderr)
    return []


def _say_task(system: str, guide: str, source: str, target: str) -> None:
    """A line for each task that is done: whole data sets take hours."""
    print(f"{system}: {source} to {target}, {guide}", file=sys.stderr, flush=True)


def _trained(config: DictConfig) -> tuple[ImageCodec, Path, str]:
    """Codec of a run folder, checkpoint or export, the folder of its results, and the name it goes by.

    Results go into a run's own folder for its newest checkpoint only; those of an export, which is left as it is, or
    of another checkpoint go where a classic codec's would.
    """
    from nic_lightning.codecs.loading import load_codec
    from nic_lightning.runs.index.index import read_run

    if config.codec is not None:
        raise UserError("Give run=RUN or codec=NAME, not both.")
    source = source_of(config.run)
    codec, run = load_codec(source), _run_of(source)
    if run is None:
        checkpoint = source.is_file()
        folder = _run_folder(source) if checkpoint else source
        name = str(config.name or folder.resolve().name + (f"_{source.stem}" if checkpoint else ""))
        return codec, Path(config.run_dir or Path("runs") / name), name
    found = read_run(_run_folder(source))
    name = config.name or (found.config or {}).get("name") or found.name
    return codec, Path(config.run_dir or found.folder), str(name)


def _run_of(source: Path) -> Path | None:
    """The run whose results those of `source` are: of its folder, or of its newest checkpoint; None of other things."""
    from nic_lightning.runs.index.owner import owner

    folder = _run_folder(source)
    if owner(folder) != "training" or (source.is_file() and source.name != "last.ckpt"):
        return None
    return folder.resolve()


def _run_folder(source: Path) -> Path:
    """The folder of a run, checkpoint or export; of a checkpoint that lies in no run, its own."""
    folder = source if source.is_dir() else source.parent
    return folder.parent if folder.name == "checkpoints" else folder


def _classic(config: DictConfig) -> tuple[ImageCodec, Path, str]:
    """A codec without weights, instantiated from conf/codec."""
    from hydra.utils import instantiate

    from nic_lightning.codecs.learned import is_learned

    codec = instantiate(config.codec, _convert_="all")
    if is_learned(codec) and not codec.comes_trained:
        other = ", or codec.weights=FILE" if "weights" in codec.files else f" instead of codec={codec.name}"
        raise UserError(f"Codec {codec.name} needs trained weights: give run=RUN{other}.")
    name = config.name or codec.name
    return codec, Path(config.run_dir or Path("runs") / name), name


def _evaluate_flow(config: DictConfig) -> None:
    """Measure what finds optical flow, with the settings of `config.flow`, on data sets with true flow."""
    from hydra.core.hydra_config import HydraConfig

    from nic_lightning.baselines.matchers import build
    from nic_lightning.callbacks.flow_evaluation import evaluate_flow_into_run, refuse_other_settings
    from nic_lightning.data.flow_sets import flow_set
    from nic_lightning.report.page.flow import flow_table

    if config.run is not None or config.codec is not None:
        raise UserError("Give one of run=RUN, codec=NAME and flow=NAME.")
    name = str(config.name or HydraConfig.get().runtime.choices["flow"])
    folder = Path(config.run_dir or Path("runs") / name)
    wanted = config.evaluation
    sets = [flow_set(dataset, config.root) for dataset in wanted.datasets]  # a missing one before the record begins
    matcher = build(config.flow)
    refuse_other_settings(folder, matcher)
    with _recorded(config, folder, name):
        kept = {"save_images": wanted.save_images, "limit": wanted.limit, "on_item": _say}
        rows = evaluate_flow_into_run(matcher, folder, sets, run=folder.resolve().name, name=name, **kept)
    print(flow_table(rows))
    print(f"\nResults: {folder / 'results.parquet'}")


def _say(dataset: str, item: str, seconds: float) -> None:
    print(f"{dataset}: {item}, {seconds:.1f} s", file=sys.stderr, flush=True)


def plain_config(config: DictConfig) -> dict[str, Any]:
    """The resolved config as plain Python."""
    from omegaconf import OmegaConf

    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


@contextlib.contextmanager
def _recorded(config: DictConfig, folder: Path, name: str) -> Iterator[None]:
    """Keep in a folder of its own what is evaluated, and whether it went well."""
    from hydra.core.hydra_config import HydraConfig

    from nic_lightning.runs.record.record import RunRecord, ending_in
    from nic_lightning.runs.resume.locking import occupied_for_evaluation

    whole = plain_config(config) | {"name": name}
    with occupied_for_evaluation(folder, whole):
        record = RunRecord(folder)
        record.start(whole, list(HydraConfig.get().overrides.task))
        with ending_in(record):
            yield


if __name__ == "__main__":
    main()

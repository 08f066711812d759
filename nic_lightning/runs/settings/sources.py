"""Data and devices that a config names, looked for before anything heavy is loaded. No torch needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from nic_lightning.config import ConfigError
from nic_lightning.data.catalog import find_root, locate
from nic_lightning.data.cloud_sets import SPLITS, locate_clouds
from nic_lightning.data.file_sets import require_set
from nic_lightning.data.flow_sets import SETS, flow_set
from nic_lightning.errors import DataError
from nic_lightning.machine import surely_no_gpu


def check_data(data: Mapping[str, Any]) -> None:
    """Raise `ConfigError` for a folder or set that a data module of ours is to open and that is not there."""
    kind = str(data.get("_target_")).removeprefix("nic_lightning.data.")
    samples, batch = data.get("samples_per_epoch"), data.get("batch_size")
    if kind in _LOOKED_FOR and isinstance(samples, int) and isinstance(batch, int) and samples < batch:
        raise ConfigError(
            f"An epoch has {samples} samples, less than the batch size {batch}: raise data.samples_per_epoch or lower "
            "data.batch_size."
        )
    for key, look in _LOOKED_FOR.get(kind, {}).items():
        for name in _listed(data.get(key)):
            _look(f"data.{key}", look, name, data)


def check_sets(names: Any, root: str | None) -> None:
    """The same for the sets of an evaluation."""
    for name in _listed(names):
        _look("evaluation.datasets", _measured, name, {"root": root})


def check_accelerator(name: Any) -> None:
    """Raise `ConfigError` where `trainer.accelerator` is a GPU and this machine surely has none."""
    if name in ("gpu", "cuda") and surely_no_gpu():
        raise ConfigError(f"trainer.accelerator={name}: there is no GPU here; trainer=cpu does without.")


def _measured(name: str, data: Mapping[str, Any]) -> None:
    require_set(name, data.get("root"))


def _listed(names: Any) -> list[str]:
    return [names] if isinstance(names, str) else [str(name) for name in names or ()]


def _look(key: str, look: Callable[[str, Mapping[str, Any]], object], name: str, data: Mapping[str, Any]) -> None:
    try:
        look(name, data)
    except DataError as error:
        raise ConfigError(f"{key}: {error}") from error


def _images(name: str, data: Mapping[str, Any]) -> None:
    locate(name, data.get("root"))


def _domains(name: str, data: Mapping[str, Any]) -> None:
    root = find_root(data.get("root"))
    folder = next((place for place in (root / name, Path(name)) if place.is_dir()), None)
    if folder is None:
        raise DataError(f"There is no folder {name} below {root} or here; set NIC_DATA or data.root.")
    for domain in data.get("domains") or ():
        if not (folder / str(domain)).is_dir():
            raise DataError(f"{folder} has no domain {str(domain)!r}.")


def _clouds(name: str, data: Mapping[str, Any]) -> None:
    for split in SPLITS if data.get("paper_protocol") else SPLITS[:1]:
        locate_clouds(name, data.get("root"), split)


def _flow(name: str, data: Mapping[str, Any]) -> None:
    flow_set(name, data.get("root"))


def _flow_or_images(name: str, data: Mapping[str, Any]) -> None:
    (_flow if name in SETS else _images)(name, data)


_LOOKED_FOR: dict[str, dict[str, Callable[[str, Mapping[str, Any]], object]]] = {
    "datamodule.ImageDataModule": {"train": _images, "validation": _images},
    "domain_module.DomainDataModule": {"train": _domains, "validation": _domains},
    "cloud_module.CloudDataModule": {"set": _clouds},
    "flow_training.FlowDataModule": {"photographs": _images, "sets": _flow, "validation": _flow_or_images},
}
"""By data module, the keys that name data, and how each is looked for."""

"""`nic inspect`: parameters, multiply-accumulates, memory, latency of a codec."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from nic_lightning.analysis.sizes import parse_size
from nic_lightning.commands.options import ConfigDirs, Json, Overrides, require_folders
from nic_lightning.config import ConfigError, check_targets, compose
from nic_lightning.errors import UserError
from nic_lightning.media.base import DEFAULT, medium_of
from nic_lightning.runs.index.labels import require_source

if TYPE_CHECKING:
    from nic_lightning.codecs.learned import LearnedCodec


def inspect(
    *overrides: Overrides,
    run: Annotated[Path | None, Parameter(metavar="RUN")] = None,
    size: Annotated[str, Parameter(metavar="HxW")] = "512x768",
    latency: bool = False,
    repeat: Annotated[int, Parameter(metavar="N")] = 15,
    config_dirs: ConfigDirs = (),
    as_json: Json = False,
) -> None:
    """Print parameters, multiply-accumulates and memory of a codec, and how long it takes.

    Then a small image is written and read at every point.

    Args:
        overrides: as for nic-train: codec=cae codec.width=48
        run: instead: run folder, checkpoint or export
        size: image height x width
        latency: also time each point on this machine, batch 1
        repeat: rounds that --latency takes
        config_dirs: a folder of your own configs, such as codec/NAME.yaml, beside those of the package; may be repeated
        as_json: print JSON

    Examples:
        nic inspect codec=slimmable --size 1080x1920
        nic inspect --run runs/first --latency

    Raises:
        UserError: there is no such codec, or its files do not work.
    """
    if run is not None:
        require_source(run)
    require_folders(config_dirs)
    height, width = parse_size(size)
    if run is not None and overrides:
        raise UserError(f"--run names the codec; leave {overrides[0]} out.")
    codec = _untrained(list(overrides), config_dirs) if run is None else _trained(run)

    from nic_lightning.analysis.efficiency import measure, table
    from nic_lightning.analysis.latency import latency_table, measure_latency, photograph
    from nic_lightning.metrics.trial import fault

    cost = measure(codec, (height, width))
    values, texts = cost.as_dict(), [table(cost)]
    if latency:
        if run is None:
            codec.update_tables()
        medium = medium_of(codec)
        images = medium.name == DEFAULT
        x = photograph((height, width)) if images else medium.handler().example(cost.height, cost.width)
        times = measure_latency(codec, x, repeat)
        values["latency_ms"] = [asdict(point) for point in times]
        texts.append(latency_table(times, repeat))
    problem = fault(codec)
    values["files"] = problem or "written and read at every operating point"
    print(json.dumps(values, indent=2) if as_json else "\n\n".join(texts))
    if problem:
        raise UserError(problem)


def _untrained(overrides: list[str], config_dirs: Sequence[Path]) -> LearnedCodec:
    config: Any = compose("train", overrides, config_dirs)
    problems = [p for p in check_targets(config, missing_ok=True) if p.startswith("codec")]
    if problems:
        raise ConfigError(" ".join(problems))

    from hydra.utils import instantiate

    from nic_lightning.codecs.learned import is_learned

    codec = instantiate(config.codec, _convert_="all")
    if not is_learned(codec):
        raise UserError(f"{config.codec._target_} is not a learned codec: it has no layers to count.")
    return codec.eval()


def _trained(run: Path) -> LearnedCodec:
    from nic_lightning.codecs.loading import load_codec

    return load_codec(run)

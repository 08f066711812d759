"""Weights & Biases: offline unless the user is logged in, and never in the way of training.

Whatever goes wrong here ends in one warning: the run record has everything that W&B shows.
"""

from __future__ import annotations

import logging
import netrc
import os
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlparse

from nic_lightning.media.base import find_medium
from nic_lightning.runs.loggers.quiet_exit import leave_quietly
from nic_lightning.runs.record.files import write_atomically
from nic_lightning.runs.record.results import mean_of_all

if TYPE_CHECKING:
    from pytorch_lightning.loggers import WandbLogger

INIT_SECONDS = 20
FINISH_SECONDS = 120
_MODES = {mode: mode for mode in ("online", "offline", "disabled", "shared")} | {"dryrun": "offline"}
_MAX_ROWS = 10_000
_log = logging.getLogger(__name__)


def wandb_logger(
    folder: str | Path,
    *,
    project: str = "nic_lightning",
    mode: str | None = None,
    name: str | None = None,
    group: str | None = None,
    tags: Sequence[str] = (),
    config: Mapping[str, Any] | None = None,
) -> WandbLogger | None:
    """Lightning's W&B logger for a run folder; None, after one warning, when W&B cannot be used.

    A run that is started again in its folder continues under the id kept in `<folder>/wandb_id`. A user who
    is logged in but cannot reach the server within INIT_SECONDS gets an offline run.

    Args:
        folder: the run folder; W&B writes into its `wandb/`.
        project: W&B project.
        mode: "online", "offline" or "disabled"; None: online if the user is logged in, else offline. The
            environment variable WANDB_MODE wins.
        name: display name; None: the folder's name.
        group: name of the sweep that the run belongs to.
        tags: tags of the run.
        config: resolved configuration as plain Python.
    """
    folder = Path(folder)
    chosen = wandb_mode(mode)
    if chosen == "disabled":
        return None
    try:
        from pytorch_lightning.utilities import rank_zero_only

        from nic_lightning.runs.loggers.loggers import ForgivingWandbLogger

        if rank_zero_only.rank != 0:
            # Other ranks hold a logger that never opens a run, so that all ranks log the same calls.
            return ForgivingWandbLogger(project=project, save_dir=folder, id=_run_id(folder, create=False))
        init: dict[str, Any] = {
            "project": project,
            "dir": str(folder),
            "id": _run_id(folder),
            "name": name or folder.resolve().name,
            "group": group,
            "tags": [str(tag)[:64] for tag in tags if str(tag)],
            "config": dict(config or {}),
            "resume": "allow",
        }
        run = _open(init, chosen)
        return ForgivingWandbLogger(project=project, save_dir=folder, id=init["id"], name=init["name"], experiment=run)
    # W&B raises its own errors, the operating system's, and those of its helper process.
    except Exception as error:
        _log.warning("W&B is left out of this run: %s", _first_line(error))
        return None


def wandb_mode(mode: str | None = None) -> str:
    """The mode: WANDB_MODE, else the argument, else "online" for a user who is logged in, else "offline"."""
    wanted = (os.environ.get("WANDB_MODE") or mode or "").strip().lower()
    if wanted in _MODES:
        return _MODES[wanted]
    if wanted:
        _log.warning("W&B has no mode %r; this run is recorded offline.", wanted)
        return "offline"
    return "online" if is_logged_in() else "offline"


def is_logged_in() -> bool:
    """Whether there is a W&B key, in the environment or a netrc file. Asks no server."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    named = os.environ.get("NETRC")
    files = [Path(named)] if named else [Path.home() / ".netrc", Path.home() / "_netrc"]
    for file in files:
        try:
            entries = netrc.netrc(str(file))
        except (OSError, netrc.NetrcParseError, UnicodeDecodeError):
            continue
        if any(entries.authenticators(host) for host in _hosts()):
            return True
    return False


def log_results_to_wandb(
    logger: WandbLogger | None,
    rows: Sequence[Mapping[str, Any]],
    figures: Mapping[str, Path],
    images: Mapping[str, Path],
    tables: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
) -> None:
    """Put a run's results into W&B; one warning if that fails. Nothing is done without a logger.

    Args:
        logger: from `wandb_logger`, or None.
        rows: rows of the results table; also summarised as `<dataset>/<metric>@<label>`, means over images.
        figures: name -> picture of a plot, shown as `results/<name>`.
        images: caption -> picture, shown together as `results/reconstructions`, with `_<width>x<height>` if their
            sizes differ.
        tables: more tables by name, such as the BD-rates.
    """
    if logger is None:
        return
    try:
        import wandb

        run = cast(Any, logger.experiment)
        media: dict[str, Any] = {}
        for name, table in {"table": rows, **(tables or {})}.items():
            columns, data = _table(table)
            if data:
                media[f"results/{name}"] = wandb.Table(columns=cast(Any, columns), data=cast(Any, data))
        media |= {f"results/{name}": wandb.Image(str(path)) for name, path in figures.items()}
        alike: dict[tuple[int, int], list[Any]] = {}  # W&B shows pictures of different sizes wrongly together
        for caption, path in images.items():
            picture = wandb.Image(str(path), caption=caption)
            alike.setdefault(cast(Any, picture.image).size, []).append(picture)
        for (width, height), pictures in alike.items():
            of_size = f"_{width}x{height}" if len(alike) > 1 else ""
            media[f"results/reconstructions{of_size}"] = pictures
        if media:
            run.log(media)
        run.summary.update(_summary(rows))
    except Exception as error:
        _log.warning("The results are not in W&B: %s", _first_line(error))


def finish_wandb(logger: WandbLogger | None, failed: bool = False) -> None:
    """End the W&B run, waiting FINISH_SECONDS at most for what is still to be uploaded."""
    if logger is None:
        return
    try:
        cast(Any, logger.experiment).finish(exit_code=1 if failed else 0)
    except Exception as error:
        _log.warning("The W&B run did not end properly: %s", _first_line(error))


def _hosts() -> set[str]:
    """Hosts whose netrc entry is a W&B login: the classic one, and the one that W&B is set up for."""
    import wandb

    try:
        configured = urlparse(os.environ.get("WANDB_BASE_URL") or wandb.Settings().base_url).hostname
    # A broken settings file is W&B's own kind of error.
    except Exception:
        configured = None
    return {"api.wandb.ai", configured or "api.wandb.ai"}


def _open(init: dict[str, Any], mode: str) -> Any:
    """A W&B run; offline when the server cannot be reached in time."""
    import wandb

    leave_quietly()
    settings = wandb.Settings(
        init_timeout=INIT_SECONDS,
        login_timeout=INIT_SECONDS,
        finish_timeout=FINISH_SECONDS,
        finish_timeout_raises=False,
        console="off",
        quiet=True,
        silent=mode == "offline",  # where the record lies is no news then; online its address is
    )
    try:
        run = wandb.init(**init, mode=cast(Any, mode), settings=settings, reinit="create_new")
    except Exception as error:
        if mode == "offline":
            raise
        _log.warning("W&B cannot be reached, this run is recorded offline: %s", _first_line(error))
        # Its helper process still holds the id of the run that did not start.
        wandb.teardown()
        run = wandb.init(**init, mode="offline", settings=settings, reinit="create_new")
    run.define_metric("trainer/global_step")
    run.define_metric("*", step_metric="trainer/global_step", step_sync=True)
    return run


def _run_id(folder: Path, create: bool = True) -> str:
    """The id in `<folder>/wandb_id`; a new one is written there if it holds none."""
    file = folder / "wandb_id"
    try:
        kept = file.read_text()[:100].strip()
    except (OSError, UnicodeDecodeError):
        kept = ""
    if re.fullmatch(r"[A-Za-z0-9_-]{1,64}", kept):
        return kept
    fresh = secrets.token_hex(4)
    if create:
        write_atomically(file, fresh + "\n")
    return fresh


def _table(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[Any]]]:
    """Columns that hold something, and their values, as W&B wants them."""
    rows = rows[:_MAX_ROWS]
    columns = [key for key in _keys(rows) if any(row.get(key) is not None for row in rows)]
    return columns, [[row.get(key) for key in columns] for row in rows]


def _keys(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(key for row in rows for key in row))


def _summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    groups: dict[tuple[Any, Any, Any], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row.get("dataset"), row.get("codec"), row.get("label")), []).append(row)
    summary = {}
    for (dataset, codec, label), group in groups.items():
        medium = find_medium(group[0].get("medium"))
        for metric in (*medium.rates, *medium.drawn):
            value = mean_of_all(row.get(metric) for row in group)
            if value is not None:
                summary[f"{dataset}/{codec}/{metric}@{label}"] = value
    return summary


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:300] if text else type(error).__name__

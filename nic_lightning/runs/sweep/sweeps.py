"""A multirun as a whole: where its jobs lie, which of them failed, and with what exit code it ends."""

from __future__ import annotations

import copy
import json
import os
import secrets
import shlex
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback

from nic_lightning.config import quoted, safe_name
from nic_lightning.errors import UserError
from nic_lightning.machine import VISIBLE
from nic_lightning.runs.index.owner import JOBS, refuse_foreign
from nic_lightning.runs.machine.slots import VISIBLE_TO_SWEEP
from nic_lightning.runs.sweep.isolation import LOG, NO_LOG_FILE

_MAX_LINE = 2**16


class Sweep(Callback):
    """A Hydra callback: one instance in the launching process, copies of it in the workers of a launcher.

    Hydra's own way with failing jobs is to show the first one's error. Here all end in jobs.jsonl, and are listed once
    the others are through.
    """

    def __init__(self) -> None:
        self.folder, self.known = "", 0

    def on_multirun_start(self, config: Any, **kwargs: Any) -> None:
        """Settle the folder of the sweep, and which overrides name the folders of jobs: those that are swept."""
        try:
            self._settle(config)
            refuse_foreign(Path(self.folder), "sweep")
            _prepare(config.hydra)
        except UserError as error:
            print(error, file=sys.stderr)
            sys.exit(error.exit_code)
        except Exception:  # Hydra would warn, and put the jobs somewhere else
            traceback.print_exc()
            sys.exit(1)

    def _settle(self, config: Any) -> None:
        from hydra.core.hydra_config import HydraConfig
        from hydra.core.override_parser.overrides_parser import OverridesParser
        from omegaconf import read_write

        given = OverridesParser.create().parse_overrides(list(config.hydra.overrides.task))
        params = config.hydra.sweeper.get("params") or {}
        swept = {key: f"{key}={values}" for key, values in params.items()}
        swept.update({o.key_or_group: str(o.input_line) for o in given if o.is_sweep_override()})
        fixed = [o.key_or_group for o in given if not o.is_sweep_override()]
        swept = {key: text for key, text in swept.items() if key not in fixed}
        hydra_config = HydraConfig.instance()
        before = hydra_config.cfg
        hydra_config.set_config(copy.deepcopy(config))  # ${name} may come from ${hydra:...}
        try:
            self.folder = str(_folder(config, swept, fixed))
        finally:
            hydra_config.cfg = before
        jobs = Path(self.folder) / JOBS
        self.known = jobs.stat().st_size if jobs.exists() else 0
        given_logging = any(text.startswith("hydra/job_logging=") for text in config.hydra.overrides.hydra)
        with read_write(config):
            # Hydra composes each job's config anew, from these overrides and the job's own.
            config.hydra.overrides.hydra += [
                f"hydra.sweep.dir={quoted(self.folder)}",
                f"hydra.job.config.override_dirname.exclude_keys=[{','.join(map(quoted, fixed))}]",
                *([] if given_logging else [NO_LOG_FILE]),
            ]
            config.hydra.sweep.dir = self.folder

    def on_job_end(self, config: Any, job_return: Any, **kwargs: Any) -> None:
        """Write down how the job ended. For Hydra, all jobs of a multirun end well, so that each gets its turn."""
        from hydra.core.utils import JobStatus
        from hydra.types import RunMode

        if config.hydra.mode != RunMode.MULTIRUN:
            return
        line: dict[str, Any] = {"job": config.hydra.runtime.output_dir, "time": round(time.time(), 3), "code": 0}
        if job_return.status == JobStatus.FAILED:
            error = job_return._return_value
            line["code"] = error.exit_code if isinstance(error, UserError) else 1
            line["reason"] = " ".join(str(getattr(error, "reason", error) or type(error).__name__).split())
            if not isinstance(error, UserError):
                traceback.print_exception(error)
            job_return.return_value, job_return.status = None, JobStatus.COMPLETED
        data = (json.dumps(line)[:_MAX_LINE] + "\n").encode()
        with (Path(self.folder) / JOBS).open("ab", buffering=0) as file:  # one write: lines of two jobs never mix
            file.write(data)

    def on_multirun_end(self, config: Any, **kwargs: Any) -> None:
        """Report what came out, and leave with 0, with 1, or with 2 where all failures are the user's to mend."""
        jobs = list({line["job"]: line for line in self._ended()}.values())
        failed = [line for line in jobs if line["code"]]
        print(summary(Path(self.folder), jobs), file=sys.stderr if failed else sys.stdout, flush=True)
        if failed:
            sys.exit(2 if all(line["code"] == 2 for line in failed) else 1)

    def _ended(self) -> list[dict[str, Any]]:
        try:
            with (Path(self.folder) / JOBS).open("rb") as file:
                file.seek(self.known)
                return [json.loads(line) for line in file.read().splitlines()]
        except FileNotFoundError:
            return []


def summary(folder: Path, jobs: Sequence[dict[str, Any]]) -> str:
    """The last words of a multirun: how many jobs ended how, each failed one with reason and log, what to do next."""
    failed = [line for line in jobs if line["code"]]
    shown = os.path.relpath(folder)
    shown = str(folder) if shown.startswith("..") else shown
    good, plural = len(jobs) - len(failed), "s" * (len(jobs) != 1)
    lines = [f"{len(jobs)} job{plural} in {shown}: {good} finished, {len(failed)} failed."]
    for line in failed:
        job = Path(line["job"])
        lines.append(f"  {job}: {line['reason']}")
        if (job / LOG).exists():
            lines.append(f"    log: {job / LOG}")
    if failed:
        lines.append("The same command continues what is missing.")
    if good:
        lines.append(f"To compare them: nic report {shlex.quote(shown)}")
    return "\n".join(lines)


def _folder(config: Any, swept: Mapping[str, str], fixed: Sequence[str]) -> Path:
    """The sweep's folder, one for all jobs; named by what is swept where that would give each job a name of its own."""
    from omegaconf import OmegaConf

    folder = Path(os.path.abspath(config.hydra.sweep.dir))
    naming = {"name", "experiment", "codec"} if OmegaConf.is_interpolation(config, "name") else {"name", "experiment"}
    if naming.isdisjoint(swept) or not {"name", "run_dir"}.isdisjoint(fixed):
        return folder
    return folder.with_name(safe_name(",".join(text for key, text in swept.items() if key in naming)))


def _prepare(hydra: Any) -> None:
    """What workers cannot know for themselves, and what Ray shall leave out."""
    if VISIBLE in os.environ:
        os.environ[VISIBLE_TO_SWEEP] = os.environ[VISIBLE]
    if hydra.runtime.choices.get("hydra/launcher") != "ray":
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")
    os.environ.setdefault("RAY_gcs_server_port_wait_time_s", "120")  # a busy machine takes longer than its 30
    if hydra.launcher.ray.init.get("address") is None and not {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN"} & os.environ.keys():
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)  # or Ray would leave one in the home folder

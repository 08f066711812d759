"""`nic runs push`: what was recorded offline goes to W&B."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nic_lightning.errors import RunError, UserError
from nic_lightning.runs.index.index import find_runs
from nic_lightning.runs.loggers.offline import upload, waiting
from nic_lightning.runs.loggers.wandb import is_logged_in


def push(folders: Sequence[Path]) -> int:
    """Upload each run's offline records; 1 when a run was left out because it is being trained or its upload failed.

    Raises:
        RunError: a folder holds no run.
        UserError: nobody is logged in to W&B.
    """
    runs = find_runs(folders)
    todo = [(run, records) for run in runs if (records := waiting(run.folder))]
    if not todo:
        print("Nothing to upload: no run holds an offline record that W&B does not have.")
        return 0
    if not is_logged_in():
        raise UserError("You are not logged in to W&B; run `wandb login`, or set WANDB_API_KEY, and try again.")
    left = 0
    for run, records in todo:
        if run.state == "running":
            print(f"{run.name} is being trained; push it when it has ended.")
            left += 1
            continue
        print(f"{run.name}: {len(records)} offline record{'s' * (len(records) > 1)}", flush=True)
        try:
            upload(records)
        except RunError as error:
            print(f"{run.name}: {error}")
            left += 1
    return 1 if left else 0

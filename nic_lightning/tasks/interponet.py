"""Training of the network that makes flow dense, from matches that are made of true flow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from nic_lightning.data.flow_matches import MatchCrop, MatchesDataModule, simulated_matches
from nic_lightning.data.motion import Scene
from nic_lightning.errors import UserError
from nic_lightning.flow.interponet import WIDTHS, InterpoNet, interpolate_by, load_interponet
from nic_lightning.losses.flow_interpolation import end_point_error, lateral_dependency
from nic_lightning.metrics.flow_errors import flow_errors
from nic_lightning.runs.files import write_atomically
from nic_lightning.tasks.base import Task

WEIGHTS = "interponet.safetensors"
"""In the run folder, when training has ended."""


class InterpoNetTask(Task):
    """End-point error and lateral dependency after every layer (InterpoNet, Zweig and Wolf 2017).

    Args:
        widths: channels of the layers; default the paper's ten.
        lateral: weight of the lateral dependency beside the end-point error.
        detours: weight of the mean loss after all layers but the last, beside that after the last.
        learning_rate: of Adam.
        lower_at: steps at which it is divided by ten.
    """

    def __init__(
        self,
        widths: Sequence[int] = WIDTHS,
        lateral: float = 1.0,
        detours: float = 0.3,
        learning_rate: float = 5e-4,
        lower_at: Sequence[int] = (),
    ) -> None:
        super().__init__()
        if lateral < 0 or detours < 0:
            raise UserError(f"task.lateral and task.detours are weights of at least 0, not {lateral:g}, {detours:g}.")
        self.network = InterpoNet(widths)
        self.lateral, self.detours = lateral, detours
        self.learning_rate, self.lower_at = learning_rate, list(lower_at)

    def start_from(self, source: str) -> None:
        """Begin with the weights of a file or run that `load_interponet` takes."""
        given = load_interponet(source)
        shapes, wanted = ({n: v.shape for n, v in net.state_dict().items()} for net in (given, self.network))
        if shapes != wanted:
            raise UserError(f"{source} holds layers of other widths; give the same as task.widths.")
        self.network.load_state_dict(given.state_dict())

    def on_fit_start(self) -> None:
        """Refuse data that tells no matches."""
        if not isinstance(getattr(self.trainer, "datamodule", None), MatchesDataModule):
            raise UserError("InterpoNet is trained on matches and true flow: give data=flow_matches.")

    def training_step(self, batch: MatchCrop, batch_idx: int) -> Tensor:
        """Loss of a batch of crops."""
        flows = [flow.float() for flow in self.network(batch.inputs)]
        errors = [end_point_error(flow, batch.truth, batch.known) for flow in flows]
        laterals = [lateral_dependency(flow, batch.truth, batch.known) for flow in flows]
        losses = [error + self.lateral * other for error, other in zip(errors, laterals, strict=True)]
        loss = losses[-1]
        if losses[:-1]:
            loss = loss + self.detours * torch.stack(losses[:-1]).mean()
        self.latest = {"train/loss": loss.detach(), "train/epe": errors[-1].detach()}
        if self.logs_after(1):
            rate = self.trainer.optimizers[0].param_groups[0]["lr"]
            self.log_dict({**self.latest, "train/learning_rate": rate}, batch_size=len(batch.known))
        return loss

    def validation_step(self, scene: Scene, batch_idx: int) -> None:
        """End-point error in full-size pixels over all pixels, and those that the next frame shows and hides."""
        generator = torch.Generator().manual_seed(batch_idx)
        ratio = self.trainer.datamodule.ratio  # pyright: ignore[reportAttributeAccessIssue]
        given = simulated_matches(scene.flow, scene.hidden, ratio, generator)
        with torch.autocast(self.device.type, enabled=False):
            flow = interpolate_by(self.network, scene.current, given)
        row = flow_errors(flow, scene.flow, scene.hidden).row()
        names = {"epe": "epe_all", "epe_noc": "epe_noc", "epe_occ": "epe_occ"}
        values = {f"val/{self.validation_name}/{short}": row[long] for short, long in names.items()}
        there = {name: value for name, value in values.items() if value is not None}
        self.log_dict(there, batch_size=1, sync_dist=True)

    def configure_optimizers(self) -> Any:
        """Adam."""
        made = torch.optim.Adam(self.network.parameters(), self.learning_rate)
        schedule = torch.optim.lr_scheduler.MultiStepLR(made, self.lower_at, gamma=0.1)
        return {"optimizer": made, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def finish(self, folder: Path) -> None:
        """Write the weights as a file; say how to use it."""
        state = {name: value.detach().cpu().contiguous() for name, value in self.network.state_dict().items()}
        write_atomically(folder / WEIGHTS, save(state))
        place = folder / WEIGHTS
        print(f"Weights: nic flow FRAMES -o DIR --set interpolation=interponet --set interpolation_weights={place}")

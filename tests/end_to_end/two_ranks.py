"""`nic-train` without quantisation noise, and with each rank's weights kept at the end: see test_distributed.py."""

import os

import torch

from nic_lightning.tasks.rate_distortion import RateDistortionTask
from nic_lightning.train import main

STEP = RateDistortionTask.training_step
UNIFORM = torch.Tensor.uniform_


def training_step(self, *args):
    if os.environ["NOISE"] == "off":
        torch.Tensor.uniform_ = lambda tensor, *_: tensor.zero_()
    try:
        loss = STEP(self, *args)
    finally:
        torch.Tensor.uniform_ = UNIFORM
    self.noise = [*getattr(self, "noise", []), torch.rand(1).item()]
    return loss


def on_train_end(self):
    rank = os.environ.get("LOCAL_RANK", "0")
    torch.save({"codec": self.codec.state_dict(), "noise": self.noise}, f"rank_{rank}.pt")


RateDistortionTask.training_step = training_step
RateDistortionTask.on_train_end = on_train_end

if __name__ == "__main__":
    main()

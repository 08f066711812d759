"""Layers by name, and what their values see of the frame."""

from __future__ import annotations

import math

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from nic_lightning.analysis.latent_motion.features import Features
from nic_lightning.errors import UserError

RESNET = {"conv1": (7, 2, 0), "layer2.0.add": (83, 8, 0), "layer3.0.add": (227, 16, 0)}
DENSENET = {"features.transition2.pool": (263, 16, 6), "features.transition3.pool": (1047, 32, 14)}


@pytest.mark.parametrize(("network", "fields"), [("resnet34", RESNET), ("densenet121", DENSENET)])
def test_receptive_fields_of_the_layers_of_the_paper(network, fields) -> None:
    with torch.device("meta"):  # shapes alone
        features = Features(torchvision.models.get_model(network, weights=None), list(fields), name=network)
    assert {layer: tuple(field) for layer, field in features.geometry.items()} == fields


class Odd(nn.Module):
    """Padding on one side, dilation, even kernels, functions, and a sum of two branches."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, 2, 0)
        self.pad = nn.ZeroPad2d((0, 1, 0, 1))
        self.wide = nn.Conv2d(4, 4, 3, padding=2, dilation=2)
        self.even = nn.Conv2d(4, 4, 4, padding=(2, 2))
        self.fold = nn.PixelUnshuffle(2)
        self.weight = nn.Parameter(torch.rand(4, 16, 5, 5))
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        x = self.first(self.pad(x))
        x = self.relu(self.wide(x) + x)
        x = F.avg_pool2d(self.even(x), 2)
        return F.conv2d(F.pad(self.fold(x), (1, 2, 1, 2)), self.weight, None, 1, 1)


@pytest.mark.parametrize("layer", ["first", "add", "even", "avg_pool2d", "fold", "conv2d"])
def test_receptive_fields_are_what_gradients_reach(layer) -> None:
    """The twin: the samples of the frame that a value in the middle of the tensor depends on."""
    torch.manual_seed(0)
    features = Features(Odd(), [layer], name="odd")
    field = features.geometry[layer]
    frame = torch.rand(1, 3, 97, 97, dtype=torch.float64).requires_grad_()
    values = features.double()(frame)[layer]
    place = values.shape[-1] // 2
    values[0, :, place, place].square().sum().backward()
    reached = frame.grad[0].abs().sum((0, 1)).nonzero()[:, 0]
    assert reached[-1] - reached[0] + 1 == field.size
    assert (reached[-1] + reached[0]) / 2 == field.stride * place + field.offset


def test_a_sum_is_given_as_it_is_before_its_activation() -> None:
    torch.manual_seed(0)
    features = Features(torchvision.models.resnet18(), ["layer1.0.add", "layer1.0"], name="resnet18")
    found = features(torch.rand(1, 3, 64, 64))
    assert found["layer1.0.add"].min() < 0
    assert torch.equal(found["layer1.0"], found["layer1.0.add"].relu())


def test_what_is_behind_the_last_layer_is_not_computed() -> None:
    features = Features(torchvision.models.resnet18(), ["conv1"], name="resnet18")
    assert [name for name, _ in features._graph.named_children()] == ["conv1"]


def test_all_layers_are_those_with_a_place() -> None:
    features = Features(Odd(), name="odd")
    assert features.layers == ("pad", "first", "wide", "add", "relu", "even", "avg_pool2d", "fold", "pad_1", "conv2d")


def test_names_that_are_wrong_get_a_sentence() -> None:
    with pytest.raises(UserError, match=r"resnet18 has no layer 'layer1.0.adds'; the nearest of \d+ are layer1.0.add"):
        Features(torchvision.models.resnet18(), ["layer1.0.adds"], name="resnet18")
    squeezed = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Upsample(scale_factor=2), nn.Conv2d(4, 4, 3))
    with pytest.raises(UserError, match="layer 2 of up lie in the frame is not known: 1 stands before it"):
        Features(squeezed, ["2"], name="up")

    class Branching(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    with pytest.raises(UserError, match="branching cannot be traced"):
        Features(Branching(), name="branching")


def test_what_sees_all_sees_all() -> None:
    features = Features(torchvision.models.mobilenet_v3_small(), ["features.1", "features.1.block.0"], name="m")
    assert math.isinf(features.geometry["features.1"].size)
    assert features.geometry["features.1"][1:] == features.geometry["features.1.block.0"][1:] == (4, 0.0)


def test_small_frames_are_told_of() -> None:
    features = Features(torchvision.models.resnet18(), ["conv1", "layer2.0.add"], name="resnet18")
    assert features.about_small_frames(96, 96) is None
    assert "smaller than the receptive field of layer2.0.add (67)" in (features.about_small_frames(64, 96) or "")

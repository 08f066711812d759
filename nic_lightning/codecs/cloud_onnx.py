"""Both sides of a point-cloud codec as ONNX files, each checked against the codec that it was made from.

`g_a@LABEL.onnx` takes clouds `points` (n, P, 3), float32, and gives `symbols` (n, C), int32: what the entropy coder
writes, row c by table c of codec.safetensors. It computes in float64, as the codec does. `classifier@LABEL.onnx` takes
`symbols` and gives `log_probabilities` (n, K). n and P are free. A half of a codec has the file of its side.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nic_lightning.codecs.base import OperatingPoint
from nic_lightning.codecs.point_cloud import PointCloudCodec
from nic_lightning.codecs.to_onnx import TOLERANCE, session, traced
from nic_lightning.errors import UserError
from nic_lightning.layers.folded_points import Folded, folded_layers

_CHECKED = (1, 17, 300)
"""Points of the clouds that files are checked with; none is the traced number."""


def export_point(codec: PointCloudCodec, point: OperatingPoint, folder: Path) -> str:
    """Write the files of the sides that the codec has to `folder`; a sentence with what they were compared with.

    Raises UserError when a file gives other symbols than the codec, or other log probabilities, to `TOLERANCE`.
    """
    label = re.sub(r"[^\w.+-]", "_", point.label)
    n, p = (torch.export.Dim(name, min=1) for name in "np")
    symbols, written = torch.zeros(2, codec.entropy_y.channels, dtype=torch.int32), []
    if codec.side != "receiver":
        model = traced(_Sender(codec), torch.rand(2, 5, 3), ("points", "symbols"), {0: n, 1: p})
        written.append(_save(model, codec, point, folder / f"g_a@{label}.onnx", _require_symbols))
    if codec.side != "sender":
        model = traced(_Receiver(codec), symbols, ("symbols", "log_probabilities"), {0: n})
        written.append(_save(model, codec, point, folder / f"classifier@{label}.onnx", _require_log_probabilities))
    return "; ".join(written)


class _Sender(nn.Module):
    """Points to symbols, in float64."""

    def __init__(self, codec: PointCloudCodec):
        super().__init__()
        layers = folded_layers(codec.g_a.layers)
        if layers is None:
            raise UserError("The encoder has layers that no ONNX file is made of: leave --onnx out.")
        inputs = [3, *(len(layer.bias) for layer in layers)]
        self.weights = [torch.from_numpy(_dense(layer, k).T.copy()) for layer, k in zip(layers, inputs, strict=False)]
        self.biases = [torch.from_numpy(layer.bias) for layer in layers]
        self.gain = codec.g_a.gain.factor * codec.g_a.gain.weight.detach().double()[:, 0]
        self.medians = codec.entropy_y.medians.flatten().clone()

    def forward(self, points: Tensor) -> Tensor:
        x = points.double()
        for weight, bias in zip(self.weights, self.biases, strict=True):
            x = F.relu(x @ weight + bias)
        y = (self.gain * x.amax(dim=1)).float()
        return torch.round(y - self.medians).to(torch.int32)


def _dense(layer: Folded, inputs: int) -> np.ndarray:
    """Weights (outputs, inputs), 0 between groups."""
    dense = np.zeros((len(layer.bias), inputs))
    columns = layer.first[:, None] + np.arange(layer.weight.shape[1])
    np.put_along_axis(dense, columns, layer.weight, axis=1)
    return dense


class _Receiver(nn.Module):
    """Symbols to log probabilities of the classes."""

    def __init__(self, codec: PointCloudCodec):
        super().__init__()
        self.classifier, self.medians = codec.classifier, codec.entropy_y.medians.flatten().clone()

    def forward(self, symbols: Tensor) -> Tensor:
        return F.log_softmax(self.classifier((symbols.float() + self.medians)[..., None]), dim=1)


_Check = Callable[[PointCloudCodec, OperatingPoint, Callable[[Tensor], Tensor], str], str]


def _save(model: Any, codec: PointCloudCodec, point: OperatingPoint, file: Path, check: _Check) -> str:
    if file.exists():
        raise UserError(f"Operating point {point.label} was given twice.")
    about = {"codec": codec.name, "point": point.label, "fingerprint": codec.file_fingerprint(point).hex()}
    for key, value in about.items():
        model.metadata_props.add(key=key, value=value)
    file.write_bytes(model.SerializeToString())
    return f"{file.name} ({file.stat().st_size:,} bytes): {check(codec, point, session(file), file.name)}"


@torch.no_grad()
def _require_symbols(codec: PointCloudCodec, point: OperatingPoint, run: Callable[[Tensor], Tensor], name: str) -> str:
    generator, count = torch.Generator().manual_seed(0), 0
    for points in _CHECKED:
        x = F.normalize(torch.randn(8, points, 3, generator=generator), dim=2)
        expected = codec.entropy_y.quantise(codec.analysis(x, point))[:, :, 0, 0]
        if not torch.equal(run(x), expected.int()):
            raise UserError(f"{name} is not exported: under onnxruntime it gives other symbols than the codec.")
        count += expected.numel()
    return f"all {count:,} symbols of random clouds are those of torch"


@torch.no_grad()
def _require_log_probabilities(
    codec: PointCloudCodec, point: OperatingPoint, run: Callable[[Tensor], Tensor], name: str
) -> str:
    generator, worst = torch.Generator().manual_seed(0), 0.0
    for n in (1, 7):
        symbols = torch.randint(-3, 20, (n, codec.entropy_y.channels), generator=generator)
        expected = codec.synthesis(codec.entropy_y.dequantise(symbols[..., None, None].float()), point)
        found = run(symbols.int())
        difference = (found - expected).abs().max().item() if found.shape == expected.shape else torch.inf
        if not difference <= TOLERANCE * max(1.0, expected.abs().max().item()):
            raise UserError(f"{name} is not exported: under onnxruntime it differs from the codec by {difference:.1e}.")
        worst = max(worst, difference)
    return f"largest difference from torch {worst:.1e} in log probabilities"

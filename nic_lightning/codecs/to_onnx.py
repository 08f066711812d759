"""Transforms of a codec as ONNX files, each checked against the codec that it was made from.

`g_a@LABEL.onnx` takes images `x` (n, 3, H, W), float32 RGB in [0, 1], and gives latents `y` (n, C, H/16, W/16) before
rounding; `g_s@LABEL.onnx` takes quantised latents `y_hat` and gives images `x_hat`, not clipped. n, H and W are free,
but H and W are multiples of the codec's `downsampling`, which the file's metadata name: pad an image by repeating its
last row and column, and cut the result back to the true size. lambda is folded in, so each point has a file of its own.

Quantisation and entropy coding are integer work with the tables of codec.safetensors. Hyper transforms are left out: a
decoder needs h_s in float64 (`codecs/hyperprior.py`), for which onnxruntime has no convolutions.
"""

from __future__ import annotations

import importlib.util
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nic_lightning.codecs.base import OperatingPoint
from nic_lightning.codecs.learned import LearnedCodec
from nic_lightning.errors import UserError
from nic_lightning.layers.plain import plain_copy

TOLERANCE = 1e-4
"""Largest difference from torch, for values up to 1, and relative to the largest where that exceeds 1.

A sum of K = 4,800 products (5x5 taps, 192 channels) in another order moves by about sqrt(K) 2^-24 = 4e-6 of its size in
float32, and there are six layers in a row; a wrong kernel, parameter or padding moves it by percents. 1e-4 of an
image is a fortieth of a grey level.
"""
_TRACED = (4, 6)
"""Height and width of the traced image in units of `downsampling`."""
_CHECKED = ((250, 300), (122, 430))
"""Heights and widths that are cut from the photograph; none is the traced size after padding."""


def require_packages() -> None:
    """Raise UserError unless the packages of the extra `onnx` are there."""
    missing = [name for name in ("onnx", "onnxruntime", "onnxscript") if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"ONNX export needs {', '.join(missing)}: pip install 'nic_lightning[onnx]'.")


def export_point(codec: LearnedCodec, point: OperatingPoint, folder: Path) -> str:
    """Write both transforms of `point` to `folder`; a sentence with the largest differences from torch.

    Raises UserError when a file does not compute, to `TOLERANCE`, what the codec does.
    """
    alone, inner = codec.standalone(point)
    plain = plain_copy(alone)
    label = re.sub(r"[^\w.+-]", "_", point.label)
    files = {name: folder / f"{name}@{label}.onnx" for name in ("g_a", "g_s")}
    if any(file.exists() for file in files.values()):
        raise UserError(f"Operating point {point.label} was given twice.")
    step = codec.downsampling
    image = torch.rand(2, 3, _TRACED[0] * step, _TRACED[1] * step)  # two: a batch of one would be taken for fixed
    with torch.no_grad():
        y = plain.analysis(image, inner)
    models = {
        "g_a": _trace(_Transform(plain.analysis, inner), image, ("x", step), ("y", step // codec.stride)),
        "g_s": _trace(_Transform(plain.synthesis, inner), y, ("y_hat", 1), ("x_hat", codec.stride)),
    }
    about = {"codec": codec.name, "point": point.label, "fingerprint": codec.file_fingerprint(point).hex()}
    about |= {"multiple": str(step), "latent_stride": str(codec.stride)}
    for name, model in models.items():
        for key, value in about.items():
            model.metadata_props.add(key=key, value=value)
        files[name].write_bytes(model.SerializeToString())
    found = _check(codec, point, files)
    return (
        f"{files['g_a'].name}, {files['g_s'].name}: largest difference from torch {found['g_a']:.1e} in latents, "
        f"{found['g_s']:.1e} in images"
    )


class _Transform(nn.Module):
    def __init__(self, method: Callable[[Tensor, OperatingPoint], Tensor], point: OperatingPoint):
        super().__init__()
        self.method, self.point = method, point

    def forward(self, x: Tensor) -> Tensor:
        return self.method(x, self.point)


def _trace(transform: _Transform, example: Tensor, source: tuple[str, int], result: tuple[str, int]) -> Any:
    """ONNX model of a transform; `source` and `result` are names, and steps of their heights and widths."""
    n, h, w = (torch.export.Dim(name, min=1) for name in "nhw")
    step = source[1]
    model = traced(transform, example, (source[0], result[0]), {0: n, 2: step * h, 3: step * w})
    for axis, name in ((2, "h"), (3, "w")):
        size = model.graph.output[0].type.tensor_type.shape.dim[axis]
        size.dim_param = name if result[1] == 1 else f"{result[1]}*{name}"
    return model


def traced(module: nn.Module, example: Tensor, names: tuple[str, str], free: dict[int, Any]) -> Any:
    """ONNX model of a module with one input and one output of these `names`; `free` dimensions of the input vary."""
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, about its own exporter
        program = torch.onnx.export(
            module.eval(),
            (example,),
            input_names=[names[0]],
            output_names=[names[1]],
            dynamic_shapes=(free,),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    for part in (*model.graph.node, *model.graph.input, *model.graph.output, model.graph):
        part.ClearField("metadata_props")  # source lines and paths of this machine
    del model.graph.value_info[:]
    return model


def _check(codec: LearnedCodec, point: OperatingPoint, files: dict[str, Path]) -> dict[str, float]:
    """Largest absolute difference between each file under onnxruntime and the codec, on a photograph."""
    from skimage import data

    photo = torch.from_numpy(data.astronaut()).permute(2, 0, 1)[None].float() / 255
    run = {name: session(file) for name, file in files.items()}
    worst = dict.fromkeys(files, 0.0)
    for height, width in _CHECKED:
        x = codec.pad(photo[..., :height, :width])
        with torch.no_grad():
            y = codec.analysis(x, point)
            y_hat = codec.likelihoods(y, point)[0]
            x_hat = codec.synthesis(y_hat, point)
        for name, given, expected in (("g_a", x, y), ("g_s", y_hat, x_hat)):
            found = run[name](given)
            difference = (found - expected).abs().max().item() if found.shape == expected.shape else torch.inf
            if not difference <= TOLERANCE * max(1.0, expected.abs().max().item()):
                raise UserError(
                    f"{files[name].name} is not exported: under onnxruntime it differs from the codec by "
                    f"{difference:.1e} on an image of {height}x{width}; the versions of torch and onnxruntime may not "
                    "fit together."
                )
            worst[name] = max(worst[name], difference)
    return worst


def session(file: Path) -> Callable[[Tensor], Tensor]:
    """A file under onnxruntime, with torch's number of threads."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(file.read_bytes(), options, providers=["CPUExecutionProvider"])
    source = session.get_inputs()[0].name
    return lambda x: torch.from_numpy(session.run(None, {source: x.contiguous().numpy()})[0])

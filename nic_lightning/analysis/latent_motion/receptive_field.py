"""What a value of a feature tensor sees of the input, found by a walk over the traced graph, not by running it.

    x_in = stride * u + offset      centre, in input samples, of what the value at place u of the tensor sees

Offsets are what pooling and padding leave: 0 for odd kernels that are padded alike on both sides, 6 and 14 behind the
second and third 2x2 average pooling of DenseNet, 1 for every 3x3 convolution of stride 2 padded by (0, 1).
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from torch import fx, nn

from nic_lightning.layers.gdn import GDN
from nic_lightning.layers.modulation import ConditionalAffine
from nic_lightning.layers.slimmable import SwitchGDN


class ReceptiveField(NamedTuple):
    """Along one axis, in input samples."""

    size: float
    """Samples that one value depends on; infinite where it sees the whole input."""
    stride: int
    """Samples from one value to the next."""
    offset: float
    """Where the centre of the first value's samples lies."""


class _Span(NamedTuple):
    """What the first value along an axis depends on, first and last sample, and the grid of the values' centres."""

    low: float
    high: float
    stride: int
    offset: float


class _Unknown(NamedTuple):
    """An operation behind which positions are not known."""

    name: str


_Found = _Span | _Unknown | None
"""None: it does not depend on the input."""

POINTWISE_MODULES = (
    *(nn.BatchNorm2d, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.SiLU, nn.GELU, nn.Sigmoid, nn.Tanh, nn.Hardswish),
    *(nn.Hardsigmoid, nn.Hardtanh, nn.ELU, nn.Softplus, nn.Identity, nn.Dropout, nn.Dropout2d),
    *(GDN, SwitchGDN, ConditionalAffine),
)
_GLOBAL = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.InstanceNorm2d, nn.GroupNorm)
_PADDING = (nn.ZeroPad2d, nn.ConstantPad2d, nn.ReflectionPad2d, nn.ReplicationPad2d)
_POOLING = (nn.MaxPool2d, nn.AvgPool2d)
_POINTWISE = frozenset(
    [
        *(
            "add",
            "sub",
            "mul",
            "truediv",
            "div",
            "neg",
            "pow",
            "abs",
            "exp",
            "sqrt",
            "rsqrt",
            "square",
            "clamp",
            "clamp_min",
        ),
        *(
            "relu",
            "relu_",
            "relu6",
            "leaky_relu",
            "hardtanh",
            "hardswish",
            "hardsigmoid",
            "silu",
            "gelu",
            "sigmoid",
            "tanh",
        ),
        *("cat", "dropout", "batch_norm", "contiguous", "float", "to", "detach", "clone"),
    ]
)
"""Functions and methods of tensors that keep every value where it is."""


def receptive_fields(graph: fx.GraphModule, origin: float = 0.0) -> dict[fx.Node, ReceptiveField | str]:
    """The receptive field of each node that depends on the input, or the name of the operation that hides it.

    Args:
        graph: traced network of one input (N, C, H, W).
        origin: place in the frame of the input's first sample; below 0 where the frame was padded before.
    """
    along_y, along_x = (_walk(graph, axis, origin) for axis in (0, 1))
    found: dict[fx.Node, ReceptiveField | str] = {}
    for node, y in along_y.items():
        x = along_x[node]
        if isinstance(y, _Unknown) or isinstance(x, _Unknown):
            found[node] = (y if isinstance(y, _Unknown) else x).name  # pyright: ignore
        elif y is not None and x is not None:
            same = (y.stride, y.offset) == (x.stride, x.offset)
            size = max(y.high - y.low, x.high - x.low) + 1
            found[node] = ReceptiveField(size, y.stride, y.offset) if same else f"{node}, unlike along x and y,"
    return found


def _walk(graph: fx.GraphModule, axis: int, origin: float) -> dict[fx.Node, _Found]:
    found: dict[fx.Node, _Found] = {}
    modules = dict(graph.named_modules())
    for node in graph.graph.nodes:
        if node.op == "placeholder":
            found[node] = _Span(origin, origin, 1, origin)
            continue
        inputs = [found[one] for one in node.all_input_nodes]
        seen = [one for one in inputs if one is not None]
        unknown = next((one for one in seen if isinstance(one, _Unknown)), None)
        if not seen or unknown is not None or node.op == "output":
            found[node] = unknown
            continue
        whole = _together([one for one in seen if isinstance(one, _Span)])
        found[node] = _Unknown(str(node)) if whole is None else _after(graph, node, modules, whole, axis)
    return found


def _after(graph: fx.GraphModule, node: fx.Node, modules: Mapping[str, nn.Module], span: _Span, axis: int) -> _Found:
    if node.op == "call_module":
        return _after_module(modules[str(node.target)], span, axis) or _Unknown(str(node.target))
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
    if name in _POINTWISE or (name == "sum" and _over_channels(node)) or _takes_channels(node):
        return span
    if name in ("mean", "adaptive_avg_pool2d", "size", "shape", "getattr"):
        return _everything(span)
    window = _FUNCTIONS.get(name)
    return _Unknown(str(node)) if window is None else window(graph, node, span, axis)


def _after_module(module: nn.Module, span: _Span, axis: int) -> _Span | None:
    if isinstance(module, POINTWISE_MODULES):
        return span
    if isinstance(module, nn.Conv2d):
        kernel, stride, dilation = (_of(v, axis) for v in (module.kernel_size, module.stride, module.dilation))
        return _window(span, kernel, stride, _padding(module.padding, kernel, dilation, axis), dilation)
    if isinstance(module, _POOLING):
        kernel, padding = _of(module.kernel_size, axis), _of(module.padding, axis)
        dilation = _of(getattr(module, "dilation", 1), axis)
        return _window(span, kernel, _of(module.stride or module.kernel_size, axis), padding, dilation)
    if isinstance(module, nn.PixelUnshuffle):
        return _window(span, module.downscale_factor, module.downscale_factor, 0)
    if isinstance(module, _PADDING):
        return _shifted(span, module.padding[2 - 2 * axis])  # left, right, top, bottom
    if isinstance(module, _GLOBAL):
        return _everything(span)
    return None


def _window(span: _Span, kernel: int, stride: int, padding: int, dilation: int = 1) -> _Span:
    """Behind a sliding window of `kernel` taps, whose first one lies `padding` samples before the first sample."""
    reach = (kernel - 1) * dilation
    return _Span(
        span.low - padding * span.stride,
        span.high + (reach - padding) * span.stride,
        span.stride * stride,
        span.offset + (reach / 2 - padding) * span.stride,
    )


def _shifted(span: _Span, before: int) -> _Span:
    return _window(span, 1, 1, before)


def _everything(span: _Span) -> _Span:
    return span._replace(low=-math.inf, high=math.inf)


def _together(spans: list[_Span]) -> _Span | None:
    """What a value depends on that is made of several; None where their grids have different strides."""
    local = [span for span in spans if math.isfinite(span.low)] or spans[:1]
    if len({span.stride for span in local}) > 1:
        return None
    low, high = min(span.low for span in spans), max(span.high for span in spans)
    same = len({span.offset for span in local}) == 1 or not math.isfinite(low)
    return _Span(low, high, local[0].stride, local[0].offset if same else (low + high) / 2)


def _of(value: Any, axis: int) -> int:
    return int(value if isinstance(value, int) else value[axis])


def _padding(value: Any, kernel: int, dilation: int, axis: int) -> int:
    if isinstance(value, str):
        return (kernel - 1) * dilation // 2 if value == "same" else 0
    return _of(value, axis)


def _argument(node: fx.Node, place: int, name: str, default: Any) -> Any:
    return node.args[place] if len(node.args) > place else node.kwargs.get(name, default)


def _conv2d(graph: fx.GraphModule, node: fx.Node, span: _Span, axis: int) -> _Found:
    weight: Any = _argument(node, 1, "weight", None)
    if not isinstance(weight, fx.Node) or weight.op != "get_attr":
        return _Unknown(str(node))
    kernel = operator.attrgetter(str(weight.target))(graph).shape[2 + axis]
    stride, padding, dilation = (_argument(node, i, n, d) for i, n, d in _CONVOLUTION)
    dilation = _of(dilation, axis)
    return _window(span, kernel, _of(stride, axis), _padding(padding, kernel, dilation, axis), dilation)


def _pool2d(graph: fx.GraphModule, node: fx.Node, span: _Span, axis: int) -> _Found:
    kernel = _argument(node, 1, "kernel_size", None)
    stride = _argument(node, 2, "stride", None) or kernel
    return _window(span, _of(kernel, axis), _of(stride, axis), _of(_argument(node, 3, "padding", 0), axis))


def _pad(graph: fx.GraphModule, node: fx.Node, span: _Span, axis: int) -> _Found:
    amounts: Any = _argument(node, 1, "pad", ())
    if not all(isinstance(amount, int) for amount in amounts):
        return _Unknown(str(node))
    place = 2 - 2 * axis
    return _shifted(span, amounts[place]) if len(amounts) > place else span


_CONVOLUTION = ((3, "stride", 1), (4, "padding", 0), (5, "dilation", 1))
_FUNCTIONS: dict[str, Callable[[fx.GraphModule, fx.Node, _Span, int], _Found]] = {
    "conv2d": _conv2d,
    "max_pool2d": _pool2d,
    "boolean_dispatch": _pool2d,  # what torch calls F.max_pool2d
    "avg_pool2d": _pool2d,
    "pad": _pad,
}


def _over_channels(node: fx.Node) -> bool:
    return _argument(node, 1, "dim", None) in (1, (1,), [1])


def _takes_channels(node: fx.Node) -> bool:
    """Whether it is x[:, a:b], which leaves every value where it is."""
    if node.target is not operator.getitem:
        return False
    index = node.args[1]
    return isinstance(index, tuple) and len(index) == 2 and bool(index[0] == slice(None))

"""Feature tensors at any node of a network, with where each of their values lies in the frame."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Sequence

from torch import Tensor, fx, nn
from torchvision.models.feature_extraction import NodePathTracer

from nic_lightning.analysis.latent_motion.receptive_field import POINTWISE_MODULES, ReceptiveField, receptive_fields
from nic_lightning.errors import UserError, choices
from nic_lightning.layers.modulation import ModulationNet
from nic_lightning.layers.slimmable import SlimmableConv

_LEAVES = [*POINTWISE_MODULES, SlimmableConv, ModulationNet]
"""Modules that are one node, beside those of torch.nn."""


class Features(nn.Module):
    """Frames (N, 3, H, W), RGB in [0, 1] -> {layer: features (N, C, h, w)}; what lies behind the last layer is cut off.

    A layer is a node of the traced graph by its name in torchvision's style: "layer2.0.add", "features.transition2";
    a module that is no single node stands for its last one. Activations do not work in place, so that
    "layer2.0.add" is the sum itself, and not what the ReLU behind it makes of it.

    Args:
        network: takes what `prepare` makes; it is set to evaluation mode and changed (activations in place).
        layers: names; none: all that have a spatial receptive field.
        name: of the network, for tables and sentences.
        prepare: makes the network's input of frames.
        origin: place in the frame of the first sample that `prepare` gives, below 0 where it pads.
        by_default: of which layers it gives features where none are named.

    Raises:
        UserError: the network cannot be traced, a layer is unknown, or its values have no place in the frame.
    """

    def __init__(
        self,
        network: nn.Module,
        layers: Sequence[str] = (),
        *,
        name: str,
        prepare: Callable[[Tensor], Tensor] | None = None,
        origin: float = 0.0,
        by_default: Callable[[str], bool] = lambda layer: True,
    ) -> None:
        super().__init__()
        self.name = name
        self._prepare = prepare
        graph, nodes = trace(network, name)
        fields = receptive_fields(graph, origin)
        known = {key: node for key, node in nodes.items() if node in fields}
        if not layers:
            layers = [key for key, node in known.items() if _is_local(fields[node]) and by_default(key)]
        if not layers:
            raise UserError(f"{name} has no layer whose values see a part of the frame only; name layers.")
        chosen = {layer: _find(layer, known, name) for layer in layers}
        self.geometry: dict[str, ReceptiveField] = {
            layer: _place(layer, fields[node], name) for layer, node in chosen.items()
        }
        """By layer."""
        self._graph = _cut(graph, chosen)

    @property
    def layers(self) -> tuple[str, ...]:
        """Names, as they were given."""
        return tuple(self.geometry)

    def forward(self, frames: Tensor) -> dict[str, Tensor]:
        """Features of each layer, on the device of the network."""
        frames = frames.to(next(self._graph.parameters(), frames).device)
        return self._graph(frames if self._prepare is None else self._prepare(frames))

    def about_small_frames(self, height: int, width: int) -> str | None:
        """A sentence where some layer sees more than a frame of that size, so that every value sees its border."""
        wide = {layer: field.size for layer, field in self.geometry.items() if field.size > min(height, width)}
        if not wide:
            return None
        listed = ", ".join(f"{layer} ({'all' if math.isinf(size) else int(size)})" for layer, size in wide.items())
        return (
            f"Frames of {width}x{height} pixels are smaller than the receptive field of {listed}: every value there "
            "sees the border, which does not move; larger frames (size=...) tell motion and border apart."
        )


def trace(network: nn.Module, name: str) -> tuple[fx.GraphModule, dict[str, fx.Node]]:
    """The graph of a network in evaluation mode, without operations in place, and its nodes by name.

    Raises UserError where the network's forward pass depends on the values of its input.
    """
    network.eval().requires_grad_(False)
    for module in network.modules():
        if getattr(module, "inplace", False):
            module.inplace = False  # pyright: ignore[reportArgumentType]
    tracer = NodePathTracer(leaf_modules=_LEAVES)
    try:
        graph = tracer.trace(network)
    except Exception as error:  # tracing runs the code of any network, which may fail in any way
        raise UserError(f"{name} cannot be traced, so its layers are not known: {_first_line(error)}.") from error
    for node in graph.nodes:
        if node.kwargs.get("inplace"):
            node.kwargs = {**node.kwargs, "inplace": False}
    nodes = {key: node for node, key in tracer.node_to_qualname.items() if node.op != "placeholder"}
    return fx.GraphModule(tracer.root, graph, name), nodes


def _find(layer: str, known: dict[str, fx.Node], name: str) -> fx.Node:
    if layer in known:
        return known[layer]
    inside = [key for key in known if key.startswith(f"{layer}.")]
    if inside:
        return known[inside[-1]]
    near = difflib.get_close_matches(layer, known, n=1, cutoff=0.6)
    offered = choices(near[0] if near else layer, known)
    raise UserError(f"{name} has no layer {layer!r}; {offered}.")


def _is_local(field: ReceptiveField | str) -> bool:
    return isinstance(field, ReceptiveField) and math.isfinite(field.size)


def _place(layer: str, field: ReceptiveField | str, name: str) -> ReceptiveField:
    if isinstance(field, str):
        raise UserError(
            f"Where the values of layer {layer} of {name} lie in the frame is not known: {field} stands before it; "
            "give a layer before that one."
        )
    return field


def _cut(graph: fx.GraphModule, chosen: dict[str, fx.Node]) -> fx.GraphModule:
    """The graph up to the last of the chosen nodes, which it gives by name."""
    nodes = graph.graph
    for node in [node for node in nodes.nodes if node.op == "output"]:
        nodes.erase_node(node)
    with nodes.inserting_after(list(nodes.nodes)[-1]):
        nodes.output(dict(chosen))
    nodes.eliminate_dead_code()
    graph.delete_all_unused_submodules()
    graph.recompile()
    return graph


def _first_line(error: Exception) -> str:
    lines: Iterable[str] = str(error).strip().splitlines()
    return next(iter(lines), type(error).__name__)[:200].rstrip(".")

"""What an iteration of training a translation codec takes in memory: measured on a GPU, otherwise counted.

Counted is without content (fake tensors), so that the full size needs neither memory nor time: weights, their moving
average, Adam's states, gradients, and the tensors that autograd keeps for the backward pass. Workspaces of kernels,
tensors that live between two operations only and what the allocator leaves unused come on top.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks

from nic_lightning.data.domains import Translation
from nic_lightning.errors import UserError
from nic_lightning.tasks.translation import TranslationTask
from nic_lightning.tasks.translation_steps import portions, take

MIB = 2**20


@dataclass(frozen=True)
class Memory:
    """Bytes of an iteration whose batch is computed in some parts."""

    parts: int
    weights: int
    """Of all networks, discriminators and moving average included."""
    adam: int
    gradients: int
    """At most, in any step."""
    kept: int
    """By autograd, at most."""
    step: str
    """The step that keeps most."""

    @property
    def total(self) -> int:
        """All of it at once."""
        return self.weights + self.adam + self.gradients + self.kept


class Kept:
    """Bytes that autograd keeps: each storage once, those of `known` tensors not at all."""

    def __init__(self, known: Iterable[Tensor]) -> None:
        self.now = self.most = 0
        self._known = {_storage(tensor) for tensor in known}
        self._holders: dict[int, int] = {}

    def pack(self, tensor: Tensor) -> Tensor | _Held:
        """Called by autograd for what it keeps."""
        return tensor if _storage(tensor) in self._known else _Held(self, tensor)

    def add(self, storage: int, size: int) -> None:
        """One more holder of a storage."""
        self._holders[storage] = self._holders.get(storage, 0) + 1
        if self._holders[storage] == 1:
            self.now += size
            self.most = max(self.most, self.now)

    def remove(self, storage: int, size: int) -> None:
        """One fewer."""
        self._holders[storage] -= 1
        if not self._holders[storage]:
            del self._holders[storage]
            self.now -= size


class _Held:
    """A kept tensor, until autograd lets it go."""

    def __init__(self, kept: Kept, tensor: Tensor) -> None:
        self.tensor = tensor
        storage, size = _storage(tensor), tensor.untyped_storage().nbytes()
        kept.add(storage, size)
        weakref.finalize(self, kept.remove, storage, size)


def _unpack(held: Tensor | _Held) -> Tensor:
    return held.tensor if isinstance(held, _Held) else held


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


class _Gradients:
    """In place of an optimiser: notes how many bytes of gradients it was given, and moves nothing."""

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        self.parameters, self.most = list(parameters), 0

    def step(self) -> None:
        """Count."""
        self.most = max(self.most, sum(_bytes(p.grad) for p in self.parameters if p.grad is not None))

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget them."""
        for parameter in self.parameters:
            parameter.grad = None


def count(config: DictConfig, parts: int) -> Memory:
    """What an iteration after the warm-up takes with the batch in `parts`, without content and without a GPU."""
    with torch.device("meta"):
        task = _task(config)
    with FakeTensorMode(), _autocast(config, "cpu"):
        _fake(task)
        assert task.network is not None
        trained = task._trainable()
        gradients = _Gradients(trained)
        batch = _batch(config, -(-config.data.batch_size // parts), "cpu")  # one part lets go before the next begins
        pieces, most, name = portions(batch, task.network.latent_dim, 1), 0, ""
        for step in task.steps(task.warm_up, 1.0):
            kept = Kept(task.parameters())
            with saved_tensors_hooks(kept.pack, _unpack):
                take(step, pieces, gradients, trained)  # pyright: ignore[reportArgumentType]
            if kept.most > most:
                most, name = kept.most, f"{'discriminator' if step.trains_discriminator else 'generator'}, {step.name}"
        weights = sum(_bytes(p) for p in task.parameters())
        adam = 2 * sum(_bytes(p) for p in trained)
    return Memory(parts, weights, adam, gradients.most, most, name)


def measured(config: DictConfig, parts: int) -> int:
    """Bytes that two real iterations allocate on the GPU at most; the second has Adam's states from the start."""
    device = torch.device("cuda")
    task = _task(config).to(device)
    assert task.network is not None
    generator, discriminator, _ = task.configure_optimizers()
    batch = _batch(config, config.data.batch_size, device)
    torch.cuda.reset_peak_memory_stats(device)
    with _autocast(config, "cuda"):
        for _ in range(2):
            for step in task.steps(task.warm_up, 1.0):
                optimizer = discriminator if step.trains_discriminator else generator
                take(step, portions(batch, task.network.latent_dim, parts), optimizer, task._trainable())
    return torch.cuda.max_memory_allocated(device)


def report(config: DictConfig) -> str:
    """A line for each number of parts, from the whole batch to single images."""
    if not str(config.task._target_).endswith("TranslationTask"):
        raise UserError(
            "Only the memory of translation's training is measured: give experiment=ui2icodec or task=translation."
        )
    size, batch, precision = config.codec.size, config.data.batch_size, config.trainer.precision
    choices = [n for n in range(1, batch + 1) if batch % n == 0]
    head = f"{config.name}, images of {size}x{size}, batch {batch}, {precision}"
    if torch.cuda.is_available():
        found = [f"  task.accumulate={n}: {measured(config, n) / MIB:>8,.0f} MiB" for n in choices]
        return "\n".join([f"{head}: most that an iteration allocates on this GPU", *found])
    memories = [count(config, n) for n in choices]
    one = memories[0]
    lines = [
        f"{head}: counted, without a GPU; workspaces and what lives for one operation only come on top",
        f"  weights {one.weights / MIB:,.0f} MiB, Adam's states {one.adam / MIB:,.0f} MiB",
    ]
    for memory in memories:
        lines.append(
            f"  task.accumulate={memory.parts}: {memory.total / MIB:>8,.0f} MiB, of these gradients "
            f"{memory.gradients / MIB:,.0f}, kept by autograd {memory.kept / MIB:,.0f} ({memory.step})"
        )
    return "\n".join(lines)


def _task(config: DictConfig) -> TranslationTask:
    codec = instantiate(config.codec, _convert_="all")
    task = instantiate(config.task, _convert_="all", _partial_=True)(codec=codec, codec_config={})
    task.configure_model()
    return task


def _fake(task: nn.Module) -> None:
    """Tensors of the meta device, which computes in no precision of its own, become ones that act like the CPU's."""
    for module in task.modules():
        for name, parameter in module.named_parameters(recurse=False):
            setattr(module, name, nn.Parameter(_empty(parameter), parameter.requires_grad))
        for name, buffer in module.named_buffers(recurse=False):
            setattr(module, name, _empty(buffer))


def _empty(like: Tensor) -> Tensor:
    return torch.empty(like.shape, dtype=like.dtype, device="cpu")


def _batch(config: DictConfig, count: int, device: Any) -> Translation:
    size = config.codec.size
    source, first, second = (torch.rand(count, 3, size, size, device=device) for _ in range(3))
    domains: Any = torch.arange(count, device=device) % len(config.codec.domains)
    return Translation(source, domains, first, second, domains)


def _autocast(config: DictConfig, kind: str) -> AbstractContextManager[Any]:
    half = str(config.trainer.precision).startswith("bf16")
    return torch.autocast(kind, torch.bfloat16) if half else nullcontext()


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()

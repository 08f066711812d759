"""Packages that others import without need: they are executed when something of theirs is really asked for.

PyTorch Lightning imports all of torchmetrics for one class, and with it torchvision, SciPy and Matplotlib. Adam's first
step, and every operation on the meta device, imports torch._dynamo, and with it SymPy and torch._inductor, to tell a
compiler that does not run to keep away. Together that is more work than all the rest of the start of a training.

Only the console scripts ask for it (`load_late`), so a program that imports nic_lightning finds Python as it was. The
lazy loader of importlib would not do: it executes a package at the first attribute, whichever that is.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any


@dataclass(frozen=True)
class Late:
    """What of a package is there before the package itself."""

    attributes: Mapping[str, Callable[[], Any]]
    """Attributes by name, each with what makes it."""
    alone: Sequence[str] = ()
    """Submodules, with their own, that need nothing of the package around them."""

    def is_alone(self, submodule: str) -> bool:
        """Whether `submodule`, a dotted path below the package, is imported without the package."""
        return submodule.partition(".")[0] in self.alone


def load_late() -> None:
    """From now on, torchmetrics and torch._dynamo are executed when they are used; no change if they are loaded."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def _of(module: str, name: str) -> Callable[[], Any]:
    return lambda: getattr(importlib.import_module(module), name)


def _metric(module: str, name: str) -> Callable[[], Any]:
    def find() -> Any:
        importlib.import_module("torchmetrics.utilities")  # first: torchmetrics.metric needs it, and it the other
        return _of(module, name)()

    return find


def _disable(fn: Any = None, recursive: bool = True, **options: Any) -> Any:
    """`torch._dynamo.disable`: the function itself as long as there is no compiler that could trace it."""
    if fn is None:
        return lambda decorated: _disable(decorated, recursive, **options)
    disabled: list[Any] = []

    def call(*args: Any, **kwargs: Any) -> Any:
        if not _is_late("torch._dynamo"):
            if not disabled:
                disabled.append(sys.modules["torch._dynamo"].disable(fn, recursive, **options))
            return disabled[0](*args, **kwargs)
        return fn(*args, **kwargs)

    return call


def _plot_values(*args: Any, **kwargs: Any) -> Any:
    plot = sys.modules["torchmetrics.utilities.plot"]
    if isinstance(plot, _LateModule):
        _execute(plot)
    return plot.plot_single_or_multi_val(*args, **kwargs)


class _Optimized(type):
    def __instancecheck__(cls, instance: Any) -> bool:
        return not _is_late("torch._dynamo") and isinstance(instance, sys.modules["torch._dynamo"].OptimizedModule)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return not _is_late("torch._dynamo") and issubclass(subclass, sys.modules["torch._dynamo"].OptimizedModule)


class _OptimizedModule(metaclass=_Optimized):
    """`torch._dynamo.OptimizedModule`, for `isinstance`: nothing is one as long as there is no compiler."""


LATE = {
    "torchmetrics": Late(
        attributes={
            "__version__": _of("torchmetrics.__about__", "__version__"),
            "Metric": _metric("torchmetrics.metric", "Metric"),
            "_logger": lambda: logging.getLogger("torchmetrics"),
            "MetricCollection": _metric("torchmetrics.collections", "MetricCollection"),
        },
        alone=("__about__", "utilities", "metric", "collections"),
    ),
    "torchmetrics.utilities.plot": Late(  # imports Matplotlib; without it, types are the same as here
        attributes={
            "_AX_TYPE": lambda: object,
            "_PLOT_OUT_TYPE": lambda: tuple[object, object],
            "plot_single_or_multi_val": lambda: _plot_values,
        }
    ),
    "torch._dynamo": Late(
        attributes={
            "OptimizedModule": lambda: _OptimizedModule,
            "disable": lambda: _disable,
            "graph_break": lambda: lambda msg="": None,
        }
    ),
}


class _LateModule(ModuleType):
    """A package that has been imported and not executed."""

    def __getattr__(self, name: str) -> Any:
        if (make := LATE[self.__name__].attributes.get(name)) is not None:
            try:
                return make()
            except ImportError:  # another version, whose parts do need the whole
                _forget_parts(self.__name__)
        elif name.startswith("__"):  # what the import system and inspect look for, and packages do without
            raise AttributeError(f"module '{self.__name__}' has no attribute '{name}'")
        _execute(self)
        return getattr(self, name)


class _LateLoader(Loader):
    """Leaves a package unexecuted."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _LateModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


class _Present(Loader):
    """Gives a module that another import has loaded in the meantime."""

    def __init__(self, module: ModuleType) -> None:
        self.module, self.own = module, module.__spec__

    def spec(self) -> ModuleSpec | None:
        """For the finder; importlib takes that of the module, where there is one, and would execute it again."""
        self.module.__spec__ = importlib.util.spec_from_loader(self.module.__name__, self)
        return self.module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self.module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self.own


class _Finder(MetaPathFinder):
    def find_spec(self, fullname: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if fullname in LATE:
            spec = PathFinder.find_spec(fullname, path)
            if spec is not None and spec.loader is not None:
                spec.loader = _LateLoader(spec.loader)
            return spec
        for package, late in LATE.items():
            if fullname.startswith(f"{package}.") and _is_late(package):
                if late.is_alone(fullname.removeprefix(f"{package}.")):
                    return None
                _execute(sys.modules[package])
                loaded = sys.modules.get(fullname)
                return None if loaded is None else _Present(loaded).spec()
        return None


def _is_late(package: str) -> bool:
    return isinstance(sys.modules.get(package), _LateModule)


def _forget_parts(package: str) -> None:
    for name in [name for name in sys.modules if name.startswith(f"{package}.")]:
        del sys.modules[name]


def _execute(package: ModuleType) -> None:
    """Execute the package for good, in the module that others hold already."""
    spec = package.__spec__
    assert spec is not None
    assert spec.loader is not None
    package.__class__ = ModuleType
    if isinstance(spec.loader, _LateLoader):
        spec.loader = package.__loader__ = spec.loader.loader
    spec.loader.exec_module(package)

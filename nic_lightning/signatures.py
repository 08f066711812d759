"""What a Hydra `_target_` accepts, read from its source with `ast`: nothing is imported, torch neither."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from nic_lightning.errors import UserError

MAX_HOPS = 20  # re-exports or base classes followed before giving up


class TargetError(UserError):
    """A dotted path that names nothing."""


@dataclass(frozen=True)
class Parameter:
    """One argument: its annotation as a syntax tree, where it has one, and whether it lacks a default."""

    annotation: ast.expr | None = None
    required: bool = False


@dataclass
class Signature:
    """Arguments that can be given by name, in order. `is_open`: others are accepted too (**kwargs)."""

    parameters: dict[str, Parameter] = field(default_factory=dict)
    is_open: bool = False


@dataclass(frozen=True)
class Module:
    """A parsed source file."""

    name: str
    path: Path
    tree: ast.Module

    @property
    def package(self) -> str:
        """The package that relative imports start from."""
        return self.name if self.path.name == "__init__.py" else self.name.rpartition(".")[0]


Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def read_signature(target: str) -> Signature | None:
    """Arguments of the class or function at the dotted path `target`.

    None when the source cannot be read (compiled code). Raises `TargetError` when there is no such thing.
    """
    found = _find(target)
    if found is None:
        return None
    module, definition = found
    if isinstance(definition, ast.ClassDef):
        return _class_signature(module, definition)
    is_method = any(_name(d) == "classmethod" for d in definition.decorator_list)
    return _function_signature(definition, skip_first=is_method)


def defining_module(target: str) -> str | None:
    """The module whose source defines the class or function at the dotted path `target`, through imports and aliases.

    None when no such source can be read. Raises `TargetError` when there is no such thing.
    """
    found = _find(target)
    return None if found is None else found[0].name


def _find(target: str) -> tuple[Module, Definition] | None:
    parts = target.split(".")
    if not importable(parts[0]):
        raise TargetError(f"there is no package '{parts[0]}' for '{target}'")
    for cut in range(len(parts) - 1, 0, -1):
        module = load_module(".".join(parts[:cut]))
        if module is not None:
            return _walk(module, parts[cut:], target)
    return None


def _walk(module: Module, names: list[str], target: str) -> tuple[Module, Definition] | None:
    found = resolve(module, names[0])
    if found is None:
        raise TargetError(f"{module.name} has no '{names[0]}' (for '{target}')")
    owner, definition = found
    for name in names[1:]:
        if not isinstance(definition, ast.ClassDef):
            raise TargetError(f"'{target}' names nothing")
        inner = [d for d in definition.body if isinstance(d, Definition) and d.name == name]
        if not inner:
            raise TargetError(f"{definition.name} has no '{name}' (for '{target}')")
        definition = inner[0]
    return (owner, definition) if definition is not None else None


def importable(package: str) -> bool:
    """Whether there is a package or module of that name; it is not imported."""
    try:
        return importlib.util.find_spec(package) is not None
    except (ValueError, ImportError):
        return False


@lru_cache(maxsize=512)
def load_module(name: str) -> Module | None:
    """Parse the source of module `name`; None when it has none. Parent packages are not imported."""
    top, *rest = name.split(".")
    spec = importlib.util.find_spec(top)
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    path = Path(spec.origin)
    for part in rest:
        if path.name != "__init__.py":
            return None
        candidates = (path.parent / part / "__init__.py", path.parent / f"{part}.py")
        path = next((c for c in candidates if c.is_file()), Path())
        if not path.is_file():
            return None
    return Module(name, path, ast.parse(path.read_text(encoding="utf-8")))


def resolve(module: Module, name: str, hops: int = 0) -> tuple[Module, Definition | None] | None:
    """Follow `name` through definitions, imports and aliases of `module`.

    The definition is None where the trail ends in code without source, the result where nothing has the name.
    """
    if hops > MAX_HOPS:
        return module, None
    stars: list[ast.ImportFrom] = []
    for node in _statements(module.tree.body):
        if isinstance(node, Definition) and node.name == name:
            return module, node
        if isinstance(node, ast.ImportFrom):
            if any(alias.name == "*" for alias in node.names):
                stars.append(node)
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return _resolve_import(module, node, alias.name, hops)
        if isinstance(node, ast.Assign) and any(_name(t) == name for t in node.targets):
            source = _name(node.value)
            return resolve(module, source, hops + 1) if source and source != name else (module, None)
    for node in stars:
        other = load_module(_absolute(module, node))
        found = resolve(other, name, hops + 1) if other else None
        if found is not None:
            return found
    return None


def _resolve_import(
    module: Module, node: ast.ImportFrom, name: str, hops: int
) -> tuple[Module, Definition | None] | None:
    other = load_module(_absolute(module, node))
    if other is None:
        return module, None
    return resolve(other, name, hops + 1) or (other, None)


def _absolute(module: Module, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    base = module.package.split(".")
    base = base[: len(base) - (node.level - 1)]
    return ".".join([*base, node.module] if node.module else base)


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements of a module, those inside `if` and `try` included."""
    for node in body:
        yield node
        if isinstance(node, ast.If):
            yield from _statements(node.body + node.orelse)
        if isinstance(node, ast.Try):
            yield from _statements(node.body + node.orelse + [s for h in node.handlers for s in h.body])


def _class_signature(module: Module, node: ast.ClassDef, hops: int = 0) -> Signature:
    if hops > MAX_HOPS:
        return Signature(is_open=True)
    init = next((d for d in node.body if isinstance(d, ast.FunctionDef) and d.name == "__init__"), None)
    if init is not None:
        own = _function_signature(init, skip_first=True)
        return _with_forwarded(own, init, _base_signatures(module, node, hops)) if own.is_open else own
    bases = _base_signatures(module, node, hops)
    if any(_name(d) == "dataclass" for d in node.decorator_list):
        inherited = {k: v for base in reversed(bases) for k, v in base.parameters.items()}
        return Signature(inherited | _fields(node))
    return bases[0] if bases else Signature()


def _base_signatures(module: Module, node: ast.ClassDef, hops: int) -> list[Signature]:
    """Signatures of the base classes that have one; protocols and bare generics have none."""
    signatures = []
    for base in node.bases:
        name = _name(base.value if isinstance(base, ast.Subscript) else base)
        if name in ("Protocol", "Generic", "ABC", "object"):
            continue
        head, _, attribute = name.partition(".")
        found = _attribute(module, head, attribute) if attribute else resolve(module, name)
        if found is None or not isinstance(found[1], ast.ClassDef):
            signatures.append(Signature(is_open=True))
        else:
            signatures.append(_class_signature(found[0], found[1], hops + 1))
    return signatures


def _attribute(module: Module, head: str, attribute: str) -> tuple[Module, Definition | None] | None:
    """Resolve `head.attribute`, where `head` is an imported module."""
    for node in _statements(module.tree.body):
        full = None
        if isinstance(node, ast.Import):
            full = next((a.name for a in node.names if (a.asname or a.name.split(".")[0]) == head), None)
            full = head if full and full.startswith(f"{head}.") else full
        elif isinstance(node, ast.ImportFrom):
            match = next((a.name for a in node.names if (a.asname or a.name) == head), None)
            full = f"{_absolute(module, node)}.{match}" if match else None
        if full:
            *path, last = attribute.split(".")
            other = load_module(".".join([full, *path]))
            return resolve(other, last) if other else None
    return None


def _with_forwarded(own: Signature, init: ast.FunctionDef, bases: list[Signature]) -> Signature:
    """Add what `__init__` hands on by `super().__init__(..., **kwargs)`."""
    keywords = init.args.kwarg.arg if init.args.kwarg else ""
    for call in (n for n in ast.walk(init) if isinstance(n, ast.Call)):
        is_init = isinstance(call.func, ast.Attribute) and call.func.attr == "__init__"
        if not is_init or not any(k.arg is None and _name(k.value) == keywords for k in call.keywords):
            continue
        base = bases[0] if bases else Signature(is_open=True)
        given = {k.arg for k in call.keywords if k.arg} | set(list(base.parameters)[: len(call.args)])
        handed_on = {k: v for k, v in base.parameters.items() if k not in given}
        return Signature(handed_on | own.parameters, base.is_open)
    return own


def _function_signature(node: ast.FunctionDef | ast.AsyncFunctionDef, skip_first: bool) -> Signature:
    args = node.args
    named = [*args.posonlyargs, *args.args]
    without_default = len(named) - len(args.defaults)
    parameters = {a.arg: Parameter(a.annotation, i < without_default) for i, a in enumerate(named)}
    if skip_first and named:
        del parameters[named[0].arg]
    for arg, default in zip(args.kwonlyargs, args.kw_defaults, strict=True):
        parameters[arg.arg] = Parameter(arg.annotation, default is None)
    return Signature(parameters, args.kwarg is not None)


def _fields(node: ast.ClassDef) -> dict[str, Parameter]:
    return {
        item.target.id: Parameter(item.annotation, item.value is None)
        for item in node.body
        if isinstance(item, ast.AnnAssign)
        and isinstance(item.target, ast.Name)
        and "ClassVar" not in ast.unparse(item.annotation)
    }


def _name(node: ast.expr) -> str:
    """Dotted name of an expression; of a call, that of what is called; "" where it has none."""
    if isinstance(node, ast.Call):
        return _name(node.func)
    if isinstance(node, ast.Attribute):
        head = _name(node.value)
        return f"{head}.{node.attr}" if head else ""
    return node.id if isinstance(node, ast.Name) else ""

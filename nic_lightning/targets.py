"""Compare every `_target_` of a composed config with the signature it names, before anything is built."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterable, Iterator
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

from nic_lightning.errors import FEW, choices
from nic_lightning.signatures import Signature, TargetError, read_signature

if TYPE_CHECKING:
    from omegaconf import DictConfig

RESERVED = frozenset({"_target_", "_partial_", "_args_", "_recursive_", "_convert_"})
PRIMITIVES: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "str": (str,),
    "bytes": (),
    "Path": (str,),
}
SEQUENCES = frozenset({"list", "tuple", "set", "frozenset", "Sequence", "Iterable", "Collection", "List", "Tuple"})
MAPPINGS = frozenset({"dict", "Mapping", "MutableMapping", "Dict"})
SUPPLIED = {"task": frozenset({"codec", "codec_config"})}
"""Required arguments that the program itself hands over when it builds the group."""
IMPLICIT = {"trainer": "pytorch_lightning.Trainer"}
"""Groups whose keys are the keywords of one class, without a `_target_`."""


class _Unknown:
    """A value that is only known later, such as an interpolation of Hydra's own settings."""


UNKNOWN = _Unknown()


def check_targets(config: DictConfig, *, missing_ok: bool = False) -> list[str]:
    """Sentences about arguments that do not fit their `_target_`: unknown, missing, or of the wrong type.

    Takes milliseconds and imports neither torch nor the targets. `missing_ok` lets mandatory
    values (`???`) stay open.
    """
    problems: list[str] = []
    no_codec = "codec" in config and _value(config, "codec") is None
    for path, node in _nodes(config, ""):
        problems += _check_references(path, node, missing_ok)
        target = _value(node, "_target_") if "_target_" in node else IMPLICIT.get(path)
        if isinstance(target, str):
            try:
                signature = read_signature(target)
                problems += _check_arguments(path, node, target, signature)
                if path == "task" and no_codec and signature and "codec" in signature.parameters:
                    problems.append(f"task: {target} trains a codec: choose one, as in codec=modulated.")
            except TargetError as error:
                problems.append(f"{path}: {error}.")
    return problems


def make_lists(config: DictConfig, schemas: Iterable[type]) -> list[str]:
    """Make a list of one string, in place, wherever a list of strings is meant; sentences about what is neither.

    In fields of the dataclasses `schemas` whose metadata say "strings" (numbers become strings there, null is taken
    where "none" says so), and in arguments of targets, of which `check_targets` judges the rest.
    """
    from omegaconf import OmegaConf

    problems = []
    for path, none in sorted(set().union(*(_string_fields(schema) for schema in schemas))):
        parent, _, key = path.rpartition(".")
        node = OmegaConf.select(config, parent) if parent else config
        if node is None or key not in node or OmegaConf.is_missing(node, key) or (node[key] is None and none):
            continue
        items = list(node[key]) if OmegaConf.is_list(node[key]) else [node[key]]
        if all(isinstance(item, str | int | float) and not isinstance(item, bool) for item in items):
            node[key] = [str(item) for item in items]
        else:
            problems.append(f"{path} must be a list of names, not {_show(node[key])}.")
    _wrap_arguments(config)
    return problems


def _string_fields(schema: type, prefix: str = "") -> set[tuple[str, bool]]:
    """Dotted paths of the fields that take strings, and whether each may be null."""
    found: set[tuple[str, bool]] = set()
    for part in fields(schema):
        if part.metadata.get("strings"):
            found.add((f"{prefix}{part.name}", part.metadata["none"]))
        elif is_dataclass(part.default_factory):
            found |= _string_fields(part.default_factory, f"{prefix}{part.name}.")  # pyright: ignore[reportArgumentType]
    return found


def _wrap_arguments(config: DictConfig) -> None:
    for path, node in _nodes(config, ""):
        target = _value(node, "_target_") if "_target_" in node else IMPLICIT.get(path)
        if not isinstance(target, str):
            continue
        try:
            signature = read_signature(target)
        except TargetError:  # for `check_targets` to tell of
            continue
        for key, parameter in signature.parameters.items() if signature else ():
            value, wanted = _value(node, key) if key in node else None, parameter.annotation
            if wanted is None or not isinstance(value, str) or accepts(wanted, value):
                continue
            if accepts(wanted, [value]):
                node[key] = [value]


def nearest(word: str, options: Iterable[str]) -> str:
    """The end of a sentence: " (did you mean 'x'?)", or "" when nothing is near."""
    match = difflib.get_close_matches(word, list(options), n=1, cutoff=0.5)
    return f" (did you mean '{match[0]}'?)" if match else ""


def alternatives(word: str, names: Iterable[str]) -> str:
    """The end of a sentence about a name that is none of `names`, each of which it says once.

    " (did you mean 'b'?); there are: a, b" where they are few, "; the nearest of 24 are b, c, d" where they are many.
    """
    listed = list(dict.fromkeys(names))
    return f"{nearest(word, listed) if len(listed) <= FEW else ''}; {choices(word, listed)}"


def _nodes(node: Any, path: str) -> Iterator[tuple[str, DictConfig]]:
    """Every mapping of the config with its dotted path; what is only referred to is met where it stands."""
    from omegaconf import DictConfig, ListConfig, OmegaConf

    if isinstance(node, DictConfig):
        yield path, node
    for key in range(len(node)) if isinstance(node, ListConfig) else list(node):
        child = UNKNOWN if OmegaConf.is_interpolation(node, key) else _value(node, key)
        if isinstance(child, DictConfig | ListConfig):
            yield from _nodes(child, _join(path, key))


def _join(path: str, key: Any) -> str:
    return f"{path}.{key}" if path else str(key)


def _check_references(path: str, node: DictConfig, missing_ok: bool) -> Iterator[str]:
    from omegaconf import OmegaConf
    from omegaconf.errors import InterpolationKeyError, InterpolationResolutionError

    for key in map(str, node):
        full = _join(path, key)
        if OmegaConf.is_missing(node, key):
            if not missing_ok:
                yield f"{full} needs a value: set {full}=... on the command line."
        elif OmegaConf.is_interpolation(node, key):
            try:
                node[key]
            except InterpolationKeyError as error:
                yield f"{full}: {str(error).splitlines()[0]}."
            except InterpolationResolutionError:
                continue  # a resolver that needs what only a run has, such as Hydra's folders


def _value(node: Any, key: Any) -> Any:
    from omegaconf.errors import InterpolationResolutionError, MissingMandatoryValue

    try:
        return node[key]
    except (InterpolationResolutionError, MissingMandatoryValue):
        return UNKNOWN


def _check_arguments(path: str, node: DictConfig, target: str, signature: Signature | None) -> Iterator[str]:
    if signature is None:
        return
    parameters = signature.parameters
    given = [str(key) for key in node if key not in RESERVED]
    for key in given:
        parameter = parameters.get(key)
        if parameter is None:
            if not signature.is_open:
                yield f"{path}.{key}: {target} has no argument '{key}'{nearest(key, parameters)}."
        elif parameter.annotation is not None and not accepts(parameter.annotation, _value(node, key)):
            wanted = ast.unparse(parameter.annotation).strip("'\"")
            yield f"{path}.{key} must be {wanted}, not {_show(_value(node, key))}."
    if node.get("_partial_") or "_args_" in node:
        return
    supplied = SUPPLIED.get(path, frozenset())
    absent = [k for k, p in parameters.items() if p.required and k not in given and k not in supplied]
    if absent:
        yield f"{path}: {target} needs {', '.join(absent)}."


def _show(value: Any) -> str:
    from omegaconf import OmegaConf

    plain = OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
    text = repr(plain)
    return text if len(text) <= 60 else text[:57] + "..."


def accepts(annotation: ast.expr, value: Any) -> bool:
    """Whether a config value can be an argument of that annotation. Whatever cannot be judged is accepted."""
    from omegaconf import OmegaConf

    if value is UNKNOWN or (OmegaConf.is_config(value) and OmegaConf.is_dict(value) and "_target_" in value):
        return True
    if isinstance(annotation, ast.Constant):
        if isinstance(annotation.value, str):
            return accepts(ast.parse(annotation.value, mode="eval").body, value)
        return annotation.value is not None or value is None
    if isinstance(annotation, ast.BinOp):
        return accepts(annotation.left, value) or accepts(annotation.right, value)
    if isinstance(annotation, ast.Subscript):
        return _accepts_subscript(annotation, value)
    name = _last_name(annotation)
    if name in PRIMITIVES:
        return _is_primitive(name, value)
    if name in SEQUENCES:
        return _is_list(value)
    return OmegaConf.is_dict(value) if name in MAPPINGS else True


def _accepts_subscript(annotation: ast.Subscript, value: Any) -> bool:
    from omegaconf import OmegaConf

    name = _last_name(annotation.value)
    inner = annotation.slice.elts if isinstance(annotation.slice, ast.Tuple) else [annotation.slice]
    if name == "Optional":
        return value is None or accepts(inner[0], value)
    if name == "Union":
        return any(accepts(option, value) for option in inner)
    if name == "Literal":
        return any(isinstance(o, ast.Constant) and o.value == value for o in inner)
    if name in MAPPINGS:
        return OmegaConf.is_dict(value)
    if name not in SEQUENCES:
        return True
    if not _is_list(value):
        return False
    kinds = [k for k in inner if not (isinstance(k, ast.Constant) and k.value is Ellipsis)]
    if len(kinds) == len(inner) and name.lower() == "tuple":
        return len(value) == len(kinds) and all(accepts(k, v) for k, v in zip(kinds, value, strict=True))
    return all(accepts(kinds[0], v) for v in value) if kinds else True


def _is_list(value: Any) -> bool:
    from omegaconf import OmegaConf

    return OmegaConf.is_list(value) or isinstance(value, list)  # a resolver's default comes as it is


def _is_primitive(name: str, value: Any) -> bool:
    if isinstance(value, bool):
        return name == "bool"
    return isinstance(value, PRIMITIVES[name])


def _last_name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


MOVED = {
    "nic_lightning.runs.wandb.wandb_logger": "nic_lightning.runs.loggers.wandb.wandb_logger",
    "nic_lightning.data.domains.DomainDataModule": "nic_lightning.data.domain_module.DomainDataModule",
}
"""Former names of `_target_`s that stand in run folders, and the present ones."""


def with_present_names(config: Any) -> Any:
    """A plain config whose `_target_`s have moved, with their present names."""
    if isinstance(config, dict):
        found = {key: with_present_names(value) for key, value in config.items()}
        target = found.get("_target_")
        return found | {"_target_": MOVED[target]} if isinstance(target, str) and target in MOVED else found
    return [with_present_names(value) for value in config] if isinstance(config, list) else config

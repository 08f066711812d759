from __future__ import annotations

from pathlib import Path

import pytest

from nic_lightning.signatures import TargetError, read_signature

PACKAGE = {
    "toy_package/__init__.py": "from .inner import *\nfrom .inner import Base as Renamed\n"
    "import toy_package.deep\n"
    "Alias = Renamed\nloop = pool\npool = loop\n",
    "toy_package/inner.py": """
from dataclasses import dataclass
from typing import ClassVar, Protocol
import toy_package.deep as deep
from . import deep as sunk
try:
    import fast
except ImportError:
    class Fallback:
        def __init__(self, a, *, b=1): ...

class Base:
    def __init__(self, a: int, b: int = 2): ...
    @classmethod
    def load(cls, path: str): ...

class Child(Base): ...

class Open(Base):
    def __init__(self, c, **kwargs): ...

class Forwarding(Base):
    def __init__(self, c, **kwargs):
        super().__init__(1, **kwargs)

class Deep(deep.Bottom): ...
class Sunk(sunk.Bottom): ...
class Foreign(fast.Thing): ...
class Looks(Protocol): ...
class Empty(Looks): ...

@dataclass(frozen=True)
class Record:
    x: int
    y: str = "y"
    z: ClassVar[int] = 3

@dataclass
class More(Record):
    w: float = 0.0

def function(p, /, q, *, r=None): ...
""",
    "toy_package/deep/__init__.py": "class Bottom:\n    def __init__(self, depth): ...\n",
}


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in PACKAGE.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.parametrize(
    ("target", "required", "optional", "is_open"),
    [
        ("toy_package.inner.Base", "a", "b", False),
        ("toy_package.Child", "a", "b", False),
        ("toy_package.Renamed", "a", "b", False),
        ("toy_package.Alias", "a", "b", False),
        ("toy_package.Open", "c", "", True),
        ("toy_package.Forwarding", "c", "b", False),
        ("toy_package.Deep", "depth", "", False),
        ("toy_package.Sunk", "depth", "", False),
        ("toy_package.Foreign", "", "", True),
        ("toy_package.Empty", "", "", False),
        ("toy_package.Fallback", "a", "b", False),
        ("toy_package.Record", "x", "y", False),
        ("toy_package.More", "x", "w y", False),
        ("toy_package.function", "p q", "r", False),
        ("toy_package.Base.load", "path", "", False),
        ("pytorch_lightning.callbacks.EarlyStopping", "monitor", None, False),
    ],
)
def test_signatures(target: str, required: str, optional: str | None, is_open: bool) -> None:
    signature = read_signature(target)
    assert signature is not None
    parameters = signature.parameters
    assert sorted(k for k, p in parameters.items() if p.required) == required.split()
    if optional is not None:
        assert sorted(k for k, p in parameters.items() if not p.required) == optional.split()
    assert signature.is_open is is_open


@pytest.mark.parametrize("target", ["toy_package.Nothing", "toy_package.Base.nothing", "no_such.Thing", "toy_package"])
def test_what_does_not_exist(target: str) -> None:
    if target == "toy_package":
        assert read_signature(target) is None
        return
    with pytest.raises(TargetError, match=r"there is no package|has no"):
        read_signature(target)


@pytest.mark.parametrize("target", ["math.sqrt", "toy_package.loop", "_pickle.Pickler"])
def test_what_has_no_source_is_left_alone(target: str) -> None:
    assert read_signature(target) is None

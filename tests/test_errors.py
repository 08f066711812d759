from __future__ import annotations

import ast
import re
from pathlib import Path

import nic_lightning
from nic_lightning.errors import choices, counted

MANY = [f"q{number}" for number in range(5, 100, 5)]
CODECS = ["avif", "bpg", "cae", "conditional", "hyperprior", "jpeg", "jpeg2000", "jpeg_444", "jpegxl", "webp"]


def test_few_names_are_listed():
    assert choices("x", ["b", "a", "b"]) == "there are: b, a"
    assert choices("x", []) == "there are: none"


def test_of_many_names_the_near_ones_are_offered():
    assert choices("jpg", CODECS) == "the nearest of 10 are jpeg, jpegxl, bpg"
    assert choices("hyper", CODECS) == "the nearest of 10 is hyperprior"
    assert choices("AVIF", CODECS) == "the nearest of 10 is avif"
    assert choices("zzz", CODECS) == (
        "there are: avif, bpg, cae, conditional, hyperprior, jpeg, jpeg2000, jpeg_444, and 2 more"
    )


def test_of_many_numbers_the_nearest_are_offered():
    assert choices("q51", MANY) == "the nearest of 19 are q50, q55, q45"
    assert choices("q500", MANY) == "the nearest of 19 are q95, q90, q85"
    assert choices("200", [str(2**k) for k in range(5, 15)]) == "the nearest of 10 are 256, 128, 64"
    assert choices("w9", [*MANY, "w8"]) == "the nearest of 20 is w8"


def test_a_number_and_its_noun_agree():
    assert [counted(n, "image") for n in (0, 1, 2, 1200)] == ["0 images", "1 image", "2 images", "1,200 images"]
    assert [counted(n, "image", "is/are") for n in (1, 2)] == ["1 image is", "2 images are"]


def test_no_message_leaves_the_plural_open():
    """No "1 point(s)" in any text of the package."""
    root = Path(nic_lightning.__file__).parent
    open_ones = re.compile(r"(?<=[\w} ])[a-z]{3,}\(s\)")
    texts = [
        (path.name, node.value)
        for path in root.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    assert [(name, text) for name, text in texts if open_ones.search(text)] == []
    assert open_ones.search(" point(s) are")


def test_messages_and_guides_use_the_words_that_a_reader_searches_for():
    """Reported, stated, available, reproduce: not told, not at hand, not have again. "Told apart" is English."""
    wrong = re.compile(
        r"\btold\b(?! apart| to\b)|\btells\b(?!.* (apart|from))|\bat hand\b|\bhave again\b", re.IGNORECASE
    )
    root = Path(nic_lightning.__file__).parent
    texts = [
        (path.name, path.read_text()) for path in (root.parent / "README.md", *(root.parent / "docs").glob("*.md"))
    ]
    for path in root.rglob("*.py"):
        tree = ast.parse(path.read_text())
        documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        docstrings = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
        }
        texts += [
            (path.name, node.value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings
        ]
    assert [(name, found[0]) for name, text in texts if (found := wrong.search(text))] == []

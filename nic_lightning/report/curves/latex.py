"""Text in LaTeX tables."""

from __future__ import annotations

_SIGNS = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
}


def escaped(text: str) -> str:
    """Text in one line, in which no sign commands LaTeX."""
    return "".join(_SIGNS.get(sign, sign) for sign in " ".join(text.split()))

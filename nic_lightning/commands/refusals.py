"""What is wrong with a command line of `nic`, as one sentence. Starts without torch."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Literal, get_args, get_origin

from cyclopts import (
    Argument,
    CoercionError,
    CycloptsError,
    MissingArgumentError,
    UnknownCommandError,
    UnknownOptionError,
    UnusedCliTokensError,
    ValidationError,
)


def refusal(error: CycloptsError) -> str:
    """The sentence for a command line that cyclopts refuses, with the way to the help of its command."""
    if isinstance(error, ValidationError) and error.argument is not None:  # a command's own, about a value
        return f"{error.argument.name} {error.exception_message}"
    program = " ".join(["nic", *(error.command_chain or ())])
    said = _said(error)
    return f"{program}: {said}{'' if said.endswith('?') else '.'} See `{program} --help`."


def _said(error: CycloptsError) -> str:
    match error:
        case UnknownCommandError():
            word = (error.unused_tokens or [""])[0]
            if word.startswith("-"):
                return f"unrecognized arguments: {word}"
            return _no_such(word, sorted(name for name in error.app or () if not name.startswith("-")))
        case UnknownOptionError():
            given = error.token.keyword or error.token.value
            written = (word for word in error.root_input_tokens or () if word.split("=")[0] == given)
            names = [name for argument in error.argument_collection for name in argument.names if argument.parse]
            near = difflib.get_close_matches(given, names, n=1) if given.startswith("--") else []
            hint = f"; did you mean {near[0]}?" if near else ""
            return f"unrecognized arguments: {next(written, given)}{hint}"
        case UnusedCliTokensError():
            return f"unrecognized arguments: {' '.join(error.unused_tokens or ())}"
        case MissingArgumentError():
            if error.keyword is not None:
                return f"argument {error.keyword}: expected an argument"
            return f"the following arguments are required: {', '.join(_missing(error))}"
        case CoercionError() if error.token is not None and error.target_type is not None:
            return _unreadable(error)
        case ValidationError():
            return error.exception_message
    error.verbose = False
    return " ".join(str(error).split()).rstrip(".")


def _no_such(word: str, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, names, n=1)
    hint = f"did you mean '{near[0]}'? There" if near else "there"
    return f"there is no '{word}': {hint} are {', '.join(names)}"


def _missing(error: MissingArgumentError) -> list[str]:
    """Every required parameter that the command line leaves out; cyclopts names only the first."""
    given = {token.split("=")[0] for token in error.root_input_tokens or ()}
    required: Sequence[Argument] = ()
    if error.app is not None and error.command_chain:
        required = error.app.assemble_argument_collection(parse_docstring=False)
    first = error.argument
    missing = [a for a in required if a.required and a.names[0].startswith("-") and not given & set(a.names)]
    if first is not None and all(first.name != a.name for a in missing):
        missing.insert(0, first)
    return ["/".join(sorted(argument.names, key=len)) for argument in missing]


def _unreadable(error: CoercionError) -> str:
    assert error.token is not None
    text, asked = error.token.value, error.target_type
    if get_origin(asked) is Literal:
        return _no_such(text, get_args(asked))
    name = error.token.keyword or (error.argument.name if error.argument else "")
    if error.msg is not None:
        return f"argument {name}: {error.msg}"
    return f"argument {name}: invalid {getattr(asked, '__name__', asked)} value: {text!r}"

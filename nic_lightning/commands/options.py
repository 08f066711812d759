"""Types of arguments that several commands of `nic` take, and how their text is read. Starts without torch."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import ArgumentCollection, Group, Parameter, Token, convert

from nic_lightning.errors import UserError

Command = Callable[..., int]
Out = Annotated[Path, Parameter(name=("--out", "-o"), metavar="DIR")]
OutOrBeside = Annotated[Path | None, Parameter(name=("--out", "-o"), metavar="DIR")]
Overwrite = Annotated[bool, Parameter(name="--overwrite")]
Json = Annotated[bool, Parameter(name="--json")]
ConfigDirs = Annotated[tuple[Path, ...], Parameter(name="--config-dir", metavar="DIR")]
Runs = Annotated[list[Path], Parameter(name="RUN")]
Overrides = Annotated[str, Parameter(name="KEY=VALUE")]


@dataclass(frozen=True)
class Option:
    """An option that is declared elsewhere than in its command's signature."""

    name: str
    annotation: Any
    default: Any = None


def takes(options: Iterable[Option], after: str | None = None) -> Callable[[Command], Command]:
    """Put options in the place of a command's `**options`, behind the parameter `after`, or behind all.

    cyclopts reads signature and annotations.
    """

    def decorated(command: Command) -> Command:
        signature = inspect.signature(command)
        own = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
        place = len(own) if after is None else 1 + [p.name for p in own].index(after)
        made = []
        for option in options:
            command.__annotations__[option.name] = option.annotation
            made.append(inspect.Parameter(option.name, inspect.Parameter.KEYWORD_ONLY, default=option.default))
        command.__signature__ = signature.replace(parameters=own[:place] + made + own[place:])  # pyright: ignore[reportFunctionMemberAccess]
        return command

    return decorated


def exclusive(title: str) -> Group:
    """A group of options of which one at most is given; help lists them under the title."""
    return Group(title, validator=_one_at_most)


def _one_at_most(arguments: ArgumentCollection) -> None:
    given = [argument for argument in arguments if argument.tokens]
    if len(given) > 1:
        names = [argument.tokens[0].keyword for argument in given[:2]]
        raise ValueError(f"argument {names[1]}: not allowed with argument {names[0]}")


def at_least_one(type_: Any, value: Any) -> None:
    """Validator of a count. Raises ValueError for one below 1; the sentence goes behind the option's name."""
    if value is not None and value < 1:
        raise ValueError(f"is at least 1, not {value}.")


def one_to_hundred(type_: Any, value: Any) -> None:
    """Validator of a quality, as `at_least_one`."""
    if value is not None and not 1 <= value <= 100:
        raise ValueError(f"is a whole number from 1 to 100, not {value}.")


def a_multiple_of_the_stride(type_: Any, value: Any) -> None:
    """Validator of the side of training crops, as `at_least_one`: codecs without padding give others another size."""
    at_least_one(type_, value)
    if value % 16:
        raise ValueError(f"is a multiple of 16, the stride of the codecs, not {value}.")


Count = Annotated[int, Parameter(metavar="N", validator=at_least_one)]
Crop = Annotated[int, Parameter(metavar="N", validator=a_multiple_of_the_stride)]
Threads = Count | None
ImageSize = Annotated[str, Parameter(metavar="HxW")]


def read(type_: Any, tokens: Sequence[Token]) -> Any:
    """Convert what was written for one parameter, as cyclopts does, but for whole numbers.

    cyclopts rounds 1.5 to 2 where an int is asked for; here it is a mistake.
    """
    return convert(type_, tokens, converter=_read_one)


def _read_one(type_: Any, text: Any) -> Any:
    if type_ is int:
        return int(text)
    return convert(type_, [text])


def comma_separated(type_: Any, tokens: Sequence[Token]) -> list[str]:
    """What stands between the commas of one word: --domains cat,dog."""
    return tokens[-1].value.split(",")


def require_folders(config_dirs: Sequence[Path]) -> None:
    """Raise UserError for a --config-dir that is no folder."""
    for folder in config_dirs:
        if not folder.is_dir():
            raise UserError(f"--config-dir {folder} is no folder; give one that holds codec/NAME.yaml.")


def count(type_: Any, tokens: Sequence[Token]) -> int:
    """A whole number from 0 to 100,000. Raises ValueError for what is none."""
    text = tokens[-1].value
    if not text.isascii() or not text.isdigit() or int(text) > 100_000:
        raise ValueError(f"{text!r} is not a whole number from 0 to 100,000")
    return int(text)


def whole_numbers(type_: Any, tokens: Sequence[Token]) -> tuple[int, ...]:
    """What stands between the commas of one word: --widths 48,96,192. Raises ValueError for what is no such list."""
    try:
        return tuple(int(part) for part in tokens[-1].value.split(","))
    except ValueError:
        raise ValueError(f"{tokens[-1].value!r} is no list of numbers, such as 48,96,192") from None

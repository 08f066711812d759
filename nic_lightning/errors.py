"""Errors that a user can act on: one sentence that names the thing and the way out."""

from __future__ import annotations

import difflib
import errno
import os
import re
import select
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import IO

READER_GONE = 141
"""Exit code when the reader of our output has gone, as a shell reports SIGPIPE."""


class UserError(Exception):
    """Wrong input. The command lines print its sentence and exit with its code, without a traceback."""

    exit_code = 2


class BitstreamError(UserError):
    """A file that cannot be decoded: cut, altered, foreign, or made by another model."""


class DataError(UserError):
    """A data set, image or folder that is missing, damaged or not what it claims to be."""


class RunError(UserError):
    """A run folder or checkpoint that is missing, damaged or in the way."""


class Interrupted(RunError):
    """A run was stopped from outside, its last checkpoint intact."""

    exit_code = 130


def counted(number: int, noun: str, verbs: str = "") -> str:
    """A number and its noun, "1 image" or "1,200 images"; with verbs such as "is/are" the one that fits behind it."""
    one, many = verbs.split("/") if verbs else ("", "")
    text = f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
    return f"{text} {one if number == 1 else many}".rstrip()


FEW, NEAR = 8, 3
"""Names that a sentence lists, and how many it offers of more than that."""


def choices(word: str, names: Iterable[str]) -> str:
    """What to offer for a name that is none of `names`, as the end of a sentence.

    "there is only a" or "there are: a, b" where they are few, "the nearest of 24 are a, b, c" where they are many, and
    the first few where none is near. Of names such as "q50" those of the nearest number are near.
    """
    listed = list(dict.fromkeys(names))
    if len(listed) <= FEW:
        return f"there is only {listed[0]}" if len(listed) == 1 else f"there are: {', '.join(listed) or 'none'}"
    near = _nearest_numbers(word, listed) or _nearest_words(word, listed)
    if near:
        return f"the nearest of {len(listed)} {'is' if len(near) == 1 else 'are'} {', '.join(near)}"
    return f"there are: {', '.join(listed[:FEW])}, and {len(listed) - FEW} more"


def _nearest_words(word: str, names: list[str]) -> list[str]:
    """Those that share most letters, nearest first; where none does, without regard to upper and lower case."""
    if near := difflib.get_close_matches(word, names, n=NEAR, cutoff=0.5):
        return near
    lowered = {name.lower(): name for name in names}
    return [lowered[name] for name in difflib.get_close_matches(word.lower(), lowered, n=NEAR, cutoff=0.5)]


def _nearest_numbers(word: str, names: list[str]) -> list[str]:
    """Where word and names are numbers behind one beginning: those of the nearest numbers, nearest first."""
    parts = [re.fullmatch(r"(\D*)(\d{1,15}(?:\.\d{1,15})?)", text) for text in (word, *names)]
    found = [(part[1], float(part[2])) for part in parts if part]
    if len(found) < len(parts) or len({beginning for beginning, _ in found}) > 1:
        return []
    return sorted(names, key=lambda name: abs(found[names.index(name) + 1][1] - found[0][1]))[:NEAR]


_MAKE_ROOM, _ELSEWHERE = "make room, and the same command goes on", "give a folder that you may write to"
_WAYS_OUT = {
    errno.ENOSPC: _MAKE_ROOM,
    errno.EDQUOT: _MAKE_ROOM,
    errno.EFBIG: "raise the limit (ulimit -f), or use another disk",
    errno.EMFILE: "raise the limit (ulimit -n)",
    errno.ENAMETOOLONG: "give a shorter name",
    errno.EROFS: _ELSEWHERE,
    errno.EACCES: _ELSEWHERE,
    errno.EPERM: _ELSEWHERE,
    errno.ENOENT: _ELSEWHERE,  # as in /proc, where no folder can be made
    errno.ENOTDIR: _ELSEWHERE,
    errno.EISDIR: _ELSEWHERE,
    errno.EEXIST: _ELSEWHERE,  # a file where a folder should be
}
_NAMED = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST)
"""Without the name of a file, these come from elsewhere than a disk."""


def disk_error(error: BaseException) -> UserError | None:
    """The sentence for a disk that is full, forbidden or not there; None for any other error, which may be a bug."""
    if not isinstance(error, OSError) or error.errno not in _WAYS_OUT:
        return None
    if error.filename is None and error.errno in _NAMED:
        return None
    reason = os.strerror(error.errno)  # some libraries put a text of their own into the error
    return UserError(f"{error.filename or 'A file'} cannot be used: {reason}; {_WAYS_OUT[error.errno]}.")


@contextmanager
def readers_may_leave() -> Iterator[None]:
    """End without a traceback, with code `READER_GONE`, when the reader of our output goes: `nic-train --help | head`.

    Every console script runs inside it. A broken pipe to another process stays an error.
    """
    try:
        try:
            yield
        except SystemExit:
            sys.stdout.flush()
            raise
        sys.stdout.flush()  # here, and not while the interpreter ends, which would print what goes wrong
    except BrokenPipeError:
        gone = [stream for stream in (sys.stdout, sys.stderr) if _reader_is_gone(stream)]
        if not gone:
            raise
        for stream in gone:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        sys.exit(READER_GONE)


def _reader_is_gone(stream: IO[str]) -> bool:
    with suppress(OSError, ValueError):  # a stream without a file, as tests have
        poll = select.poll()
        poll.register(stream.fileno(), 0)  # errors are reported unasked
        return any(event & select.POLLERR for _, event in poll.poll(0))
    return False

"""Errors that a user can act on: one sentence that names the thing and the way out."""

from __future__ import annotations

import errno
import os


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

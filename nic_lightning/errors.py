"""Errors that a user can act on: one sentence that names the thing and the way out."""

from __future__ import annotations


class UserError(Exception):
    """Wrong input. The command lines print its sentence and exit with its code, without a traceback."""

    exit_code = 2


class BitstreamError(UserError):
    """A file that cannot be decoded: cut, altered, foreign, or made by another model."""


class DataError(UserError):
    """A data set, image or folder that is missing, damaged or not what it claims to be."""


class RunError(UserError):
    """A run folder or checkpoint that is missing, damaged or in the way."""

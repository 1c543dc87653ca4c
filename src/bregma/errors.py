"""Every error that bregma raises on purpose: what was wrong, where, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

__all__ = [
    "BregmaError",
    "CannotPerturb",
    "InvalidArgument",
    "InvalidEquation",
    "InvalidRecording",
    "MissingExtra",
    "ModelUnavailable",
    "NotIdentifiable",
    "PerturbationConflict",
    "UnknownName",
    "UnreadableRecording",
    "UnstableSimulation",
    "nearest",
]


def nearest(name: object, available: Iterable[object], most: int = 5) -> list[str]:
    """Names closest to the one that was asked for, best first.

    Parameters
    ----------
    name : object
        What was asked for.
    available : iterable of object
        What there is.
    most : int
        How many names to return at most.

    Returns
    -------
    list of str
        Similar names; the first few available ones where nothing is similar.
    """
    names = list(dict.fromkeys(map(str, available)))
    return difflib.get_close_matches(str(name), names, n=most, cutoff=0.5) or names[:most]


class BregmaError(Exception):
    """Base of all errors that bregma raises on purpose."""


class InvalidRecording(BregmaError, ValueError):
    """Data that cannot be a Recording: duplicate ids, NaN, mismatched presentations, ..."""


class InvalidArgument(BregmaError, ValueError):
    """An argument outside what the function allows."""


class InvalidEquation(InvalidArgument):
    """Text of a neuron or synapse that has no meaning; the message points at the place.

    Parameters
    ----------
    reason : str
        What was wrong and what was expected.
    line : str
        The line of text.
    number : int
        Which line it is, from 1.
    column, width : int
        Where in the line, from 0, and how wide.
    """

    def __init__(
        self, reason: str, *, line: str = "", number: int = 1, column: int = 0, width: int = 1
    ) -> None:
        self.reason, self.line, self.number, self.column = reason, line, number, column
        below = " " * column + "^" * max(1, min(width, len(line) - column))
        super().__init__(
            f"{reason}\n  line {number}: {line}\n  {' ' * len(f'line {number}: ')}{below}"
        )


class UnstableSimulation(BregmaError, ArithmeticError):
    """A state became NaN or infinite, or the time step is too long for the equations."""


class ProcessFailed(BregmaError, RuntimeError):
    """Another of the processes that run something together failed, died or did not answer."""


class NotIdentifiable(BregmaError, ValueError):
    """The data cannot answer the question: too few stimuli, subjects, repeats or arrangements."""


class PerturbationConflict(BregmaError, ValueError):
    """Two perturbations act on the same units of the same site."""


class CannotPerturb(BregmaError, TypeError):
    """The system has no mechanism to act on, for example because it was only recorded."""


class ModelUnavailable(BregmaError, RuntimeError):
    """A named model or its weights cannot be had on this machine."""


class MissingExtra(BregmaError, ImportError):
    """A library of an optional extra is not installed."""


class UnknownName(BregmaError, KeyError):
    """A coordinate, site, unit, model or measure that does not exist."""

    @classmethod
    def of(cls, kind: str, name: object, available: Iterable[object]) -> UnknownName:
        """Build the error with the nearest names.

        Parameters
        ----------
        kind : str
            What the name should have been, such as ``"coordinate"``.
        name : object
            What was asked for.
        available : iterable of object
            What there is.

        Returns
        -------
        UnknownName
            The error, to be raised by the caller.
        """
        available = list(available)
        if not available:
            return cls(f"there is no {kind} {str(name)!r}; there are none at all")
        near = ", ".join(map(repr, nearest(name, available)))
        return cls(f"there is no {kind} {str(name)!r}; nearest of {len(available)}: {near}")

    def __str__(self) -> str:  # KeyError would show the repr of the message
        return str(self.args[0]) if self.args else ""


class UnreadableRecording(BregmaError, OSError):
    """A file that cannot be read as a recording: truncated, empty, hostile or of another kind.

    Parameters
    ----------
    path : str or Path
        The file.
    reason : str
        Why it cannot be read and what to do about it.
    """

    def __init__(self, path: str | Path, reason: str) -> None:
        self.path, self.reason = str(path), reason
        super().__init__(f"cannot read {self.path}: {reason}")

    def __reduce__(self) -> tuple[type[UnreadableRecording], tuple[str, str]]:
        return type(self), (self.path, self.reason)

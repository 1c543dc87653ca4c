"""What scores are to generalise over: new subjects, new stimuli, or both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast, get_args

from bregma.errors import InvalidArgument, NotIdentifiable, UnknownName

Factor = Literal["subject", "stimulus"]


def as_factors(over: Sequence[str]) -> tuple[Factor, ...]:
    """The factors, each once; an unknown one is an error with the nearest names."""
    for factor in over:
        if factor not in get_args(Factor):
            raise UnknownName.of("factor to generalise over", factor, get_args(Factor))
    if not over:
        raise InvalidArgument("over= must name 'subject', 'stimulus' or both")
    return cast(tuple[Factor, ...], tuple(dict.fromkeys(over)))


def identifiable(over: Sequence[str], n_subjects: int) -> tuple[Factor, ...]:
    """The factors as far as the data can tell: a single subject says nothing about others."""
    factors = as_factors(over)
    if n_subjects > 1:
        return factors
    if "stimulus" not in factors:
        raise NotIdentifiable(
            "not identifiable with 1 subject: how scores vary over subjects needs at least 2; "
            "ask for over=('stimulus',)"
        )
    return ("stimulus",)

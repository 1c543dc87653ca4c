"""What an experiment measures, and what must come out of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bregma.errors import InvalidArgument


@dataclass(frozen=True)
class Curve:
    """A line to draw with the result; curves with the same axes share a panel.

    Parameters
    ----------
    x, y : sequence of float
        The points; kept as tuples.
    x_name, y_name : str
        What the axes are, with units.
    """

    x: Sequence[float | int] | np.ndarray
    y: Sequence[float | int] | np.ndarray
    x_name: str
    y_name: str

    def __post_init__(self) -> None:
        for name in ("x", "y"):
            object.__setattr__(self, name, tuple(float(value) for value in getattr(self, name)))
        if len(self.x) != len(self.y):
            raise InvalidArgument(f"a curve of {len(self.x)} x and {len(self.y)} y has no points")


Measures = Mapping[str, "float | Curve"]


@dataclass(frozen=True, kw_only=True)
class Expect:
    """What must come out: one measure above or below another one or a number.

    The effect of a seed is ``measure - (times * reference + by)`` for `above`, and
    ``(times * reference - by) - measure`` for `below`: it has to be positive.

    Parameters
    ----------
    measure : str
        Name of what the experiment measured.
    above, below : str or float
        The control's measure, or a number; exactly one of the two.
    by : float
        How far beyond it, 0 or more.
    times : float
        How often the reference: 4 for 'at least four times the control'.
    says : str
        The expectation in words.
    paper : str
        What the paper reports and why ours may differ (scale, data); empty where it says nothing.

    Raises
    ------
    InvalidArgument
        If not exactly one of `above` and `below` is given, or a number is out of range.
    """

    measure: str
    above: str | float | int | None = None
    below: str | float | int | None = None
    by: float | int = 0.0
    times: float | int = 1.0
    says: str
    paper: str = ""

    def __post_init__(self) -> None:
        if (self.above is None) == (self.below is None):
            raise InvalidArgument(f"{self.measure!r} has to be above or below something, not both")
        if self.by < 0 or self.times <= 0:
            raise InvalidArgument(
                f"by must not be negative and times positive for {self.measure!r}"
            )

    @property
    def direction(self) -> Literal["above", "below"]:
        """On which side of the reference the measure must be."""
        return "below" if self.above is None else "above"

    @property
    def reference(self) -> str | float | int:
        """What the measure is held against."""
        return self.below if self.above is None else self.above  # type: ignore[return-value]

    @property
    def names(self) -> set[str]:
        """The measures that it needs."""
        return {self.measure} | ({self.reference} if isinstance(self.reference, str) else set())

    def of(self, measures: Mapping[str, float]) -> tuple[float, float]:
        """Effect of one seed.

        Parameters
        ----------
        measures : mapping of str to float
            What the experiment measured.

        Returns
        -------
        direction, size : float
            How far the measure is beyond the reference, and beyond the asked bound.
        """
        reference = measures[self.reference] if isinstance(self.reference, str) else self.reference
        sign = 1 if self.direction == "above" else -1
        measured = measures[self.measure]
        return (
            sign * (measured - reference),
            sign * (measured - self.times * reference) - self.by,
        )

    def __str__(self) -> str:
        bound = f"{self.times:g} x {self.reference}" if self.times != 1 else f"{self.reference}"
        if self.by:
            bound += f" {'+' if self.direction == 'above' else '-'} {self.by:g}"
        return f"{self.measure} {'>' if self.direction == 'above' else '<'} {bound}"

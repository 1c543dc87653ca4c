"""What a report can show beside the evidence itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from bregma.errors import InvalidArgument

BARS = ["name", "value", "low", "high"]


@dataclass(frozen=True, kw_only=True)
class TimeCourse:
    """Scores over time, with what chance does.

    Parameters
    ----------
    title : str
        Heading of the figure.
    times : array of shape (time,)
        In seconds.
    scores : mapping of str to array of shape (time,)
        One line per name; one at least.
    measure : str
        Label of the vertical axis, with its unit.
    band : array of shape (2, time), optional
        Lower and upper end of what chance does.
    band_says : str
        What the band is: what was exchanged, at which level.
    chance : float, optional
        Where chance is on average.
    above : array of bool, shape (time,), optional
        Where the first score is above chance, corrected for the number of times.
    text : str
        A sentence for the reader.

    Raises
    ------
    InvalidArgument
        When there is no line, shapes differ, numbers are not finite, or a band has no explanation.
    """

    title: str
    times: Float[np.ndarray, " time"]
    scores: Mapping[str, Float[np.ndarray, " time"]]
    measure: str
    band: Float[np.ndarray, "2 time"] | None = None
    band_says: str = ""
    chance: float | None = None
    above: Bool[np.ndarray, " time"] | None = None
    text: str = ""

    def __post_init__(self) -> None:
        if not self.scores:
            raise InvalidArgument(f"the time course {self.title!r} needs scores: one line or more")
        beside = {"times": self.times, "band": self.band, "above": self.above}
        for name, values in [*beside.items(), *self.scores.items()]:
            if values is None:
                continue
            if values.shape[-1] != self.times.size or not np.isfinite(values).all():
                raise InvalidArgument(
                    f"{name!r} of the time course {self.title!r} needs one finite number for each "
                    f"of {self.times.size} times, not the shape {values.shape}"
                )
        if self.band is not None and not self.band_says.strip():
            raise InvalidArgument("the band of a time course needs band_says: what it shows")


@dataclass(frozen=True, kw_only=True)
class Section:
    """A further section: text, bars with intervals, a table; such as what a lesion does.

    Parameters
    ----------
    title : str
        Its heading.
    text : tuple of str
        Its paragraphs.
    bars : DataFrame, optional
        Columns ``name``, ``value``, ``low``, ``high``; one bar per row.
    axis : str
        What the bars measure, with its unit.
    table : DataFrame, optional
        Shown as it is.

    Raises
    ------
    InvalidArgument
        When the bars lack a column, or there are bars and no axis.
    """

    title: str
    text: tuple[str, ...] = ()
    bars: pd.DataFrame | None = None
    axis: str = ""
    table: pd.DataFrame | None = None

    def __post_init__(self) -> None:
        if self.bars is None:
            return
        if missing := [c for c in BARS if c not in self.bars.columns]:
            raise InvalidArgument(f"the bars of {self.title!r} lack {', '.join(missing)}")
        if not np.isfinite(self.bars[BARS[1:]].to_numpy(float)).all() or not self.axis.strip():
            raise InvalidArgument(f"the bars of {self.title!r} need finite numbers and an axis")

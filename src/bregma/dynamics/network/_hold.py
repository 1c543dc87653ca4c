"""Hold: variables or spikes of some units that are as one says, whatever the equations say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bregma.dynamics.language import _units
from bregma.errors import InvalidArgument
from bregma.recording import SpikeTrains

SPIKES = "spikes"
FREE = -1  # a unit whose spikes are its own, in the spikes of a `HoldPlan`
FOREVER = 2**62  # steps


@dataclass(frozen=True, eq=False)
class Hold:
    """What some units do in a window of time, instead of what their equations say.

    A held *variable* has its value at the beginning of every step of the window: within the step
    it moves by its equation, so that the unit can spike, and at the end of the step it is set
    again. *Spikes* that are held happen in the steps that say so, with reset and refractory time,
    and in no other: where a unit reaches its threshold and is not to spike it is reset, but nobody
    hears of it, neither synapses nor recordings. Of several holds of one unit, the last one
    counts.

    Parameters
    ----------
    population : str
        Whose.
    variable : str
        A variable of its equations, or ``"spikes"``.
    values : float, str or array
        One number, one for each of the units, or (frame, unit) over time. Of spikes: 0 and 1, or
        SpikeTrains of the units. NaN leaves a unit alone.
    units : array of int, optional
        Which units; all by default.
    start, stop : float or str
        The window: from `start` up to `stop`, without end where it is None.
    frame : float or str, optional
        How long each row of values over time lasts, one step by default; the last row stays.
    """

    population: str
    variable: str
    values: Any
    units: Any = None
    start: float | str = 0.0
    stop: float | str | None = None
    frame: float | str | None = None


@dataclass(frozen=True, eq=False)
class HoldPlan:
    """A hold with its numbers.

    units : which. values : (frame, selected) of the type of the plan with NaN for "left alone", or
    int8 with -1 for that where it holds spikes. Row (j - first) // frame_steps, or the last one, is
    for j from `first` up to `last`, where j is the step for spikes, and for variables the number of
    steps that are done: they are set before the first step of a run and after each step, when
    everything was delivered and before anything is written down.
    """

    population: str
    variable: str
    units: np.ndarray
    values: np.ndarray
    frame_steps: int
    first: int
    last: int

    def row(self, j: int) -> np.ndarray | None:
        """Values at a time, None outside of the window."""
        if not self.first <= j < self.last:
            return None
        return self.values[min((j - self.first) // self.frame_steps, len(self.values) - 1)]


def window_steps(start: Any, stop: Any, dt: float, what: str) -> tuple[int, int]:
    """First step of a window, and the first one behind it."""
    first = round(_units.seconds(start, f"start of {what}") / dt)
    last = FOREVER if stop is None else round(_units.seconds(stop, f"stop of {what}") / dt)
    if first < 0 or last <= first:
        raise InvalidArgument(f"the window of {what} is empty: {start!r} to {stop!r}")
    return first, last


def chosen_units(units: Any, size: int, what: str) -> np.ndarray:
    """Numbers of units, checked; all of them where it is None."""
    if units is None:
        return np.arange(size)
    found = np.atleast_1d(np.asarray(units))
    if found.dtype == bool and found.shape == (size,):
        return np.flatnonzero(found)
    if found.dtype.kind not in "iu" or found.ndim != 1 or not len(found):
        raise InvalidArgument(f"units of {what} are whole numbers 0 to {size - 1}, not {units!r}")
    if found.min() < 0 or found.max() >= size:
        wrong = found[(found < 0) | (found >= size)][0]
        raise InvalidArgument(f"{what} has no unit {wrong}; they are 0 to {size - 1}")
    if len(np.unique(found)) < len(found):
        raise InvalidArgument(f"units of {what} are named more than once")
    return found.astype(np.int64)


def _rows_of(trains: SpikeTrains, dt: float, first: int) -> np.ndarray:
    """Zeros and ones (step, unit) from step `first` on, and a last row that stays: no spikes."""
    steps = np.round(trains.times / dt).astype(np.int64) - 1 - first
    here = steps >= 0
    rows = np.zeros((int(steps.max(initial=-1)) + 2, trains.n_units), np.int8)
    rows[steps[here], trains.unit_index[here]] = 1
    return rows


def hold_plan(h: Hold, size: int, dt: float, dtype: np.dtype) -> HoldPlan:
    """Give a hold its numbers.

    Parameters
    ----------
    h : Hold
        What to hold.
    size : int
        Of the population.
    dt : float
        Seconds per step.
    dtype : dtype
        Of the variables.

    Returns
    -------
    HoldPlan
        Its numbers.
    """
    what = f"the hold of {h.variable!r} of {h.population!r}"
    units = chosen_units(h.units, size, what)
    first, last = window_steps(h.start, h.stop, dt, what)
    if isinstance(h.values, SpikeTrains):
        values = _rows_of(h.values, dt, first)
    else:
        values = np.asarray(_units.quantity(h.values)[0], dtype=np.float64)
    if values.ndim > 2 or (values.ndim and values.shape[-1] != len(units)):
        raise InvalidArgument(
            f"{what} has values of shape {values.shape}; the last axis must be {len(units)} units"
        )
    if np.isinf(values).any():
        raise InvalidArgument(f"{what} has infinite values")
    rows = np.broadcast_to(np.atleast_2d(values), (len(np.atleast_2d(values)), len(units)))
    if h.variable == SPIKES:
        if not (np.isnan(rows) | (rows == 0) | (rows == 1)).all():
            raise InvalidArgument(f"{what}: spikes are 0 or 1 (or NaN, to leave a unit alone)")
        rows = np.where(np.isnan(rows), FREE, np.nan_to_num(rows))
    frame = 1 if h.frame is None else round(_units.seconds(h.frame, "frame") / dt)
    if frame < 1:
        raise InvalidArgument(f"{what}: a frame must be at least one step long")
    kind = np.int8 if h.variable == SPIKES else dtype
    return HoldPlan(
        h.population, h.variable, units, np.ascontiguousarray(rows, kind), frame, first, last
    )

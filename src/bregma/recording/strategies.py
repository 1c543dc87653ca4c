"""Hypothesis strategies that draw recordings, spike trains and dissimilarities of every kind.

For tests of code that takes them: what a strategy draws is valid, small, and odd where it may
be odd (any text as a label, any type of number, dates, uneven times).

Examples
--------
>>> from hypothesis import given
>>> from bregma.recording.strategies import recordings
>>> @given(recordings(has_time=False))
... def test_mine(recording):
...     assert recording.n_units > 0
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd

from bregma._extras import require
from bregma.recording._dissimilarity import Dissimilarity
from bregma.recording._recording import Recording
from bregma.recording._spikes import SpikeTrains

__all__ = ["dissimilarities", "recordings", "spike_trains"]

require("hypothesis", extra="test")
from hypothesis import strategies as st  # noqa: E402
from hypothesis.extra import numpy as hnp  # noqa: E402

_TYPES = ("f8", "f4", "f2", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?")
_MEASURED_IN = (None, "spikes", "spikes/s", "mV", "T/m", "dF/F", "uV^2/Hz", "a.u.")
_RESERVED = frozenset({"presentation", "time", "unit", "stimulus", "session", "label", "rdm"})


def recordings(
    *,
    has_time: bool | None = None,
    max_presentations: int = 4,
    max_times: int = 4,
    max_units: int = 4,
    dtypes: Collection[str] = _TYPES,
) -> st.SearchStrategy[Recording]:
    """Draw recordings.

    Parameters
    ----------
    has_time : bool, optional
        Whether they have a time dimension; either where it is not given.
    max_presentations, max_times, max_units : int
        The most entries along each dimension.
    dtypes : collection of str
        NumPy types of the values.

    Returns
    -------
    SearchStrategy
        Recordings with coordinates of any name and type, with and without sessions.

    Examples
    --------
    >>> from bregma.recording.strategies import recordings
    >>> recordings(has_time=True).map(lambda r: r.has_time)  # doctest: +ELLIPSIS
    recordings(...)...
    """

    @st.composite
    def recordings(draw: Any) -> Recording:
        timed = draw(st.booleans()) if has_time is None else has_time
        n_presentations = draw(st.integers(1, max_presentations))
        n_units = draw(st.integers(1, max_units))
        times = draw(_times(max_times)) if timed else None
        shape = (n_presentations, *(() if times is None else (len(times),)), n_units)
        names = draw(st.lists(_names(), max_size=4, unique=True))
        cut = draw(st.integers(0, len(names)))
        unit = draw(_columns(names[:cut], n_units)) | {"unit": draw(_ids(n_units))}
        presentation = draw(_columns(names[cut:], n_presentations))
        if draw(st.booleans()):
            presentation["presentation"] = draw(_ids(n_presentations))
        if draw(st.booleans()):
            presentation["stimulus"] = draw(_labels(n_presentations))
        sessions = draw(_sessions(names))
        if sessions is not None and (len(sessions) > 1 or draw(st.booleans())):
            column, n = draw(st.sampled_from([(unit, n_units), (presentation, n_presentations)]))
            which = draw(hnp.arrays(int, n, elements=st.integers(0, len(sessions) - 1)))
            column["session"] = sessions.index.to_numpy()[which]
        dtype = np.dtype(draw(st.sampled_from(sorted(dtypes))))
        return Recording.from_array(
            draw(hnp.arrays(dtype, shape, elements=_elements(dtype))),
            unit=unit,
            presentation=presentation,
            time=times,
            measured_in=draw(st.sampled_from(_MEASURED_IN)),
            sessions=sessions,
            name=draw(st.none() | _texts()),
        )

    return recordings()


def spike_trains(
    *,
    max_units: int = 4,
    max_spikes: int = 20,
    max_intervals: int = 3,
    resolution: float | None = None,
) -> st.SearchStrategy[SpikeTrains]:
    """Draw spike trains.

    Parameters
    ----------
    max_units, max_spikes, max_intervals : int
        The most units, spikes in all, and intervals of the support.
    resolution : float, optional
        Step of the clock in seconds, such as ``1e-9``, the resolution of pynapple; any float
        where it is not given.

    Returns
    -------
    SearchStrategy
        Spike trains; spikes at one time are in the order of their units.
    """

    @st.composite
    def spike_trains(draw: Any) -> SpikeTrains:
        n_units = draw(st.integers(1, max_units))
        if resolution is None:
            clock = st.floats(-1e6, 1e6, allow_subnormal=False)
        else:
            ticks = round(1 / resolution)
            clock = st.integers(-1000 * ticks, 1000 * ticks).map(lambda tick: tick / ticks)
        n_intervals = draw(st.integers(1, max_intervals))
        ends = draw(
            st.lists(clock, min_size=2 * n_intervals, max_size=2 * n_intervals, unique=True)
        )
        support = np.sort(np.array(ends) + 0.0).reshape(-1, 2)
        inside = st.sampled_from(support.tolist()).flatmap(
            lambda ends: _between(ends[0], ends[1], clock)
        )
        times = np.array(draw(st.lists(inside, max_size=max_spikes)), dtype=float) + 0.0
        unit_index = draw(
            hnp.arrays(
                draw(st.sampled_from([np.int8, np.uint16, np.int64])),
                len(times),
                elements=st.integers(0, n_units - 1),
            )
        )
        order = np.lexsort((unit_index, times))
        names = draw(st.lists(_names(), max_size=3, unique=True))
        return SpikeTrains(
            times[order],
            unit_index[order],
            units=draw(_columns(names, n_units)) | {"unit": draw(_ids(n_units))},
            support=support,
        )

    return spike_trains()


def dissimilarities(*, max_stimuli: int = 5, max_rdms: int = 3) -> st.SearchStrategy[Dissimilarity]:
    """Draw dissimilarities.

    Parameters
    ----------
    max_stimuli, max_rdms : int
        The most stimuli and RDMs.

    Returns
    -------
    SearchStrategy
        Sets of RDMs of two stimuli or more.
    """

    @st.composite
    def dissimilarities(draw: Any) -> Dissimilarity:
        n = draw(st.integers(2, max_stimuli))
        n_rdms = draw(st.integers(1, max_rdms))
        names = draw(st.lists(_names(), max_size=3, unique=True))
        f8 = np.dtype("f8")
        return Dissimilarity(
            draw(hnp.arrays(f8, (n_rdms, n * (n - 1) // 2), elements=_elements(f8))),
            stimuli=draw(_ids(n)),
            rdms=draw(_columns(names, n_rdms)),
            measure=draw(_texts()),
            name=draw(st.none() | _texts()),
        )

    return dissimilarities()


def _texts(min_size: int = 0) -> st.SearchStrategy[str]:
    """Any text that files can hold: no NUL and no half of a surrogate pair."""
    return st.text(
        st.characters(exclude_categories=["Cs"], exclude_characters="\0"),
        min_size=min_size,
        max_size=6,
    )


def _names() -> st.SearchStrategy[str]:
    usual = st.sampled_from(["area", "kind", "id", "x", "repeat", "description", "electrodes"])
    return (usual | _texts(min_size=1)).filter(lambda name: name not in _RESERVED)


def _elements(dtype: np.dtype) -> st.SearchStrategy[Any]:
    if dtype.kind in "mM":
        return st.integers(-(2**60), 2**60).map(lambda ticks: np.array(ticks, "i8").view(dtype)[()])
    if dtype.kind == "f":
        return hnp.from_dtype(dtype, allow_nan=False, allow_infinity=False)
    return hnp.from_dtype(dtype)


def _ids(n: int) -> st.SearchStrategy[Any]:
    """Distinct labels that are neither empty nor NaN."""
    texts = st.lists(_texts(min_size=1), min_size=n, max_size=n, unique=True)
    numbers = st.lists(st.integers(-(2**40), 2**40), min_size=n, max_size=n, unique=True)
    return (texts | numbers).map(np.array)


def _labels(n: int) -> st.SearchStrategy[Any]:
    """Labels of any type, repeated or not, NaN among the floats."""
    text = st.lists(_texts(), min_size=n, max_size=n).map(lambda x: np.array(x, dtype=str))
    types = st.sampled_from(["f8", "f4", "i8", "i2", "u1", "?", "M8[s]", "m8[ms]"])
    others = types.map(np.dtype).flatmap(
        lambda dtype: hnp.arrays(
            dtype, n, elements=_elements(dtype) if dtype.kind in "mM" else hnp.from_dtype(dtype)
        )
    )
    return text | others


def _columns(names: list[str], n: int) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({name: _labels(n) for name in names})


def _times(most: int) -> st.SearchStrategy[Any]:
    uneven = st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=most, unique=True)
    even = st.builds(
        lambda start, step, n: start + step * np.arange(n),
        st.floats(-10, 10), st.sampled_from([1e-3, 0.1, 1 / 3]), st.integers(1, most),
    )  # fmt: skip
    return even | uneven.map(lambda times: np.sort(np.array(times)) + 0.0)


def _sessions(taken: list[str]) -> st.SearchStrategy[pd.DataFrame | None]:
    def table(n: int) -> st.SearchStrategy[pd.DataFrame]:
        names = st.lists(
            _names().filter(lambda name: name not in taken), min_size=1, max_size=2, unique=True
        )
        return st.builds(
            lambda columns, ids: pd.DataFrame(columns, index=pd.Index(ids)),
            names.flatmap(lambda some: _columns(some, n)),
            _ids(n),
        )

    return st.none() | st.integers(1, 3).flatmap(table)


def _between(start: float, stop: float, clock: Any) -> st.SearchStrategy[float]:
    inside = clock.filter(lambda t: start <= t < stop)
    return st.just(start) | inside

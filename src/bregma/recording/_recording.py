"""Recording: labelled responses of any system, the one thing that every question takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float, Shaped

from bregma.errors import InvalidArgument, InvalidRecording, UnknownName
from bregma.recording import _same, _show
from bregma.recording._checks import (
    DIMS,
    Missing,
    all_finite,
    checked,
    with_checked_dims,
    with_checked_labels,
    without_missing,
)
from bregma.recording._from_array import array_of, checked_values
from bregma.recording._labels import (
    Labels,
    Table,
    clean_labels,
    first_appearance,
    positions,
    select_mask,
    table_columns,
)
from bregma.recording._measured_in import check_measured_in

if TYPE_CHECKING:
    import torch
    from rich.console import Group


class Recording:
    """Responses of units to presentations, over time or not, with their labels.

    A thin, validated wrapper around one `xarray.DataArray` with the dimensions
    ``presentation``, optionally ``time`` (seconds), and ``unit``. Coordinates are flat: unit
    coordinates say what each unit is (``area``, ``layer``, ``subject`` ...), presentation
    coordinates what was shown (``stimulus``, ``repeat``, ``condition`` ...). A Recording is
    never changed in place and never holds NaN or infinity; attributes of the array are not
    carried, because no operation could keep them true. It may be backed by Dask.

    Parameters
    ----------
    data : xarray.DataArray
        Numbers with the dimensions above, in any order.
    measured_in : str, optional
        Unit of measurement, such as ``"spikes/s"`` or ``"mV"``.
    sessions : pandas.DataFrame, optional
        Metadata of sessions, indexed by session. It is joined through the coordinate
        ``session`` of units or presentations; a table of one row needs no such coordinate.
    missing : {"raise", "drop_units", "drop_presentations"}
        What to do with values that are NaN or infinite.

    Raises
    ------
    InvalidRecording
        Wrong dimensions, duplicate or missing ids, uneven labels, NaN, nothing in it.

    Examples
    --------
    >>> import numpy as np
    >>> from bregma import Recording
    >>> r = Recording.from_array(
    ...     np.eye(4, 3), unit={"unit": ["a", "b", "c"], "area": ["V1", "V1", "IT"]}
    ... )
    >>> r.select(area="V1")
    Recording(4 presentations of 4 stimuli, 2 units)
    """

    __slots__ = ("_data", "_label_units", "measured_in", "sessions")
    _data: xr.DataArray  # units are numbers where their labels are still to be made
    _label_units: Callable[[], Table] | None
    measured_in: str | None
    sessions: pd.DataFrame | None

    def __init__(
        self,
        data: xr.DataArray,
        *,
        measured_in: str | None = None,
        sessions: pd.DataFrame | None = None,
        missing: Missing = "raise",
    ) -> None:
        data = with_checked_labels(with_checked_dims(data))
        self._set(checked(data, sessions, missing), None, measured_in, sessions)

    def _set(
        self,
        data: xr.DataArray,
        label_units: Callable[[], Table] | None,
        measured_in: str | None,
        sessions: pd.DataFrame | None,
    ) -> Recording:
        object.__setattr__(self, "_data", data)
        object.__setattr__(self, "_label_units", label_units)
        object.__setattr__(self, "measured_in", check_measured_in(measured_in))
        object.__setattr__(self, "sessions", sessions)
        return self

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Recording is never changed in place; make a new one ({name})")

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self.data, self.measured_in, self.sessions)

    @classmethod
    def from_array(
        cls,
        values: Any,
        *,
        unit: Table | Iterable[Any] | Callable[[], Table] | None = None,
        presentation: Table | Iterable[Any] | None = None,
        time: Any = None,
        measured_in: str | None = None,
        sessions: pd.DataFrame | None = None,
        missing: Missing = "raise",
        name: str | None = None,
    ) -> Recording:
        """Make a Recording from an array and its labels.

        Parameters
        ----------
        values : array
            Shape (presentation, unit) or (presentation, time, unit); NumPy, torch or Dask.
        unit : DataFrame, mapping or sequence, optional
            Columns of unit coordinates (ids under ``"unit"``), or just the ids; or a function
            that makes the table when labels of units are first asked for, as the labels of
            millions of units take longer to make than to record.
        presentation : DataFrame, mapping or sequence, optional
            Columns of presentation coordinates (ids under ``"presentation"``), or just the
            ids. ``stimulus`` is the ids where it is not given.
        time : array, optional
            Times in seconds; needed where values have three dimensions.
        measured_in : str, optional
            Unit of measurement.
        sessions : pandas.DataFrame, optional
            Metadata of sessions, indexed by session.
        missing : {"raise", "drop_units", "drop_presentations"}
            What to do with values that are NaN or infinite.
        name : str, optional
            Name of the recording, used in tables and figures.

        Returns
        -------
        Recording
            The values with their labels.

        Raises
        ------
        InvalidRecording
            As the class does.
        """
        values = checked_values(values, time)
        later = None
        if callable(unit):
            lazy = hasattr(values, "dask")
            if sessions is None and missing == "raise" and (lazy or all_finite(values)):
                later, unit = unit, np.arange(values.shape[-1])
            else:
                unit = unit()
        data = array_of(values, unit, presentation, time, name)
        data = data if later else checked(data, sessions, missing)
        return cls.__new__(cls)._set(data, later, measured_in, sessions)

    @property
    def data(self) -> xr.DataArray:
        """Values with all their labels."""
        if self._label_units is not None:
            bare = self._data
            shows = {str(key): c.values for key, c in bare.coords.items() if c.dims != ("unit",)}
            times = shows.pop("time", None)
            full = array_of(bare.variable.data, self._label_units(), shows, times, self.name)
            object.__setattr__(self, "_data", full)
            object.__setattr__(self, "_label_units", None)
        return self._data

    # What is in it

    @property
    def values(self) -> Shaped[np.ndarray, "presentation *time unit"]:
        """Values as a NumPy array, computed where they are lazy, and checked to be finite."""
        if self._data.chunks is None:
            return self._data.values
        return without_missing(self.data.compute(), "raise").values

    @property
    def name(self) -> str | None:
        """Name of the recording."""
        return None if self._data.name is None else str(self._data.name)

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of presentation, time (where there is one) and unit."""
        return self._data.shape

    @property
    def n_presentations(self) -> int:
        """Number of presentations."""
        return self._data.sizes["presentation"]

    @property
    def n_units(self) -> int:
        """Number of units."""
        return self._data.sizes["unit"]

    @property
    def has_time(self) -> bool:
        """Whether responses are time series."""
        return "time" in self._data.dims

    @property
    def times(self) -> Float[np.ndarray, " time"]:
        """Times in seconds."""
        if not self.has_time:
            raise InvalidRecording("this recording has no time dimension")
        return self._data["time"].values

    @property
    def sampling_rate(self) -> float:
        """Samples per second, derived from the times; an error where they are uneven."""
        steps = np.diff(self.times)
        if not len(steps):
            raise InvalidRecording("one sample has no sampling rate")
        mean = (self.times[-1] - self.times[0]) / len(steps)
        if np.abs(steps - mean).max() > 1e-3 * mean:
            raise InvalidRecording(
                f"the times are uneven (steps of {steps.min():.6g} to {steps.max():.6g} s): "
                "there is no one sampling rate"
            )
        return float(1 / mean)

    @property
    def stimuli(self) -> Labels:
        """Stimulus of each presentation."""
        return self._data["stimulus"].values

    @property
    def unique_stimuli(self) -> Labels:
        """Stimuli in the order of their first presentation."""
        return first_appearance(self.stimuli)[0]

    @property
    def units(self) -> pd.DataFrame:
        """Table of units, indexed by their ids."""
        return _table(self.data, "unit")

    @property
    def presentations(self) -> pd.DataFrame:
        """Table of presentations, indexed by their ids."""
        return _table(self._data, "presentation")

    def coordinate_names(self, dim: str | None = None) -> list[str]:
        """Names of coordinates, columns of the session table included.

        Parameters
        ----------
        dim : {"presentation", "time", "unit"}, optional
            Only those along this dimension.

        Returns
        -------
        list of str
            The names.
        """
        own = [str(n) for n, c in self.data.coords.items() if dim is None or c.dims == (dim,)]
        if self.sessions is not None and dim in (None, self._session_dim()):
            own += [str(name) for name in self.sessions if str(name) not in own]
        return own

    def dim_of(self, name: str) -> str:
        """Dimension along which a coordinate lies.

        Parameters
        ----------
        name : str
            A coordinate or a column of the session table.

        Returns
        -------
        str
            ``"presentation"``, ``"time"`` or ``"unit"``.

        Raises
        ------
        UnknownName
            No such coordinate; the message has the nearest names.
        """
        if name in self.data.coords:
            return str(self.data[name].dims[0])
        if self.sessions is not None and name in self.sessions:
            return self._session_dim()
        raise UnknownName.of("coordinate", name, self.coordinate_names())

    def coordinate(self, name: str) -> Labels:
        """Labels of one coordinate; a column of the session table is joined through ``session``.

        Parameters
        ----------
        name : str
            A coordinate or a column of the session table.

        Returns
        -------
        array
            One label for each entry of the dimension.

        Raises
        ------
        UnknownName
            No such coordinate; the message has the nearest names.
        """
        dim = self.dim_of(name)
        if name in self.data.coords:
            return self.data[name].values
        assert self.sessions is not None
        if "session" in self.data.coords:
            joined = self.sessions[name].loc[self.data["session"].values]
        else:
            joined = self.sessions[name].iloc[np.zeros(self.data.sizes[dim], dtype=int)]
        return clean_labels(joined.to_numpy(), f"session column {name!r}")

    def _session_dim(self) -> str:
        return str(self.data["session"].dims[0]) if "session" in self.data.coords else "unit"

    # Making others from it

    def _with(self, data: xr.DataArray, *, measured_in: str | None = None) -> Recording:
        return Recording(data, measured_in=measured_in, sessions=self.sessions)

    def with_values(self, values: Any, *, measured_in: str | None = None) -> Recording:
        """Same labels, other values; the unit of measurement is cleared unless it is given.

        Parameters
        ----------
        values : array
            Of the same shape.
        measured_in : str, optional
            Unit of measurement of the new values.

        Returns
        -------
        Recording
            The new recording.
        """
        if tuple(values.shape) != self.shape:
            raise InvalidRecording(f"values have the shape {values.shape}, not {self.shape}")
        return self._with(self.data.copy(data=values), measured_in=measured_in)

    def named(self, name: str | None) -> Recording:
        """Same recording under another name.

        Parameters
        ----------
        name : str or None
            The name.

        Returns
        -------
        Recording
            The renamed recording.
        """
        return self._with(self.data.rename(name), measured_in=self.measured_in)

    def assign(self, **columns: tuple[str, Any] | Any) -> Recording:
        """Add or replace coordinates.

        Parameters
        ----------
        **columns : (dim, labels) or labels
            The dimension may be left out where the coordinate is there already.

        Returns
        -------
        Recording
            The recording with these coordinates.
        """
        coords = {}
        for name, column in columns.items():
            dim, labels = column if isinstance(column, tuple) else (self.dim_of(name), column)
            if dim not in self.data.dims:
                raise UnknownName.of("dimension", dim, map(str, self.data.dims))
            coords[name] = (
                dim,
                table_columns({name: labels}, dim, self.data.sizes[dim], None)[name],
            )
        return self._with(self.data.assign_coords(coords), measured_in=self.measured_in)

    def drop(self, *names: str) -> Recording:
        """Leave coordinates out.

        Parameters
        ----------
        *names : str
            Coordinates that are not ids, times or stimuli.

        Returns
        -------
        Recording
            The recording without them.
        """
        for name in names:
            if name not in self.data.coords:
                raise UnknownName.of("coordinate", name, map(str, self.data.coords))
            if name in (*DIMS, "stimulus"):
                raise InvalidArgument(f"{name!r} cannot be left out of a recording")
        return self._with(self.data.drop_vars(names), measured_in=self.measured_in)

    def select(self, **wanted: Any) -> Recording:
        """Keep what has the wanted labels, in the order of the recording.

        Parameters
        ----------
        **wanted : scalar, sequence, slice or function
            For each coordinate: a label, several, a range (both ends included), or a function
            from labels to booleans.

        Returns
        -------
        Recording
            The part that fulfils all of them.

        Raises
        ------
        UnknownName
            No such coordinate.
        InvalidArgument
            Nothing is left; the message says what there is.
        """
        keep = {str(dim): np.ones(size, dtype=bool) for dim, size in self.data.sizes.items()}
        for name, value in wanted.items():
            mask = select_mask(self.coordinate, self.coordinate_names(), name, value)
            keep[self.dim_of(name)] &= mask
        for dim, mask in keep.items():
            if not mask.any():
                raise InvalidArgument(f"no {dim} fulfils all of {wanted!r} at once")
        part = self.data.isel({d: np.flatnonzero(m) for d, m in keep.items() if not m.all()})
        return self._with(part, measured_in=self.measured_in)

    def select_stimuli(self, stimuli: Iterable[Any]) -> Recording:
        """Keep the presentations of some stimuli, in the order in which these are given.

        Parameters
        ----------
        stimuli : sequence
            Labels, each at most once; repeats of a stimulus stay in their order.

        Returns
        -------
        Recording
            The presentations of these stimuli.

        Raises
        ------
        UnknownName
            A stimulus that was not shown.
        """
        from bregma.recording._combine import at_stimuli

        wanted = np.asarray(list(stimuli)).tolist()
        positions(self.unique_stimuli, wanted, "stimulus")  # refuses those that were not shown
        return at_stimuli(self, wanted)

    def split(self, by: str) -> dict[Any, Recording]:
        """One recording for each label of a unit or presentation coordinate.

        Parameters
        ----------
        by : str
            The coordinate.

        Returns
        -------
        dict
            Label to recording, in the order of first appearance.
        """
        labels, rank = first_appearance(self.coordinate(by))
        dim = self.dim_of(by)
        return {
            label.item(): self._with(
                self.data.isel({dim: np.flatnonzero(rank == i)}), measured_in=self.measured_in
            )
            for i, label in enumerate(labels)
        }

    def mean_time(self, window: tuple[float, float] | None = None) -> Recording:
        """Average over time.

        Parameters
        ----------
        window : (start, stop), optional
            Seconds, both ends included; all of it where none is given.

        Returns
        -------
        Recording
            Without the time dimension.
        """
        part = self if window is None else self.select(time=slice(*window))
        if not part.has_time:
            raise InvalidRecording("this recording has no time dimension to average over")
        return self._with(part.data.mean("time").drop_vars("time", errors="ignore"),
                          measured_in=self.measured_in)  # fmt: skip

    def average_repeats(self) -> Recording:
        """Average over the presentations of each stimulus.

        Coordinates that are constant within every stimulus stay; ``n_repeats`` tells how many
        presentations went into each average.

        Returns
        -------
        Recording
            One presentation for each stimulus, in the order of their first presentation.
        """
        from bregma.recording._repeats import average

        return average(self)

    def split_halves(self, n: int = 1, *, seed: int) -> list[tuple[Recording, Recording]]:
        """Split the repeats of every stimulus at random and average each half.

        Parameters
        ----------
        n : int
            How many random splits.
        seed : int
            Seed of the splits.

        Returns
        -------
        list of (Recording, Recording)
            Two recordings with one presentation for each stimulus.

        Raises
        ------
        NotIdentifiable
            A stimulus was shown only once.
        """
        from bregma.recording._repeats import halves

        rng = np.random.default_rng(seed)
        return [halves(self, rng) for _ in range(n)]

    def concat(
        self,
        *others: Recording,
        along: Literal["presentation", "unit"],
        keys: Iterable[str] | None = None,
    ) -> Recording:
        """Put recordings one behind the other.

        Parameters
        ----------
        *others : Recording
            Recordings with the same units (along presentation) or the same presentations
            (along unit), the same times and the same unit of measurement.
        along : {"presentation", "unit"}
            The dimension that grows.
        keys : iterable of str, optional
            A name for each recording that goes before its ids (``"key/id"``) and becomes the
            coordinate ``part``; needed where ids repeat.

        Returns
        -------
        Recording
            All of them.

        Raises
        ------
        InvalidRecording
            What should agree does not; the message says where.
        """
        from bregma.recording._combine import concat

        return concat([self, *others], along, None if keys is None else list(keys))

    def align(self, other: Recording, *, units: bool = False) -> tuple[Recording, Recording]:
        """Bring two recordings to the stimuli that they share, in the same order.

        Parameters
        ----------
        other : Recording
            The other one.
        units : bool
            Also keep only the units that both have, by the coordinate ``name`` where both
            have it, else by id, in the same order (the same cells of two animals).

        Returns
        -------
        (Recording, Recording)
            Presentations ordered by stimulus as in this recording, repeats in their order.

        Raises
        ------
        InvalidRecording
            Nothing is shared.
        """
        from bregma.recording._combine import align

        return align(self, other, units)

    # Handing it on

    def to_torch(self, *, device: Any = None, dtype: Any = None) -> torch.Tensor:
        """Values as a tensor.

        Parameters
        ----------
        device, dtype : optional
            As for `torch.as_tensor`.

        Returns
        -------
        torch.Tensor
            Shape (presentation, unit) or (presentation, time, unit); a copy, so that writing
            to it does not change the recording.
        """
        import torch

        return torch.tensor(np.ascontiguousarray(self.values), device=device, dtype=dtype)

    def chunk(self, **chunks: int) -> Recording:
        """The same recording backed by Dask.

        Parameters
        ----------
        **chunks : int
            Chunk length of each dimension; chosen by Dask where none is given.

        Returns
        -------
        Recording
            The lazy recording.
        """
        from bregma._extras import require

        require("dask.array", "scale")
        for dim in chunks:
            if dim not in self.data.dims:
                raise UnknownName.of("dimension", dim, map(str, self.data.dims))
        return self._with(self.data.chunk(chunks or "auto"), measured_in=self.measured_in)

    def load(self, *, missing: Missing = "raise") -> Recording:
        """The same recording in memory.

        Parameters
        ----------
        missing : {"raise", "drop_units", "drop_presentations"}
            What to do with values that are NaN or infinite.

        Returns
        -------
        Recording
            The recording, with its values computed.
        """
        return Recording(
            self.data.compute(),
            measured_in=self.measured_in,
            sessions=self.sessions,
            missing=missing,
        )

    def save(self, path: str | Path) -> Path:
        """Write to a file that `bregma.read` gives back exactly.

        Parameters
        ----------
        path : str or Path
            Ending in ``.zarr``, ``.nc`` or ``.nwb``; replaced in one step if it exists.

        Returns
        -------
        Path
            Where it was written.
        """
        from bregma.recording._read import write

        return write(self, path)

    def identical(self, other: object) -> bool:
        """Whether values, labels, unit of measurement, sessions and name are all the same.

        Parameters
        ----------
        other : object
            What to compare with.

        Returns
        -------
        bool
            True where nothing differs, types of numbers included.
        """
        return isinstance(other, Recording) and _same.identical(self, other)

    def content_hash(self) -> str:
        """Hash of values and labels, the same for the same content on every machine.

        Returns
        -------
        str
            64 hexadecimal digits.
        """
        return _same.content_hash(self)

    # How it looks

    def __repr__(self) -> str:
        name = f"{self.name!r}, " if self.name else ""
        n_stimuli = len(np.unique(self.stimuli))
        text = f"{name}{self.n_presentations} presentations of {n_stimuli} stimuli, "
        if self.has_time:
            text += f"{len(self.times)} times from {self.times[0]:g} to {self.times[-1]:g} s, "
        text += f"{self.n_units} units"
        return f"Recording({text}{f', in {self.measured_in}' if self.measured_in else ''})"

    def __rich__(self) -> Group:
        return _show.as_rich(self, _show.summary(self))

    def _repr_html_(self) -> str:
        return _show.as_html(self)


def _rebuild(data: xr.DataArray, measured_in: str | None, sessions: Any) -> Recording:
    return Recording(data, measured_in=measured_in, sessions=sessions)


def _table(data: xr.DataArray, dim: str) -> pd.DataFrame:
    columns = {
        str(name): coordinate.values
        for name, coordinate in data.coords.items()
        if coordinate.dims == (dim,) and name != dim
    }
    return pd.DataFrame(columns, index=pd.Index(data[dim].values, name=dim))

"""Perturbations: what can be done to units of a system while it runs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, SupportsFloat

import numpy as np
from jaxtyping import Float, Int, Shaped

from bregma.errors import InvalidArgument, UnknownName
from bregma.recording import Recording
from bregma.run import spawn
from bregma.system._layout import Layout

Units = Mapping[str, Any] | Sequence[str] | None
# Labels of the stimuli of a batch -> values, (stimulus, selected unit) or (1, selected unit), with
# a time in between where the system is over time.
Activity = Callable[[Any], Float[np.ndarray, "#stimulus *time selected"]]


@dataclass(frozen=True)
class Target:
    """Where a perturbation acts: selected units of one layer.

    Parameters
    ----------
    layout : Layout
        The layer.
    index : array of int
        The selected units.
    mean : callable
        Gives the mean activity of the whole layer, unperturbed, over all stimuli of the run.
    over_time : bool
        Whether activity over time can be replayed there.
    """

    layout: Layout
    index: Int[np.ndarray, " selected"]
    mean: Callable[[], Float[np.ndarray, " unit"]]
    over_time: bool = False

    def spread(self, values: Any, what: str) -> Float[np.ndarray, " selected"]:
        """One number for each selected unit, from one number, one per unit, or one per channel.

        Parameters
        ----------
        values : float or array
            The numbers.
        what : str
            What they are, for messages.

        Returns
        -------
        array
            Shape (selected unit,).
        """
        values = np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)
        if values.dtype.kind not in "biuf" or not np.isfinite(values).all():
            raise InvalidArgument(f"{what} for {self.layout.layer!r} must be finite numbers")
        values = values.astype(np.float64)
        if values.ndim == 0 or values.shape == self.index.shape:
            return np.broadcast_to(values, self.index.shape)
        channels, which = np.unique(
            self.layout.positions["channel"][self.index], return_inverse=True
        )
        if values.shape == channels.shape:
            return values[which]
        raise InvalidArgument(
            f"{what} for {self.layout.layer!r} has the shape {values.shape}; give one number, one "
            f"for each of the {len(self.index)} selected units, or one for each of their "
            f"{len(channels)} channels"
        )


class Perturbation(ABC):
    """Something done to selected units of the sites that a pattern names.

    A new kind is a frozen dataclass with the fields `site` and `units` that says in `bind` what
    the units shall do, and whether that is added to their activity (`additive`).
    """

    site: str
    units: Units
    additive: ClassVar[bool] = False
    needs_mean: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.units, str):
            object.__setattr__(self, "units", (self.units,))
        elif self.units is not None and not isinstance(self.units, Mapping):
            object.__setattr__(self, "units", tuple(map(str, self.units)))
        if self.units is not None and not len(self.units):
            raise InvalidArgument(f"{self} selects no units; leave units= away to select all")

    @abstractmethod
    def bind(self, target: Target) -> Activity:
        """Give the activity to set, or to add where the perturbation is additive.

        Parameters
        ----------
        target : Target
            Where it acts.

        Returns
        -------
        callable
            Labels of the stimuli of a batch to an array of shape (stimulus, selected unit), or
            (1, selected unit) where all stimuli get the same.
        """

    def check(self, stimuli: Shaped[np.ndarray, " stimulus"]) -> None:  # noqa: B027
        """Refuse stimuli that it cannot act on; nothing is refused by default.

        Parameters
        ----------
        stimuli : array
            Labels of all stimuli of the run.
        """

    def select(self, layout: Layout) -> Int[np.ndarray, " selected"]:
        """Units of a layer on which it acts.

        Parameters
        ----------
        layout : Layout
            The layer.

        Returns
        -------
        array of int
            Their indices.
        """
        return layout.find(self.units)

    def __str__(self) -> str:
        units = ""
        if isinstance(self.units, Mapping):
            units = f", units={dict(self.units)!r}"
        elif self.units is not None:
            some = list(self.units)
            units = f", units={some if len(some) < 4 else f'[{some[0]!r}, ... {len(some)} ids]'}"
        return f"{type(self).__name__}({self.site!r}{units})"


@dataclass(frozen=True, eq=False)
class Ablate(Perturbation):
    """Take units out: hold them at a baseline.

    Parameters
    ----------
    site : str
        Site or pattern of sites.
    units : mapping or sequence of str, optional
        Which units, by position (``{"channel": 3}``) or id; all where it is not given.
    baseline : float or "mean"
        The value to hold them at; "mean" is the mean activity of each unit over the stimuli
        that are shown, without perturbations.

    Examples
    --------
    >>> print(Ablate("layer4", {"channel": [3, 5]}))
    Ablate('layer4', units={'channel': [3, 5]})
    """

    site: str
    units: Units = None
    baseline: SupportsFloat | str = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.baseline, str) and self.baseline != "mean":
            raise InvalidArgument(f"baseline={self.baseline!r} is neither a number nor 'mean'")

    @property
    def needs_mean(self) -> bool:  # type: ignore[override]
        """Whether the stimuli have to be shown once before, to know the mean activity."""
        return self.baseline == "mean"

    def bind(self, target: Target) -> Activity:
        """Give the baseline."""
        if self.needs_mean:
            values = target.mean()[target.index][None]
        else:
            values = target.spread(self.baseline, "the baseline")[None]
        return lambda stimuli: values


@dataclass(frozen=True, eq=False)
class Clamp(Perturbation):
    """Hold units at given values.

    Parameters
    ----------
    site : str
        Site or pattern of sites.
    values : float or array
        One number, one for each selected unit (in their order), or one for each channel.
    units : mapping or sequence of str, optional
        Which units, by position or id; all where it is not given.
    """

    site: str
    values: Any
    units: Units = None

    def bind(self, target: Target) -> Activity:
        """Give the values."""
        values = target.spread(self.values, "the clamp")[None]
        return lambda stimuli: values


@dataclass(frozen=True, eq=False)
class Add(Perturbation):
    """Add a vector to the activity: steering, stimulation.

    Parameters
    ----------
    site : str
        Site or pattern of sites.
    vector : float or array
        One number, one for each selected unit, or one for each channel (added at all positions).
    units : mapping or sequence of str, optional
        Which units, by position or id; all where it is not given.
    scale : float
        What the vector is multiplied with.
    """

    site: str
    vector: Any
    units: Units = None
    scale: SupportsFloat = 1.0
    additive: ClassVar[bool] = True

    def bind(self, target: Target) -> Activity:
        """Give the scaled vector."""
        values = target.spread(self.vector, "the vector")[None] * float(self.scale)
        return lambda stimuli: values


@dataclass(frozen=True, eq=False)
class Noise(Perturbation):
    """Add Gaussian noise, the same for the same seed, layer, stimulus and unit in every run.

    Parameters
    ----------
    site : str
        Site or pattern of sites.
    sd : float or array
        Standard deviation: one number, one for each selected unit, or one for each channel.
    units : mapping or sequence of str, optional
        Which units, by position or id; all where it is not given.
    seed : int
        Seed of the noise.
    """

    site: str
    sd: Any
    units: Units = None
    seed: int = field(kw_only=True)
    additive: ClassVar[bool] = True

    def bind(self, target: Target) -> Activity:
        """Draw for whole layers, so that selecting units does not change their noise."""
        sd = target.spread(self.sd, "the standard deviation")
        if (sd < 0).any():
            raise InvalidArgument(f"{self}: the standard deviation must not be negative")
        layout, index = target.layout, target.index

        def draw(stimuli: Any) -> Float[np.ndarray, "#stimulus selected"]:
            each = (spawn(self.seed, layout.layer, str(stimulus)) for stimulus in stimuli)
            return np.stack([rng.standard_normal(layout.n_units)[index] for rng in each]) * sd

        return draw


@dataclass(frozen=True, eq=False)
class Patch(Perturbation):
    """Replay activity of another recording, stimulus by stimulus.

    To replay the activity of *other* stimuli, give the recording the labels of those that are
    shown: ``recording.assign(stimulus=...)``.

    Parameters
    ----------
    site : str
        Site or pattern of sites.
    recording : Recording
        Has the ids of the units and one presentation of every stimulus that is shown.
    units : mapping or sequence of str, optional
        Which units, by position or id; all that are in the recording where it is not given.
    """

    site: str
    recording: Recording
    units: Units = None

    def __post_init__(self) -> None:
        super().__post_init__()
        stimuli = self.recording.stimuli
        if len(np.unique(stimuli)) < len(stimuli):
            raise InvalidArgument(
                f"{self}: the recording has repeats; use recording.average_repeats()"
            )

    def check(self, stimuli: Shaped[np.ndarray, " stimulus"]) -> None:
        """Refuse stimuli that the recording does not have."""
        there = dict.fromkeys(self.recording.stimuli.tolist())
        for stimulus in stimuli.tolist():
            if stimulus not in there:
                raise UnknownName.of(f"stimulus in the recording of {self}", stimulus, there)

    def select(self, layout: Layout) -> Int[np.ndarray, " selected"]:
        """Select among the units that the recording has."""
        columns = self._columns(layout)
        if self.units is None:
            return np.flatnonzero(columns >= 0)
        index = layout.find(self.units)
        if (columns[index] < 0).any():
            lacking = str(layout.ids[index[columns[index] < 0][0]])
            n_there = int((columns >= 0).sum())
            raise UnknownName(
                f"the recording of {self} has no unit {lacking!r}; of {layout.layer!r} it has "
                f"{n_there} of {layout.n_units} units"
            )
        return index

    def bind(self, target: Target) -> Activity:
        """Look the recorded activity up."""
        if self.recording.has_time and not target.over_time:
            raise InvalidArgument(f"{self}: the recording is over time; average or choose a time")
        row = {stimulus: i for i, stimulus in enumerate(self.recording.stimuli.tolist())}
        columns = self._columns(target.layout)[target.index]

        def replay(stimuli: Any) -> Float[np.ndarray, "#stimulus *time selected"]:
            rows = np.array([row[stimulus] for stimulus in stimuli.tolist()])
            part = self.recording.data.isel(presentation=rows, unit=columns)
            return np.asarray(part.values, dtype=np.float64)

        return replay

    def _columns(self, layout: Layout) -> Int[np.ndarray, " unit"]:
        """Column of the recording for each unit of the layer, -1 where it has none."""
        ids = self.recording.data["unit"].values.astype(str)
        order = np.argsort(ids)
        place = np.searchsorted(ids, layout.ids, sorter=order).clip(max=len(ids) - 1)
        columns = order[place]
        return np.where(ids[columns] == layout.ids, columns, -1)

"""Averaging the presentations of each stimulus, all of them or halves drawn at random."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Int

from bregma.errors import NotIdentifiable
from bregma.recording._labels import Labels, first_appearance, shown
from bregma.recording._recording import Recording

Groups = Sequence[Int[np.ndarray, " _"]]  # presentations of each stimulus


def average(recording: Recording) -> Recording:
    """See `Recording.average_repeats`."""
    stimuli, groups = _by_stimulus(recording)
    return _means(recording, stimuli, groups)


def halves(recording: Recording, rng: np.random.Generator) -> tuple[Recording, Recording]:
    """One split of `Recording.split_halves`."""
    stimuli, groups = _by_stimulus(recording)
    once = stimuli[np.array([len(rows) < 2 for rows in groups])]
    if len(once):
        raise NotIdentifiable(
            f"halves need every stimulus at least twice; shown only once: {shown(once)}"
        )
    shuffled = [rng.permutation(rows) for rows in groups]
    first = [np.sort(rows[: len(rows) // 2]) for rows in shuffled]
    second = [np.sort(rows[len(rows) // 2 :]) for rows in shuffled]
    return _means(recording, stimuli, first), _means(recording, stimuli, second)


def _by_stimulus(recording: Recording) -> tuple[Labels, Groups]:
    """Stimuli in the order of their first presentation, and the presentations of each."""
    stimuli, rank = first_appearance(recording.stimuli)
    return stimuli, [np.flatnonzero(rank == i) for i in range(len(stimuli))]


def _means(recording: Recording, stimuli: Labels, groups: Groups) -> Recording:
    data = recording.data
    values = np.stack([data.data[rows].mean(axis=0) for rows in groups])
    first = np.array([rows[0] for rows in groups])
    coords: dict[str, Any] = {
        str(name): coordinate
        for name, coordinate in data.coords.items()
        if coordinate.dims != ("presentation",)
    }
    for name, labels in recording.presentations.items():
        column = labels.to_numpy()
        if name != "n_repeats" and all((column[g] == column[g[0]]).all() for g in groups):
            coords[str(name)] = ("presentation", data[str(name)].values[first])
    coords["presentation"] = ("presentation", stimuli)
    coords["n_repeats"] = ("presentation", np.array([len(g) for g in groups]))
    means = xr.DataArray(values, dims=data.dims, coords=coords, name=data.name)
    return recording._with(means, measured_in=recording.measured_in)

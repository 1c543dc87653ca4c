"""Which recorded numbers are one unit at several places: a channel of a map, of tokens."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

POSITIONS = ("frame", "row", "column", "token")
_PLACE = re.compile(r"/[yxtz]\d+")


@dataclass(frozen=True)
class Group:
    """Units of one layer with the places at which each of them is found.

    Parameters
    ----------
    ids : array (unit,)
        Names without the place: ``"conv1/c3"``.
    columns : array of int (unit, place)
        Where in the recording each unit is at each place.
    shape : tuple of int
        Of the places: (row, column), (token,), ...; empty where units have no place.
    table : DataFrame
        What else is known about the units.
    """

    ids: np.ndarray
    columns: Int[np.ndarray, "unit place"]
    shape: tuple[int, ...]
    table: pd.DataFrame

    @property
    def named(self) -> pd.DataFrame:
        """The table, by the names of the units."""
        return self.table.set_axis(pd.Index(self.ids, name="unit"))

    def take(
        self, values: Float[np.ndarray, "stimulus number"]
    ) -> Float[np.ndarray, "stimulus unit place"]:
        """The numbers of these units, place by place."""
        return values[:, self.columns]


def grouped(units: pd.DataFrame, *, images: bool) -> list[Group]:
    """Units of a recording by layer, each with all its places.

    Parameters
    ----------
    units : DataFrame
        The recording's units.
    images : bool
        Whether tokens are patches of images: the largest square at their end is then the map, and
        what comes before (class and register tokens) is left out.

    Returns
    -------
    list of Group
        Layers in their order; a single one, without places, where units are neurons.
    """
    places = [name for name in POSITIONS if name in units]
    if "layer" not in units or "channel" not in units or not places:
        columns = np.arange(len(units))[:, None]
        return [Group(units.index.to_numpy(), columns, (), units)]
    return list(_layers(units, places, images))


def _layers(units: pd.DataFrame, places: list[str], images: bool) -> Iterator[Group]:
    for layer in dict.fromkeys(units["layer"]):
        mine = np.flatnonzero((units["layer"] == layer).to_numpy())
        table = units.iloc[mine]
        here = [name for name in places if table[name].notna().all()]
        where = table[here].to_numpy(dtype=int).reshape(len(mine), len(here))
        names = np.array([_PLACE.sub("", str(unit)) for unit in table.index])
        ids, first, unit = np.unique(names, return_index=True, return_inverse=True)
        shape = tuple((where.max(axis=0) + 1).tolist())
        if not here or len(mine) != len(ids) * math.prod(shape):  # no places, or some of them only
            yield Group(table.index.to_numpy(), mine[:, None], (), table)
            continue
        rank = np.argsort(np.argsort(first))[unit.ravel()]  # units in the order of the recording
        columns = mine[np.lexsort((*where.T[::-1], rank))].reshape(len(ids), -1)
        if here == ["token"] and images:
            side = math.isqrt(columns.shape[1])
            columns, shape = columns[:, columns.shape[1] - side**2 :], (side, side)
        rest = table.drop(columns=places).iloc[np.sort(first)]
        yield Group(ids[np.argsort(first)], columns, shape, rest)

"""Searchlight: the RDM of the units around each unit, or what a function makes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar, overload

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.spatial import KDTree

from bregma.errors import InvalidArgument, NotIdentifiable, UnknownName
from bregma.recording import Dissimilarity, Recording

from ._distances import CorrelationDistance, Distance
from ._rdm import design

Result = TypeVar("Result")
BLOCK = 2**21  # dissimilarities held at once, where a function takes them


@overload
def searchlight(
    recording: Recording,
    distance: Distance = ...,
    *,
    radius: float | None = ...,
    neighbours: int | None = ...,
    centres: Iterable[Any] | None = ...,
    fewest_units: int = ...,
    function: None = ...,
) -> Dissimilarity: ...


@overload
def searchlight(
    recording: Recording,
    distance: Distance = ...,
    *,
    radius: float | None = ...,
    neighbours: int | None = ...,
    centres: Iterable[Any] | None = ...,
    fewest_units: int = ...,
    function: Callable[[Dissimilarity], Sequence[Result]],
) -> dict[Any, Result]: ...


def searchlight(
    recording: Recording,
    distance: Distance = CorrelationDistance(),  # noqa: B008  (frozen)
    *,
    radius: float | None = None,
    neighbours: int | None = None,
    centres: Iterable[Any] | None = None,
    fewest_units: int = 2,
    function: Callable[[Dissimilarity], Sequence[Any]] | None = None,
) -> Dissimilarity | dict[Any, Any]:
    """RDM of the units around each unit, or what a function makes of each.

    Centres are streamed: with a function, only a block of RDMs is held at a time.

    Parameters
    ----------
    recording : Recording
        Without time; units have positions (``x``, ``y``, ``z``, or fewer of them).
    distance : Distance
        As in `rdm`; noise that is estimated from repeats is that of the neighbourhood.
    radius : float, optional
        Units no farther than this belong to a centre, in the unit of the positions.
    neighbours : int, optional
        Instead of a radius, so many units (the centre among them).
    centres : iterable of unit ids, optional
        All units where none are given.
    fewest_units : int
        Centres with fewer units in their radius are left out.
    function : callable, optional
        Gets RDMs of many centres in one Dissimilarity and gives one result for each of them,
        such as ``lambda rdms: RDMCosine().compare(rdms.values, models.values)``.

    Returns
    -------
    Dissimilarity or dict
        One RDM for each centre, with the columns ``centre`` and ``n_units``; or the results of the
        function by centre.

    Raises
    ------
    InvalidArgument
        Time, no positions, or neither (or both) of radius and neighbours.
    NotIdentifiable
        No centre has enough units.
    """
    if recording.has_time:
        raise InvalidArgument("a searchlight takes no time: .mean_time((start, stop)) first")
    positions = _positions(recording)
    ids = recording.data["unit"].values
    at = np.arange(len(ids)) if centres is None else _rows(ids, centres)
    if not distance.uses_repeats:
        recording = recording.average_repeats()
    plan = design(recording, distance)

    def each() -> Iterator[tuple[Any, int, Any]]:
        for centre, members in _neighbourhoods(positions, at, radius, neighbours):
            if len(members) >= fewest_units:
                pairs = distance.pairs(plan.values[:, members], plan.stimulus, plan.fold)
                yield ids[centre].item(), len(members), pairs

    def made(found: Sequence[tuple[Any, int, Any]]) -> Dissimilarity:
        if not found:
            raise NotIdentifiable(
                f"no centre has {fewest_units} units around it; take a radius larger than {radius}"
            )
        table = {"centre": [c for c, *_ in found], "n_units": [n for _, n, _ in found]}
        return Dissimilarity(
            np.stack([pairs for *_, pairs in found]),
            stimuli=plan.stimuli,
            rdms=pd.DataFrame(table),
            measure=distance.name,
            name=recording.name,
        )

    lights = each()
    if function is None:
        return made(list(lights))
    results: dict[Any, Any] = {}
    n = len(plan.stimuli)
    size = max(1, BLOCK // (n * (n - 1) // 2))
    while found := list(islice(lights, size)):
        block = made(found)
        results.update(zip(block.rdms["centre"], function(block), strict=True))
    if not results:
        made([])
    return results


def _positions(recording: Recording) -> Float[np.ndarray, "unit axis"]:
    axes = [name for name in "xyz" if name in recording.coordinate_names("unit")]
    if not axes:
        raise InvalidArgument(
            "a searchlight needs positions of the units: the unit coordinates x, y, z (or fewer)"
        )
    return np.stack([np.asarray(recording.coordinate(name), dtype=float) for name in axes], axis=1)


def _rows(ids: Any, centres: Iterable[Any]) -> Any:
    where = {label: i for i, label in enumerate(ids.tolist())}
    rows = []
    for centre in np.asarray(list(centres)).tolist():
        if centre not in where:
            raise UnknownName.of("unit", centre, ids.tolist())
        rows.append(where[centre])
    return np.array(rows, dtype=int)


def _neighbourhoods(
    positions: Any, at: Any, radius: float | None, neighbours: int | None
) -> Iterator[tuple[int, Any]]:
    """Each centre with its units, sorted so that ties and blocks change nothing."""
    if (radius is None) == (neighbours is None):
        raise InvalidArgument("give either radius= or neighbours=")
    if radius is not None and radius <= 0:
        raise InvalidArgument(f"the radius must be positive, not {radius}")
    if neighbours is not None and not 1 <= neighbours <= len(positions):
        raise InvalidArgument(f"{neighbours} neighbours out of {len(positions)} units")
    tree = KDTree(positions)
    for first in range(0, len(at), 1024):
        block = at[first : first + 1024]
        if radius is not None:
            members = tree.query_ball_point(positions[block], radius)
        else:
            members = tree.query(positions[block], neighbours)[1].reshape(len(block), -1)
        for centre, units in zip(block.tolist(), members, strict=True):
            yield centre, np.sort(np.asarray(units, dtype=int))

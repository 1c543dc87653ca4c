"""RDMs of a Recording: which presentations and units go into each, and what each is called."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bregma.errors import InvalidArgument, NotIdentifiable
from bregma.recording import Dissimilarity, Recording

from ._distances import CorrelationDistance, Distance


@dataclass(frozen=True, eq=False)
class Design:
    """Values of one recording with the numbers of their stimuli and folds."""

    values: Any  # (presentation, *time, unit)
    stimuli: Any  # labels of the numbers
    stimulus: Any  # (presentation,)
    fold: Any  # (presentation,) or None


def design(recording: Recording, distance: Distance, order: Any = None) -> Design:
    """Number stimuli (in the given order, or by first appearance) and folds of a recording."""
    labels = recording.unique_stimuli if order is None else order
    if len(labels) < 2:
        raise NotIdentifiable(f"an RDM needs at least two stimuli; there is {len(labels)}")
    where = {label: i for i, label in enumerate(labels.tolist())}
    stimulus = np.array([where[label] for label in recording.stimuli.tolist()])
    fold = None if distance.fold is None else _fold(recording, distance.fold, stimulus)
    return Design(recording.values, labels, stimulus, fold)


def _fold(recording: Recording, name: str, stimulus: Any) -> Any:
    if name == "repeat" and name not in recording.coordinate_names():
        return pd.Series(stimulus).groupby(stimulus).cumcount().to_numpy()
    if recording.dim_of(name) != "presentation":
        raise InvalidArgument(
            f"folds are labels of presentations; {name!r} labels each {recording.dim_of(name)}"
        )
    return np.unique(recording.coordinate(name), return_inverse=True)[1]


def parts(recording: Recording, by: str | None) -> Iterator[tuple[Recording, dict[str, Any]]]:
    """Parts of a recording, each with the labels that hold for all of it."""
    pieces = {None: recording} if by is None else recording.split(by)
    for label, piece in pieces.items():
        yield piece, ({} if by is None else {by: label}) | _constant(piece)


def _constant(recording: Recording) -> dict[str, Any]:
    constant = {}
    for dim in ("unit", "presentation"):
        for name in recording.coordinate_names(dim):
            if name in (dim, "stimulus", "n_repeats"):
                continue
            labels = recording.coordinate(name)
            if (labels == labels[0]).all():
                constant[name] = labels[0].item()
    return constant


def check_same_stimuli(order: Any, piece: Recording, by: str | None, label: Any) -> None:
    """Refuse parts that saw other stimuli, instead of dropping stimuli in silence."""
    differ = set(order.tolist()) ^ set(piece.stimuli.tolist())
    if differ:
        raise InvalidArgument(
            f"the parts by {by!r} saw different stimuli ({len(differ)} are not shared, such as "
            f"{sorted(map(str, differ))[:3]} at {label!r}); .select the shared ones first"
        )


def rdm(
    recording: Recording,
    distance: Distance = CorrelationDistance(),  # noqa: B008  (frozen)
    *,
    by: str | None = None,
) -> Dissimilarity:
    """Distances between the responses to each pair of stimuli.

    Repeats are averaged first, except where the distance needs them.

    Parameters
    ----------
    recording : Recording
        Without time.
    distance : Distance
        Such as `CorrelationDistance`, `EuclideanDistance`, `CrossnobisDistance`.
    by : str, optional
        A unit or presentation coordinate: one RDM for each of its labels, such as each
        ``"subject"``, ``"area"`` or ``"session"``.

    Returns
    -------
    Dissimilarity
        One RDM, or one for each label. Its table holds `by` and every coordinate that is the
        same throughout the RDM; stimuli are in the order of their first presentation.

    Raises
    ------
    InvalidArgument
        The recording has time, or its parts saw different stimuli.
    NotIdentifiable
        Fewer than two stimuli, or too few repeats for the distance.

    Examples
    --------
    >>> import numpy as np
    >>> from bregma import Recording
    >>> from bregma.geometry import EuclideanDistance
    >>> rdm(Recording.from_array(np.eye(3)), EuclideanDistance()).values.round(3)
    array([[0.667, 0.667, 0.667]])
    """
    if recording.has_time:
        raise InvalidArgument(
            "an RDM takes no time: use rdm_movie(recording, ...) for one RDM at each time, or "
            "recording.mean_time((start, stop)) first"
        )
    order, rows, table = recording.unique_stimuli, [], []
    for piece, labels in parts(recording, by):
        check_same_stimuli(order, piece, by, labels.get(by) if by else None)
        plan = design(piece, distance, order)
        rows.append(distance.pairs(plan.values, plan.stimulus, plan.fold))
        table.append(labels)
    return Dissimilarity(
        np.stack(rows),
        stimuli=order,
        rdms=shared_columns(table),
        measure=distance.name,
        name=recording.name,
    )


def shared_columns(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Table of the columns that every row has."""
    names = [name for name in rows[0] if all(name in row for row in rows)]
    return pd.DataFrame({name: [row[name] for row in rows] for name in names})

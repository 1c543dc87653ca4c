"""Linear probes: what can be read from activity at each site."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Shaped

from bregma.errors import InvalidArgument
from bregma.mechanism.readout._probe_task import ProbeTask
from bregma.mechanism.readout._probes import Probes, solve
from bregma.recording import Recording


def probe(
    recording: Recording,
    target: str | Shaped[np.ndarray, " presentation"] | Sequence[Any],
    *,
    sites: str | None = None,
    groups: str | Shaped[np.ndarray, " presentation"] | Sequence[Any] = "stimulus",
    items: str | Shaped[np.ndarray, " presentation"] | Sequence[Any] = "stimulus",
    folds: int = 5,
    penalties: Sequence[float | int] = (0.1, 10.0, 1000.0),
    n_control: int = 3,
    seed: int,
) -> Probes:
    """Predict a label or a number from the activity at each site, from a line through it.

    Labels are told apart by logistic regression (score: balanced accuracy), numbers by ridge
    regression (score: R2 against the mean of the training part). Whole groups are held out; the
    penalty is chosen inside the training part, where other groups are held out.

    A probe that is good may have learned the task by itself. So it also learns a control task, in
    which every item (a word, a stimulus) has a label drawn at random, whatever it is; selectivity
    is the score less that of the control task. It asks for items that recur in several groups, such
    as words in several sentences. Where items are groups of their own nobody can learn the
    control task, and selectivity is the distance from chance.

    Parameters
    ----------
    recording : Recording
        Activity of a network or an animal, without time.
    target : str or array (presentation,)
        Coordinate of presentations, or the values. Texts, booleans and whole numbers are labels;
        for numbers give floats.
    sites : str, optional
        Coordinate of units that says what is probed by itself; ``"layer"`` or ``"area"`` where
        there is one, else all units together.
    groups : str or array (presentation,)
        What is never on both sides of a split: stimuli, sentences, sessions, subjects.
    items : str or array (presentation,)
        What has one label in the control task.
    folds : int
        How many.
    penalties : sequence of float
        Of the squared weights, for activity in standard scores.
    n_control : int
        How many control tasks.
    seed : int
        Of folds, control tasks and intervals.

    Returns
    -------
    Probes
        Scores, control tasks and predictions of each site.

    Raises
    ------
    InvalidArgument
        A recording over time, or values that do not fit.
    NotIdentifiable
        One label, or too few groups or items.
    UnknownName
        No such coordinate.

    References
    ----------
    Alain and Bengio (2017), Understanding intermediate layers using linear classifier probes.
    Hewitt and Liang (2019), Designing and interpreting probes with control tasks.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> side = np.repeat(["left", "right"], 30)
    >>> rates = rng.poisson(5 + 4 * (side == "right")[:, None] * np.arange(3))
    >>> found = probe(Recording.from_array(rates), side, seed=0)
    >>> found.to_frame()[["site", "score", "chance"]].round(2)
            site  score  chance
    0  all units   0.92     0.5
    """
    if recording.has_time:
        raise InvalidArgument(
            "a probe needs one number for each unit and presentation: recording.mean_time(window); "
            "for the course of time there is bregma.geometry.decode_over_time"
        )
    if n_control < 1 or not len(penalties) or not min(penalties) > 0:
        raise InvalidArgument(
            f"n_control must be 1 or more and penalties above 0, not {n_control} and {penalties}"
        )
    task = ProbeTask.of(
        _values(recording, target, "target"),
        _values(recording, groups, "groups"),
        _values(recording, items, "items"),
        folds=folds,
        penalties=tuple(float(p) for p in penalties),
        seed=seed,
    )
    by = _site_column(recording, sites)
    name = target if isinstance(target, str) else "target"
    return solve(task, recording, by, n_control=n_control, name=name)


def _values(recording: Recording, given: Any, what: str) -> Shaped[np.ndarray, " presentation"]:
    if isinstance(given, str):
        if recording.dim_of(given) != "presentation":
            raise InvalidArgument(f"{what} are of presentations; {given!r} is one of units")
        return np.asarray(recording.coordinate(given))
    values = np.asarray(given)
    if values.shape != (recording.n_presentations,):
        raise InvalidArgument(
            f"{what} must have one value for each of {recording.n_presentations} presentations, "
            f"not the shape {values.shape}"
        )
    return values


def _site_column(recording: Recording, sites: str | None) -> str | None:
    if sites is None:
        there = recording.coordinate_names("unit")
        return next((name for name in ("layer", "area") if name in there), None)
    if recording.dim_of(sites) != "unit":
        raise InvalidArgument(f"sites are of units; {sites!r} is a coordinate of presentations")
    return sites

"""Years as they are mentioned: the present often, distant ones seldom, near ones together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int

from bregma.datasets._task import Task
from bregma.errors import InvalidArgument, NotIdentifiable
from bregma.run import spawn


@dataclass(frozen=True, kw_only=True)
class Years(Task):
    """Sequences of years to predict, with what there is to know.

    Parameters
    ----------
    inputs, targets : torch.Tensor
        (sequence, time) int64: inputs lack the last year, targets the first one; tokens count
        from the first year.
    n_classes : int
        How many years.
    chance : float
        Expected share of the commonest year.
    best : float
        Expected accuracy of who knows which years follow each other.
    years : np.ndarray
        (token,) int64: what the tokens stand for.
    frequency : np.ndarray
        (token,) float64: how often each is mentioned; they sum to 1.
    next : np.ndarray
        (token, token) float64: probability of every year after each year.
    surprise : float
        Expected cross-entropy of who knows those, in nats: no model is below it on average.
    """

    years: Int[np.ndarray, " token"]
    frequency: Float[np.ndarray, " token"]
    next: Float[np.ndarray, "token token"]
    surprise: float


def years(
    n: int,
    *,
    length: int = 20,
    first: int = 1975,
    last: int = 2074,
    reference: int | None = 2025,
    spread: float = 10.0,
    seed: int,
) -> Years:
    """Sequences of years y, each mentioned as often as 1 / (1 + abs(y - reference)).

    Two years follow each other the more often the nearer they are, and as often in one order as in
    the other: the pair has the probability g(y) g(z) exp(-abs(y - z) / spread), with g such
    that frequencies are as said; a year never follows itself. Nearness knows nothing of the
    reference: if a network arranges years around it, then because of frequencies.

    Parameters
    ----------
    n : int
        How many sequences.
    length : int
        Years of a sequence whose next one is asked for.
    first, last : int
        Years from and to; the reference is one of them, and not at their edge.
    reference : int, optional
        The year mentioned most; None: all are mentioned equally often.
    spread : float
        How many years near is.
    seed : int
        Draws the sequences.

    Returns
    -------
    Years
        With frequencies, probabilities and the accuracy that can be reached.

    Raises
    ------
    InvalidArgument
        A number out of range.
    NotIdentifiable
        No probabilities of pairs give these frequencies.

    References
    ----------
    Li, Yao, Wang, Li, Teng and Wang (2025), The other mind: how language models exhibit human
    temporal cognition.

    Examples
    --------
    >>> world = years(2, length=8, seed=0)
    >>> world.years[world.inputs[1]].tolist()
    [2035, 2025, 2024, 2025, 2026, 2020, 2025, 2029]
    """
    if n < 1 or length < 1 or not spread > 0 or last - first < 2:
        raise InvalidArgument(
            f"n and length must be 1 or more, spread above 0 and 3 years there at least, "
            f"not {n}, {length}, {spread:g} and {first} to {last}"
        )
    if reference is not None and not first < reference < last:
        raise InvalidArgument(f"the reference must be between {first} and {last}, not {reference}")
    values = np.arange(first, last + 1)
    away = np.zeros(len(values)) if reference is None else abs(values - reference)
    frequency = 1 / (1.0 + away)
    frequency /= frequency.sum()
    near = np.exp(-abs(values[:, None] - values) / spread)
    np.fill_diagonal(near, 0)
    following = _joint(near, frequency) / frequency[:, None]
    rng = spawn(seed, "years")
    tokens = np.empty((n, length + 1), dtype=np.int64)
    tokens[:, 0] = rng.choice(len(values), size=n, p=frequency)
    below = following.cumsum(1)
    for t in range(length):
        drawn = rng.random((n, 1)) * below[tokens[:, t], -1:]
        tokens[:, t + 1] = (drawn >= below[tokens[:, t]]).sum(1)
    logs = np.log(following, out=np.zeros_like(following), where=following > 0)
    return Years(
        inputs=torch.as_tensor(tokens[:, :-1]),
        targets=torch.as_tensor(tokens[:, 1:]),
        n_classes=len(values),
        chance=float(frequency.max()),
        best=float(frequency @ following.max(1)),
        years=values,
        frequency=frequency,
        next=following,
        surprise=float(-frequency @ (following * logs).sum(1)),
    )


def _joint(
    near: Float[np.ndarray, "token token"], frequency: Float[np.ndarray, " token"]
) -> Float[np.ndarray, "token token"]:
    """Scale a symmetric matrix on both sides alike until its sums are the frequencies."""
    g = np.sqrt(frequency)
    for _ in range(10_000):
        sums = g * (near @ g)
        if abs(sums / frequency - 1).max() < 1e-10:
            return g[:, None] * near * g
        g = g * np.sqrt(frequency / sums)
    raise NotIdentifiable(
        "no probabilities of pairs of years give these frequencies: take more years or a larger "
        "spread"
    )

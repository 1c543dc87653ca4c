"""Distances between magnitudes (years, numbers, pitches) as a mind may have them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Num

from bregma.errors import InvalidArgument, UnknownName

REFERENCE = "reference"
Values = Float[np.ndarray, " item"]
Pairs = Float[np.ndarray, " pair"]


def reference_scale(
    values: Float[np.ndarray, ...], reference: float | Float[np.ndarray, ...]
) -> Float[np.ndarray, ...]:
    """Where values lie for somebody who stands at a reference: sign(y - R) ln(1 + |y - R|).

    Steps are the smaller the farther away they are, on both sides.

    Parameters
    ----------
    values : array
        Magnitudes y.
    reference : float or array
        R, in their units; arrays are broadcast.

    Returns
    -------
    array
        0 at the reference, negative below it.

    References
    ----------
    Li, Yao, Wang, Li, Teng and Wang (2025), The other mind: how language models exhibit human
    temporal cognition.

    Examples
    --------
    >>> reference_scale(np.array([2015.0, 2025.0, 2035.0]), 2025.0).round(2).tolist()
    [-2.4, 0.0, 2.4]
    """
    away = values - reference
    return np.sign(away) * np.log1p(np.abs(away))


def pairwise(scale: Float[np.ndarray, "... item"]) -> Float[np.ndarray, "... pair"]:
    """Absolute differences of all pairs, in the order of ``numpy.triu_indices(n, 1)``."""
    i, j = np.triu_indices(scale.shape[-1], 1)
    return np.abs(scale[..., i] - scale[..., j])


def edit_distances(texts: list[str]) -> Pairs:
    """Fewest letters to exchange, put in or leave out to make one text of another (Levenshtein)."""
    n = len(texts)
    found = [_edits(texts[i], texts[j]) for i in range(n) for j in range(i + 1, n)]
    return np.array(found, dtype=float)


def _edits(a: str, b: str) -> int:
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, start=1):
        before, row[0] = row[0], i
        for j, y in enumerate(b, start=1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (x != y))
    return row[-1]


def _linear(values: Values) -> Pairs:
    return pairwise(values)


def _logarithmic(values: Values) -> Pairs:
    return pairwise(np.log(values))


def _near(values: Values) -> Pairs:
    return np.log1p(pairwise(values))


def _digits(values: Values) -> Pairs:
    return edit_distances([f"{v:g}" if v % 1 else str(int(v)) for v in values.tolist()])


def magnitude_distances(
    values: Num[np.ndarray, " item"], account: str, *, reference: float | int | None = None
) -> Float[np.ndarray, " pair"]:
    """Distances of all pairs of magnitudes by one account.

    Parameters
    ----------
    values : array (item,)
        Magnitudes.
    account : {"linear", "log", "near", "digits", "reference"}
        As in `fit_magnitude`.
    reference : float, optional
        From where they are seen, for ``"reference"``.

    Returns
    -------
    array (pair,)
        In the order of ``numpy.triu_indices(n, 1)``.

    Raises
    ------
    UnknownName
        No such account.
    InvalidArgument
        The reference is missing, or there are no logarithms.

    Examples
    --------
    >>> magnitude_distances(np.array([1999.0, 2000.0, 2009.0]), "digits").tolist()
    [4.0, 3.0, 1.0]
    """
    if account == REFERENCE:
        if reference is None:
            raise InvalidArgument("say from where: reference=")
        return pairwise(reference_scale(values, float(reference)))
    if account not in FIXED:
        raise UnknownName.of("account", account, (*FIXED, REFERENCE))
    if account == "log" and not values.min() > 0:
        raise InvalidArgument(f"{values.min():g} has no logarithm; the values must be above 0")
    return FIXED[account](values)


# Accounts without a free reference.
FIXED: dict[str, Callable[[Values], Pairs]] = {
    "linear": _linear,
    "log": _logarithmic,
    "near": _near,
    "digits": _digits,
}

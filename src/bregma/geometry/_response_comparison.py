"""What every comparison of two response matrices offers, and the checks that they share.

All of them are the same after a rotation of the units of the model and a shift of every response,
which is why a model of a million units may be replaced by a matrix of (stimulus, stimulus).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int, Num

from bregma.errors import InvalidArgument, NotIdentifiable

FEWEST_STIMULI = 6
BLOCK = 2**24  # numbers in flight


@runtime_checkable
class ResponseComparison(Protocol):
    """How alike a model and data respond to the same stimuli; larger is more alike."""

    @property
    def name(self) -> str:
        """What is computed, in words."""

    @property
    def citations(self) -> tuple[str, ...]:
        """Keys of its sources."""

    @property
    def rotates_data(self) -> bool:
        """Whether a rotation of the units of the data changes nothing either."""

    def check_stimuli(self, n: int) -> None:
        """Refuse too few stimuli.

        Parameters
        ----------
        n : int
            Number of stimuli.

        Raises
        ------
        NotIdentifiable
            Too few; the message says how many are needed.
        """

    def compare(
        self, x: Num[np.ndarray, "stimulus_x unit_x"], y: Num[np.ndarray, "stimulus_y unit_y"]
    ) -> float:
        """Score of a model for data.

        Parameters
        ----------
        x : array of shape (stimulus, unit_x)
            Responses of the model.
        y : array of shape (stimulus, unit_y)
            Responses of the data, to the same stimuli in the same order; units need not match.

        Returns
        -------
        float
            The score; larger is more alike.

        Raises
        ------
        InvalidArgument
            Shapes that do not fit, or responses that never vary.
        NotIdentifiable
            Too few stimuli.
        """

    def permuted(
        self,
        x: Num[np.ndarray, "stimulus unit_x"],
        ys: Sequence[Any],
        orders: Int[np.ndarray, "draw stimulus"],
    ) -> Float[np.ndarray, "draw subject"]:
        """Scores of a model for data whose stimuli are put into other orders.

        Parameters
        ----------
        x : array of shape (stimulus, unit_x)
            Responses of the model.
        ys : sequence of arrays of shape (stimulus, unit)
            Responses of each subject.
        orders : array of shape (draw, stimulus)
            Permutations of the stimuli.

        Returns
        -------
        array of shape (draw, subject)
            The scores.
        """

    def without(
        self,
        x: Num[np.ndarray, "stimulus unit_x"],
        ys: Sequence[Any],
        kept: Bool[np.ndarray, "group stimulus"],
    ) -> Float[np.ndarray, "group subject"]:
        """Scores of a model for data with some stimuli left out.

        Where one side does not vary over the stimuli that stay, nothing corresponds, and the score
        is 0.

        Parameters
        ----------
        x : array of shape (stimulus, unit_x)
            Responses of the model.
        ys : sequence of arrays of shape (stimulus, unit)
            Responses of each subject.
        kept : array of bool, shape (group, stimulus)
            Which stimuli stay.

        Returns
        -------
        array of shape (group, subject)
            The scores.
        """


def checked_pair(
    comparison: ResponseComparison, x: Any, y: Any
) -> tuple[Float[np.ndarray, "stimulus unit_x"], Float[np.ndarray, "stimulus unit_y"]]:
    """Both matrices in double precision, centred, with at most as many columns as rows."""
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y):
        raise InvalidArgument(
            f"two (stimulus, unit) matrices over the same stimuli are needed, not {x.shape} and "
            f"{y.shape}"
        )
    comparison.check_stimuli(len(x))
    return compact(x, "model"), compact(y, "data") if comparison.rotates_data else varying(y)


def enough_stimuli(n: int, needed: int, what: str) -> None:
    """Refuse too few stimuli with the reason."""
    if n < needed:
        raise NotIdentifiable(f"not identifiable with {n} stimuli: {what} needs at least {needed}")


def varying(x: Any, what: str = "data") -> Float[np.ndarray, "stimulus unit"]:
    """Centred in double precision; an error where nothing differs between stimuli."""
    x = np.asarray(x, dtype=float)
    return _refuse_constant(x - x.mean(axis=0), np.abs(x).max(), what)


def compact(x: Any, what: str = "model") -> Float[np.ndarray, "stimulus component"]:
    """Centred responses, rotated into at most as many components as there are stimuli.

    All inner products between stimuli stay. The Gram matrix is summed over slices of units, so
    that wide single-precision recordings are never copied in double precision.
    """
    n, units = x.shape
    if units <= n:
        return varying(x, what)
    gram, largest = np.zeros((n, n)), 0.0
    for first in range(0, units, max(1, BLOCK // n)):
        part = np.asarray(x[:, first : first + max(1, BLOCK // n)], dtype=float)
        largest = max(largest, float(np.abs(part).max()))
        part = part - part.mean(axis=0)
        gram += part @ part.T
    values, vectors = np.linalg.eigh(gram)
    keep = values > values[-1] * n * np.finfo(float).eps
    return _refuse_constant(vectors[:, keep] * np.sqrt(values[keep]), largest, what)


def _refuse_constant(centred: Any, largest: float, what: str) -> Any:
    if not centred.size or np.abs(centred).max() <= 1e-12 * largest:
        raise InvalidArgument(
            f"the responses of the {what} are the same to every stimulus, so there is nothing to "
            "compare"
        )
    return centred

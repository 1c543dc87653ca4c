"""What a method hands over to become evidence: raw scores, and how they vary."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from bregma.errors import InvalidArgument, NotIdentifiable

from ._parts import Ceiling


@dataclass(frozen=True, kw_only=True)
class Inferred:
    """What every comparison hands over: scores and how they vary.

    Parameters
    ----------
    scores : array of shape (model,)
        The score of each model; larger means more alike.
    per_subject : array of shape (subject, model)
        The score in each subject; no rows where there are no subjects.
    covariance : array of shape (model + 1, model + 1) or (model, model)
        Sampling covariance of the scores and, last, of the lower ceiling, where one can tell how
        it varies.
    dof : float or array of the shape of the covariance
        Degrees of freedom of all, or of each (diagonal) and of each difference of two.
    null : array of shape (permutation, model)
        Scores under the null.
    exchanged : str
        One sentence: what was exchanged with what.
    n_arrangements : float
        How many distinct arrangements the exchange has; may be infinite.
    n : dict of str to int
        What was counted: stimuli, subjects, draws.
    ceiling : Ceiling, optional
        Without interval: the assembly adds it from the covariance.
    ceiling_reason : str
        Why there is no ceiling, or why one cannot tell how it varies.
    exact : bool
        Whether the null holds every arrangement once, the observed one included.

    Raises
    ------
    InvalidArgument
        When a shape does not fit or a number is not finite.
    NotIdentifiable
        When no degrees of freedom are left.
    """

    scores: Float[np.ndarray, " model"]
    per_subject: Float[np.ndarray, "subject model"]
    covariance: Float[np.ndarray, "joint joint"]
    dof: float | int | Float[np.ndarray, "joint_dof joint_dof"]
    null: Float[np.ndarray, "permutation model"]
    exchanged: str
    n_arrangements: float | int
    n: dict[str, int] = field(default_factory=dict)
    ceiling: Ceiling | None = None
    ceiling_reason: str = ""
    exact: bool = False

    def __post_init__(self) -> None:
        m = self.scores.size
        if self.covariance.ndim != 2 or self.covariance.shape[0] not in (m, m + 1):
            raise InvalidArgument(
                f"the covariance of {m} scores{' and a ceiling' if self.ceiling else ''} "
                f"has the shape {self.covariance.shape}"
            )
        for name in ("scores", "per_subject", "covariance", "null"):
            if not np.isfinite(getattr(self, name)).all():
                raise InvalidArgument(f"{name} holds a number that is not finite")
        if np.ndim(self.dof) and np.shape(self.dof) != self.covariance.shape:
            raise InvalidArgument(
                f"degrees of freedom have the shape {np.shape(self.dof)}, the covariance "
                f"{self.covariance.shape}"
            )
        if not np.min(self.dof) >= 1:  # NaN too
            raise NotIdentifiable(
                f"{np.min(self.dof):g} degrees of freedom leave no way to tell how the scores "
                "vary; at least 2 subjects or stimuli must be resampled"
            )
        if (np.diag(self.covariance)[:m] < 0).any():
            raise InvalidArgument("a variance of the scores is negative")
        if not self.ceiling_varies and not self.ceiling_reason.strip():
            raise InvalidArgument(
                "without a ceiling, or how it varies, ceiling_reason must say why"
            )

    @property
    def ceiling_varies(self) -> bool:
        """Whether the covariance says how the ceiling varies."""
        return self.ceiling is not None and len(self.covariance) > self.scores.size

    def dof_of(self, i: int, j: int | None = None) -> float:
        """Degrees of freedom of an estimate, or of the difference of two.

        Parameters
        ----------
        i, j : int
            Rows of the covariance; without `j`, of one estimate.

        Returns
        -------
        float
            Degrees of freedom.
        """
        return float(np.broadcast_to(self.dof, self.covariance.shape)[i, i if j is None else j])

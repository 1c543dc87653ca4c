"""Which heads take part in a task at which moment of training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from scipy import stats

from bregma.errors import InvalidArgument, NotIdentifiable


@dataclass(frozen=True)
class HeadHistory:
    """Heads in the circuits of the checkpoints of a training.

    Parameters
    ----------
    heads : tuple of str
        Such as ``"0.h1"``.
    times : array (checkpoint,)
        When, in any unit; increasing. The first one is where training began.
    active : bool array (checkpoint, head)
        Whether the head is in the circuit.
    resampled : bool array (resample, checkpoint, head)
        The same, found again on resampled prompts: what the finding of circuits alone changes.

    Raises
    ------
    InvalidArgument
        Shapes that do not fit, fewer than two checkpoints, or times that do not increase.

    References
    ----------
    Park, Jeong and Kang (2025), Thinking sparks! Emergent attention heads in reasoning models
    during post training.

    Examples
    --------
    >>> active = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0]], dtype=bool)
    >>> history = HeadHistory(("0.h0", "0.h1", "1.h0"), np.arange(3), active, active[None])
    >>> history.births.tolist(), history.deaths.tolist(), history.churn.tolist()
    ([1, 0], [0, 1], [0.5, 0.5])
    """

    heads: tuple[str, ...]
    times: Float[np.ndarray, " checkpoint"] | Int[np.ndarray, " checkpoint"]
    active: Bool[np.ndarray, "checkpoint head"] = field(repr=False)
    resampled: Bool[np.ndarray, "resample checkpoint head"] = field(repr=False)

    def __post_init__(self) -> None:
        shape = (len(self.times), len(self.heads))
        if self.active.shape != shape or self.resampled.shape[1:] != shape or shape[0] < 2:
            raise InvalidArgument(
                f"{shape[0]} times (2 or more) and {shape[1]} heads need an array of that shape "
                f"and resampled ones, not {self.active.shape} and {self.resampled.shape}"
            )
        if not (np.diff(self.times) > 0).all():
            raise InvalidArgument("times of the checkpoints must increase")

    @property
    def births(self) -> Int[np.ndarray, " step"]:
        """How many heads are new at each checkpoint after the first one."""
        return (self.active[1:] & ~self.active[:-1]).sum(1)

    @property
    def deaths(self) -> Int[np.ndarray, " step"]:
        """How many are there no more."""
        return (~self.active[1:] & self.active[:-1]).sum(1)

    @property
    def churn(self) -> Float[np.ndarray, " step"]:
        """Births and deaths as a share of the heads that are active before or after."""
        return _apart(self.active[1:], self.active[:-1])

    @property
    def retest(self) -> Float[np.ndarray, " checkpoint"]:
        """Churn between circuits of one checkpoint on resampled prompts, mean over their pairs.

        What changes between checkpoints is a change of the network where it is more than this.
        """
        pairs = list(combinations(self.resampled, 2))
        if not pairs:
            raise NotIdentifiable(
                "nothing was found twice at one checkpoint: ask for two resamples or more"
            )
        return np.mean([_apart(one, other) for one, other in pairs], axis=0)

    @property
    def emergent(self) -> Bool[np.ndarray, "checkpoint head"]:
        """Heads that are active now and were not when training began."""
        return self.active & ~self.active[0]

    @property
    def cumulative(self) -> Int[np.ndarray, " checkpoint"]:
        """How many heads have been emergent at this checkpoint or before."""
        return np.logical_or.accumulate(self.emergent).sum(1)

    @property
    def net_added(self) -> int:
        """How many more heads are active at the end than at the beginning."""
        return int(self.active[-1].sum()) - int(self.active[0].sum())

    def lives(self) -> pd.DataFrame:
        """A row for each time that a head was born, in the order of births.

        Returns
        -------
        DataFrame
            ``head``, ``born`` and ``last`` (times of the first and last checkpoint of that life),
            ``lasted`` (to the first checkpoint without it, or to the end) and ``alive`` (at the
            end, so that it lasts longer than is known). Heads that were there at the beginning are
            not born.
        """
        rows = []
        for head, is_on in zip(self.heads, self.active.T, strict=True):
            turned = np.flatnonzero(np.diff(is_on.astype(int))) + 1
            for begin, end in zip(turned, np.append(turned, len(is_on))[1:], strict=True):
                if is_on[begin]:
                    alive = end == len(is_on)
                    until = self.times[-1 if alive else end]
                    born = self.times[begin]
                    rows.append((head, born, self.times[end - 1], until - born, alive))
        table = pd.DataFrame(rows, columns=["head", "born", "last", "lasted", "alive"])
        return table.sort_values("born", kind="stable").reset_index(drop=True)

    def survival(self) -> pd.DataFrame:
        """How long heads last that are born, counting in those that are alive at the end.

        Returns
        -------
        DataFrame
            ``lasted``, and ``share`` of the lives that last longer (Kaplan and Meier).

        Raises
        ------
        NotIdentifiable
            No head is born.

        References
        ----------
        Kaplan and Meier (1958), Nonparametric estimation from incomplete observations.
        """
        lives = self.lives()
        if not len(lives):
            raise NotIdentifiable("no head was born, so that nobody knows how long they last")
        lasted, alive = lives["lasted"].to_numpy(float), lives["alive"].to_numpy(bool)
        found = stats.ecdf(stats.CensoredData(lasted[~alive], right=lasted[alive])).sf
        return pd.DataFrame({"lasted": found.quantiles, "share": found.probabilities})

    def follows(
        self, signal: Sequence[float | int] | Float[np.ndarray, " checkpoint"], max_lag: int = 0
    ) -> pd.DataFrame:
        """Whether the number of active heads follows a signal, such as the reward.

        Parameters
        ----------
        signal : sequence (checkpoint,)
            One number for each checkpoint.
        max_lag : int
            By how many checkpoints heads may come later, or earlier.

        Returns
        -------
        DataFrame
            ``lag`` (positive where heads come after the signal) and Pearson's ``correlation``.

        Raises
        ------
        InvalidArgument
            Another number of values, or too few checkpoints for that lag.
        NotIdentifiable
            The signal, or the number of heads, does not change.
        """
        count, told = self.active.sum(1).astype(float), np.asarray(signal, dtype=float)
        if told.shape != count.shape or not np.isfinite(told).all():
            raise InvalidArgument(
                f"the signal needs a finite value for each of {len(count)} checkpoints"
            )
        if not 0 <= max_lag <= len(count) - 3:
            raise InvalidArgument(
                f"max_lag must leave 3 of {len(count)} checkpoints, it is {max_lag}"
            )
        rows = []
        for lag in range(-max_lag, max_lag + 1):
            before, after = (told, count) if lag >= 0 else (count, told)
            n = len(count) - abs(lag)
            x, y = before[:n], after[abs(lag) :]
            if np.ptp(x) == 0 or np.ptp(y) == 0:
                raise NotIdentifiable(
                    "the signal or the number of active heads is the same at all checkpoints (of "
                    f"lag {lag}): there is nothing to correlate"
                )
            rows.append((lag, float(stats.pearsonr(x, y).statistic)))
        return pd.DataFrame(rows, columns=["lag", "correlation"])


def _apart(
    one: Bool[np.ndarray, "*more head"], other: Bool[np.ndarray, "*more head"]
) -> Float[np.ndarray, "*more"]:
    """Share of the heads of either set that are not in both; 0 for two empty sets."""
    return (one ^ other).sum(-1) / np.maximum((one | other).sum(-1), 1)

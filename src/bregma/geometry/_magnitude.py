"""Which distance between magnitudes do dissimilarities follow, and from where are they seen?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Num

from bregma._style import PALETTE, styled_figure
from bregma.errors import InvalidArgument, NotIdentifiable
from bregma.evidence import Interval, arrangements, permutation_p
from bregma.recording import Dissimilarity
from bregma.run import derive, spawn

from ._magnitude_distances import FIXED, REFERENCE, pairwise, reference_scale
from ._magnitude_lines import errors, held_out, splits

if TYPE_CHECKING:
    import plotly.graph_objects as go

Pairs = Float[np.ndarray, " pair"]


@dataclass(frozen=True, eq=False)
class MagnitudeFit:
    """Accounts of the dissimilarities of magnitudes, compared on items that were held out.

    Parameters
    ----------
    values : array (item,)
        The magnitudes.
    dissimilarity : array (pair,)
        Mean over RDMs, less its mean over pairs.
    score : dict of str to float
        R2 of pairs with an item that was held out, by account; that of ``"reference"`` had to find
        its reference without them.
    bic : dict of str to float
        Smaller is better. It takes pairs for independent, which they are not.
    reference : float
        The reference that fits all pairs best.
    references : array (reference,)
        Those that were tried.
    scan : array (reference,)
        Held-out R2 for each of them, held fixed.
    folds, seed : int
        Of the cross-validation.
    """

    values: Float[np.ndarray, " item"]
    dissimilarity: Pairs
    score: dict[str, float]
    bic: dict[str, float]
    reference: float
    references: Float[np.ndarray, " reference"]
    scan: Float[np.ndarray, " reference"]
    folds: int
    seed: int

    @property
    def best(self) -> str:
        """The account that predicts held-out items best."""
        return max(self.score, key=lambda name: self.score[name])

    @property
    def advantage(self) -> float:
        """Held-out R2 of the account with a reference less the best one without."""
        others = [score for name, score in self.score.items() if name != REFERENCE]
        return self.score[REFERENCE] - max(others)

    def to_frame(self) -> pd.DataFrame:
        """A row for each account, the best one first.

        Returns
        -------
        DataFrame
            ``account``, ``score`` and ``bic``.
        """
        table = pd.DataFrame({"score": self.score, "bic": self.bic}).rename_axis("account")
        return table.sort_values("score", ascending=False).reset_index()

    def interval(
        self, *, level: float = 0.95, n: int = 500, over: str = "items and pairs", seed: int
    ) -> Interval:
        """Where the reference lies, from resampled items and pairs.

        Pairs share items: resampling pairs alone gives too narrow an interval. Resamples of three
        pairs or fewer, which any reference would fit, are left out.

        Parameters
        ----------
        level : float
            Of the interval.
        n : int
            How many resamples.
        over : {"items and pairs", "pairs"}
            What is drawn with replacement.
        seed : int
            Of the draws.

        Returns
        -------
        Interval
            Percentiles of the best references.

        Raises
        ------
        InvalidArgument
            A level outside (0, 1), too few resamples, or something else to draw.
        NotIdentifiable
            So few items that no resample says anything.
        """
        if not 0 < level < 1 or n < 10 or over not in ("items and pairs", "pairs"):
            raise InvalidArgument(
                f"the level lies in (0, 1), resamples are 10 or more and over='items and pairs' or "
                f"'pairs', not {level}, {n} and {over!r}"
            )
        rng = spawn(seed, "magnitude", "interval")
        items, pairs = len(self.values), len(self.dissimilarity)
        weight = rng.multinomial(pairs, np.full(pairs, 1 / pairs), size=n).astype(float)
        if over == "items and pairs":
            drawn = rng.multinomial(items, np.full(items, 1 / items), size=n).astype(float)
            i, j = np.triu_indices(items, 1)
            weight *= drawn[:, i] * drawn[:, j]
        weight = weight[(weight > 0).sum(1) > 3]  # a line and a reference are three free numbers
        if not len(weight):
            raise NotIdentifiable(f"no resample of {items} items has enough pairs; use more items")
        best = errors(self._seen(), self.dissimilarity, weight).argmin(0)
        ends = np.quantile(self.references[best], [(1 - level) / 2, (1 + level) / 2])
        kind = f"percentiles over {len(weight)} resamples of {over}"
        return Interval(float(ends[0]), float(ends[1]), level, kind)

    def p_value(self, *, n: int = 199, seed: int) -> float:
        """Whether a reference predicts more than without it by chance: items are exchanged.

        Parameters
        ----------
        n : int
            How many exchanges.
        seed : int
            Of the exchanges.

        Returns
        -------
        float
            One-sided p of the held-out R2 of the account with a reference.
        """
        items = len(self.values)
        found = arrangements(items, n, seed=derive(seed, "magnitude", "items"))
        square = np.zeros((items, items))
        i, j = np.triu_indices(items, 1)
        square[i, j] = square[j, i] = self.dissimilarity
        seen, parts = self._seen(), self._parts()
        null = [held_out(seen, square[order[i], order[j]], parts)[0] for order in found.order]
        return permutation_p(self.score[REFERENCE], null, exact=found.exact)

    def plot(self) -> go.Figure:
        """Held-out R2 by reference, and that of the accounts without one.

        Returns
        -------
        plotly.graph_objects.Figure
            The figure.
        """
        import plotly.graph_objects as go

        figure = go.Figure()
        figure.add_scatter(x=self.references, y=self.scan, name="reference", mode="lines")
        for i, name in enumerate(FIXED, start=1):
            if name in self.score:
                figure.add_hline(
                    self.score[name], line={"color": PALETTE[i], "dash": "dot"},
                    annotation_text=name,
                )  # fmt: skip
        return styled_figure(figure, height=340, x="reference", y="held-out R2")

    def _seen(self) -> Float[np.ndarray, "reference pair"]:
        """Distances from each reference: not kept, as they are large."""
        return pairwise(reference_scale(self.values, self.references[:, None]))

    def _parts(self) -> list[tuple[Any, Any]]:
        return list(splits(len(self.values), self.folds, self.seed))


def fit_magnitude(
    rdm: Dissimilarity | Num[np.ndarray, " pair"],
    values: Num[np.ndarray, " item"] | Sequence[float | int],
    *,
    references: Num[np.ndarray, " reference"] | Sequence[float | int] | None = None,
    folds: int = 5,
    seed: int,
) -> MagnitudeFit:
    """Compare accounts of how magnitudes are told apart: a + b d, with b >= 0.

    d is the difference (``"linear"``), the difference of logarithms (``"log"``, where all values
    are above 0), the logarithm of 1 + the difference (``"near"``: far is far, wherever one
    stands), the edit distance of the digits (``"digits"``), or the difference seen from a reference
    (``"reference"``, see `reference_scale`), which is scanned. Items are held out: a pair
    is tested when one of its items is, and a pair is learned from when none is. Whoever has
    similarities (ratings) gives them with a minus sign.

    Parameters
    ----------
    rdm : Dissimilarity or array (pair,)
        Dissimilarities in the order of ``numpy.triu_indices(n, 1)``; several RDMs are averaged.
    values : array (item,)
        The magnitude of each item.
    references : array, optional
        References to try; 201 even steps over the values by default.
    folds : int
        Into which items are dealt.
    seed : int
        Deals them.

    Returns
    -------
    MagnitudeFit
        Scores of the accounts and the reference.

    Raises
    ------
    InvalidArgument
        Shapes that do not fit, numbers that are not finite.
    NotIdentifiable
        Too few different values, or dissimilarities that are all the same.

    References
    ----------
    Li, Yao, Wang, Li, Teng and Wang (2025), The other mind: how language models exhibit human
    temporal cognition.

    Examples
    --------
    >>> years = np.arange(1900.0, 2100.0, 8)
    >>> seen = pairwise(reference_scale(years, 2025.0))
    >>> found = fit_magnitude(seen, years, references=np.arange(1950.0, 2051.0), seed=0)
    >>> found.best, found.reference
    ('reference', 2025.0)
    """
    y = np.asarray(values, dtype=np.float64)
    given = rdm.values.mean(0) if isinstance(rdm, Dissimilarity) else np.asarray(rdm, dtype=float)
    _check(y, given, folds)
    given = given - given.mean()  # nothing depends on the level; sums lose fewer digits
    if references is None:
        references = np.linspace(y.min(), y.max(), 201)
    tried = np.asarray(references, dtype=np.float64)
    if tried.ndim != 1 or not len(tried) or not np.isfinite(tried).all():
        raise InvalidArgument("references are finite and a line of numbers")
    distances = {
        name: make(y)[None] for name, make in FIXED.items() if name != "log" or y.min() > 0
    }
    distances[REFERENCE] = pairwise(reference_scale(y, tried[:, None]))
    parts = list(splits(len(y), folds, seed))
    score, bic, everything = {}, {}, np.ones((1, len(given)))
    for name, d in distances.items():
        score[name], scan = held_out(d, given, parts)
        error = errors(d, given, everything)[:, 0]
        n_free = 3 if name == REFERENCE else 2
        floor = 1e-300  # of an account that leaves nothing over
        bic[name] = len(given) * float(np.log(max(error.min(), floor) / len(given)))
        bic[name] += n_free * float(np.log(len(given)))
    # The last account was the one with references.
    return MagnitudeFit(
        y, given, score, bic, float(tried[error.argmin()]), tried, scan, folds, seed
    )


def _check(y: Any, given: Any, folds: int) -> None:
    n = len(y)
    if y.ndim != 1 or given.shape != (n * (n - 1) // 2,):
        raise InvalidArgument(
            f"{n} values have {n * (n - 1) // 2} pairs, the dissimilarities are {given.shape}"
        )
    if not np.isfinite(y).all() or not np.isfinite(given).all():
        raise InvalidArgument("values and dissimilarities must be finite")
    if not 2 <= folds <= n // 2:
        raise InvalidArgument(f"folds must be from 2 to half of {n} items, not {folds}")
    if len(np.unique(y)) < 6 or np.ptp(given) == 0:
        raise NotIdentifiable(
            f"{len(np.unique(y))} different values and dissimilarities over a range of "
            f"{np.ptp(given):g} tell no account from another; at least 6 values are needed"
        )

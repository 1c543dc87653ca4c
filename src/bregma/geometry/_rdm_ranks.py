"""Rank comparisons of RDMs: Spearman, rho-a and tau-a, for distances on an ordinal scale."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Int64
from numba import config
from scipy.stats import rankdata

from . import _rank_kernels
from ._pairs import n_stimuli_of
from ._rdm_comparison import (
    Count,
    First,
    Models,
    Multiplicity,
    Orders,
    Places,
    RDMComparison,
    RDMs,
    Resampled,
    Second,
    Share,
    check,
    check_both,
)
from ._relabel import relabelled


@dataclass(frozen=True)
class _Rank(RDMComparison):
    """What the rank family shares; the three members differ in what is done with the ranks."""

    kind: ClassVar[int]

    def compare(self, a: First, b: Second) -> Float[np.ndarray, "a b"]:
        check_both(a, b)
        n = n_stimuli_of(a.shape[1])
        return self.resample(
            a[None],
            b,
            subject=np.zeros(len(a), dtype=np.int64),
            stimulus=np.ones((1, n), dtype=np.int64),
            multiplicity=np.ones((1, 0, len(a)), dtype=np.int64),
        ).similarity[0, 0]

    def pool(self, rdms: RDMs) -> Float[np.ndarray, " pair"]:
        # Mean ranks have the highest mean Spearman correlation to all. For tau-a the best order
        # cannot be found in reasonable time; mean ranks are what the field uses instead.
        check(rdms, "the pool")
        return rankdata(rdms, axis=1).mean(axis=0)

    def resample(
        self,
        data: Places,
        models: Models,
        *,
        subject: Int64[np.ndarray, " rdm"],
        stimulus: Count,
        multiplicity: Multiplicity,
    ) -> Resampled:
        samples, variants, n = multiplicity.shape
        out = Resampled(
            np.empty((len(data), samples, n, len(models))),
            np.empty((len(data), samples, variants, n)),
            np.empty((len(data), samples, variants, n)),
        )
        # Kernels and sorting release the interpreter; places and samples depend on no others.
        parts = min(config.NUMBA_NUM_THREADS, 1 + samples // 32)  # type: ignore[attr-defined]
        edges = [i * samples // parts for i in range(parts + 1)]

        def fill(place: int, rows: slice) -> None:
            order = _rank_kernels.order_of(np.concatenate([data[place], models]))
            _rank_kernels.compare_resampled(
                self.kind, *order, n, subject, stimulus[rows], multiplicity[rows],
                *(x[place, rows] for x in out),
            )  # fmt: skip

        with ThreadPoolExecutor(config.NUMBA_NUM_THREADS) as pool:  # type: ignore[attr-defined]
            jobs = [
                pool.submit(fill, place, slice(*rows))
                for place in range(len(data))
                for rows in pairwise(edges)
            ]
            for job in jobs:
                job.result()
        return out

    def permuted(
        self, data: RDMs, models: Models, *, share: Share, orders: Orders
    ) -> Float[np.ndarray, "draw model"]:
        if self.kind == _rank_kernels.TAU_A:
            n = len(models)
            return np.stack([
                share @ self.compare(data, rdms.T) for shuffled in relabelled(models, orders)
                for rdms in shuffled
            ]).reshape(-1, n)  # fmt: skip
        data, models = (rankdata(x, axis=1) - (x.shape[1] + 1) / 2 for x in (data, models))
        n = data.shape[1]
        if self.kind == _rank_kernels.RHO_A:
            length_data = length_models = np.array([np.sqrt((n**3 - n) / 12)])
        else:
            length_data, length_models = (np.sqrt((x**2).sum(1)) for x in (data, models))
        towards, unit = (share / length_data) @ data, models / length_models[:, None]
        return np.concatenate([towards @ shuffled for shuffled in relabelled(unit, orders)])


@dataclass(frozen=True)
class RDMSpearman(_Rank):
    """Spearman rank correlation of two RDMs.

    For distances on an ordinal scale; models that predict ties are favoured, see RDMRhoA.

    References
    ----------
    Kriegeskorte, Mur and Bandettini (2008), Representational similarity analysis.
    """

    name: ClassVar[str] = "Spearman"
    citations: ClassVar[tuple[str, ...]] = ("kriegeskorte2008rsa", "schutt2023inference")
    kind: ClassVar[int] = _rank_kernels.SPEARMAN


@dataclass(frozen=True)
class RDMRhoA(_Rank):
    """Spearman correlation expected when ties are broken at random (rho-a).

    For distances on an ordinal scale, with models that predict ties (categories).

    References
    ----------
    Schütt et al. (2023), Statistical inference on representational geometries.
    """

    name: ClassVar[str] = "rho-a"
    citations: ClassVar[tuple[str, ...]] = ("schutt2023inference",)
    kind: ClassVar[int] = _rank_kernels.RHO_A


@dataclass(frozen=True)
class RDMTauA(_Rank):
    """Kendall's tau-a: concordant less discordant comparisons, over all comparisons.

    For distances on an ordinal scale, with models that predict ties (categories). Slower than
    rho-a, which answers the same question.

    References
    ----------
    Nili et al. (2014), A toolbox for representational similarity analysis.
    """

    name: ClassVar[str] = "tau-a"
    citations: ClassVar[tuple[str, ...]] = ("nili2014toolbox", "schutt2023inference")
    kind: ClassVar[int] = _rank_kernels.TAU_A

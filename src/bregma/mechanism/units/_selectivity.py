"""What units tell apart: class by class, against labels that are exchanged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from scipy.stats import rankdata

from bregma.errors import InvalidArgument, NotIdentifiable, UnknownName
from bregma.evidence import arrangements, benjamini_hochberg, permutation_p
from bregma.mechanism.units._sparseness import sparseness_of
from bregma.recording import Recording
from bregma.run import derive

FLAT = 1e-12  # of a unit's variance: answers within classes that do not vary
NUMBERS = 2**22  # responses (and draws of them) in flight


@dataclass(frozen=True)
class Selectivity:
    """How well each unit tells each class from the others.

    Parameters
    ----------
    units : DataFrame
        The units, by id.
    classes : array (class,)
        Labels.
    d_prime : array (unit, class)
        Difference of means in units of the common standard deviation.
    auroc : array (unit, class)
        Probability that a presentation of the class drives the unit more than another one.
    class_selectivity : array (unit,) or None
        Best class against the mean of the others; None where there are negative responses.
    sparseness : array (unit,) or None
        Over presentations; None where there are negative responses.
    p_values, p_family : mapping of str to array (unit,)
        For each index the share of exchanged labels under which a unit (or the best of all units)
        is as selective for its best class.
    exchanged : str
        What was exchanged with what.
    """

    units: pd.DataFrame
    classes: np.ndarray
    d_prime: Float[np.ndarray, "unit class"]
    auroc: Float[np.ndarray, "unit class"]
    class_selectivity: Float[np.ndarray, " unit"] | None
    sparseness: Float[np.ndarray, " unit"] | None
    p_values: Mapping[str, Float[np.ndarray, " unit"]] = field(repr=False)
    p_family: Mapping[str, Float[np.ndarray, " unit"]] = field(repr=False)
    exchanged: str

    def to_frame(self, index: str = "auroc") -> pd.DataFrame:
        """A row for each unit.

        Parameters
        ----------
        index : {"auroc", "d_prime", "class_selectivity"}
            Which index is tested.

        Returns
        -------
        DataFrame
            The class that the unit tells best from the others (``preferred``), the indices there,
            ``sparseness``, and ``p`` of the index that is tested: by itself, corrected for the
            false discovery rate over units (``p_fdr``), and for the best of all units (``p_fwe``).

        Raises
        ------
        UnknownName
            No such index.
        """
        if index not in self.p_values:
            raise UnknownName.of("index of selectivity", index, self.p_values)
        best = np.abs(self.auroc - 0.5).argmax(axis=1)
        unit = np.arange(len(best))
        table: dict[str, Any] = {
            "preferred": self.classes[best],
            "auroc": self.auroc[unit, best],
            "d_prime": self.d_prime[unit, best],
        }
        if self.class_selectivity is not None:
            table |= {"class_selectivity": self.class_selectivity, "sparseness": self.sparseness}
        p = self.p_values[index]
        table |= {"p": p, "p_fdr": benjamini_hochberg(p), "p_fwe": self.p_family[index]}
        return pd.DataFrame(table, index=self.units.index)


def selectivity(recording: Recording, labels: Any, *, n: int = 999, seed: int) -> Selectivity:
    r"""What each unit tells apart, and whether it would under labels that mean nothing.

    .. math:: d' = \frac{\mu_c - \mu_{\bar c}}{\sqrt{(\sigma_c^2 + \sigma_{\bar c}^2) / 2}}, \qquad
        \mathrm{AUROC} = P(r_c > r_{\bar c}) + \tfrac12 P(r_c = r_{\bar c}), \qquad
        \mathrm{CSI} = \frac{\mu_{\max} - \mu_{-\max}}{\mu_{\max} + \mu_{-\max}}

    with :math:`\mu_{-\max}` the mean of the means of the other classes. The best of many classes
    (and of many units) looks selective by chance: the same maximum is taken under exchanged labels.

    Parameters
    ----------
    recording : Recording
        Of neurons or of a network; without a time axis.
    labels : str or array (presentation,)
        The class of each presentation: a coordinate of the recording, or the labels themselves.
        Where all presentations of a stimulus have one label, stimuli are exchanged, with all their
        presentations; otherwise presentations are.
    n : int
        Exchanges of labels.
    seed : int
        Of the exchanges.

    Returns
    -------
    Selectivity
        The indices, with p-values for each unit.

    Raises
    ------
    InvalidArgument
        If labels do not fit, or there is a time axis.
    NotIdentifiable
        If there is one class only, or a class with a single presentation.

    References
    ----------
    Green and Swets (1966), Signal detection theory and psychophysics.
    Morcos et al. (2018), On the importance of single directions for generalization.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> faces = np.arange(40) < 20
    >>> rates = rng.poisson(np.where(faces, 9, 3)[:, None] * [1, 0] + [0, 5])
    >>> found = selectivity(Recording.from_array(rates), faces, n=199, seed=0)
    >>> found.to_frame()["p_fwe"].round(2).tolist()  # the second unit tells nothing apart
    [0.0, 0.69]
    """
    if recording.has_time:
        raise InvalidArgument("there is a time axis: average over a window with mean_time first")
    names = recording.coordinate(labels) if isinstance(labels, str) else np.asarray(labels)
    if names.shape != (recording.n_presentations,):
        raise InvalidArgument(
            f"labels of shape {names.shape} for {recording.n_presentations} presentations"
        )
    if n < 1:
        raise InvalidArgument(f"n must be 1 or more, not {n}")
    classes, codes = np.unique(names, return_inverse=True)
    sizes = np.bincount(codes)
    if len(classes) < 2 or sizes.min() < 2:
        raise NotIdentifiable(
            "selectivity needs two classes with two presentations each; there are "
            + ", ".join(f"{s} of {c!r}" for c, s in zip(classes.tolist(), sizes, strict=True))
        )
    assigned, exchanged, exact = _exchanged(recording, codes, n, seed)

    values = recording.values.astype(np.float64)
    step = max(1, NUMBERS // max(len(values), len(assigned) * len(classes)))
    found: list[tuple[Found, Found]] = []  # indices and p-values of some units
    family: Found = {}  # under each exchange the best of all units so far
    for i in range(0, values.shape[1], step):
        observed, nulls = _selectivity(values[:, i : i + step], codes, assigned, len(classes))
        p = {name: _p(_best(name, observed[name]), null, exact) for name, null in nulls.items()}
        found.append((observed, p))
        for name, null in nulls.items():
            family[name] = np.maximum(family.get(name, -np.inf), null.max(axis=1))
    indices, p_values = (
        {name: np.concatenate([part[name] for part in parts]) for name in family}
        for parts in zip(*found, strict=True)
    )
    rates = bool(values.min() >= 0)
    tested = [name for name in family if rates or name != "class_selectivity"]
    return Selectivity(
        units=recording.units,
        classes=classes,
        d_prime=indices["d_prime"],
        auroc=indices["auroc"],
        class_selectivity=indices["class_selectivity"] if rates else None,
        sparseness=sparseness_of(values, "presentations") if rates else None,
        p_values={name: p_values[name] for name in tested},
        p_family={
            name: _p(_best(name, indices[name]), family[name][:, None], exact) for name in tested
        },
        exchanged=exchanged,
    )


def _exchanged(
    recording: Recording, codes: Int[np.ndarray, " presentation"], n: int, seed: int
) -> tuple[Int[np.ndarray, "draw presentation"], str, bool]:
    """Classes of the presentations under exchanged labels."""
    stimuli, first, which = np.unique(recording.stimuli, return_index=True, return_inverse=True)
    key = derive(seed, "selectivity")
    if (codes == codes[first][which]).all():
        drawn = arrangements(len(stimuli), n, seed=key)
        assigned = codes[first][drawn.order][:, which]
        return assigned, "labels of stimuli with each other", drawn.exact
    drawn = arrangements(len(codes), n, seed=key)
    return codes[drawn.order], "labels of presentations with each other", drawn.exact


Found = dict[str, Any]


def _selectivity(values: Any, codes: Any, assigned: Any, n_classes: int) -> tuple[Found, Found]:
    """Indices of some units, and their best under each exchange (draw, unit)."""
    middle, spread = values.mean(axis=0), values.std(axis=0)
    scaled = (values - middle) / np.where(spread > 0, spread, 1)
    moments = scaled, scaled**2, rankdata(values, axis=0)

    def indices(of: Any) -> Found:  # (draw, presentation) -> (draw, unit, class)
        member = (of[:, None] == np.arange(n_classes)[:, None]).astype(float)
        size = member.sum(axis=2)[..., None]
        mean, square, rank = (member @ x / size for x in moments)
        return _indices(size, mean, square, rank, middle, spread, len(values))

    observed = {name: index[0] for name, index in indices(codes[None]).items()}
    few = max(1, NUMBERS // (n_classes * max(values.shape)))
    parts = [indices(assigned[i : i + few]) for i in range(0, len(assigned), few)]
    nulls = {name: np.concatenate([_best(name, p[name]) for p in parts]) for name in observed}
    return observed, nulls


def _indices(
    n: Any, mean: Any, square: Any, rank: Any, middle: Any, spread: Any, total: int
) -> Found:
    """From class sizes and means (draw, class, unit) of scaled responses, squares and ranks."""
    rest = total - n
    other, other_square = -mean * n / rest, (total - square * n) / rest
    silent = spread <= 0
    # Where stimuli with unlike numbers of repeats are exchanged, a class may be one presentation.
    free, other_free = np.maximum(n - 1, 1), np.maximum(rest - 1, 1)
    variance = (square - mean**2) * n / free + (other_square - other**2) * rest / other_free
    d_prime = (mean - other) / np.sqrt(np.maximum(variance / 2, FLAT))
    auroc = (rank * n - n * (n + 1) / 2) / (n * rest)
    rates = np.maximum(mean * spread + middle, 0)
    top = rates.max(axis=1)
    others = (rates.sum(axis=1) - top) / (rates.shape[1] - 1)
    both = top + others
    csi = np.divide(top - others, both, out=np.zeros_like(both), where=both > 0)
    return {
        "d_prime": np.where(silent, 0, d_prime).swapaxes(1, 2),
        "auroc": auroc.swapaxes(1, 2),
        "class_selectivity": csi,
    }


def _best(name: str, index: Any) -> Any:
    """The index of the class that a unit tells best from the others."""
    if name == "class_selectivity":
        return index
    return np.abs(index - 0.5 if name == "auroc" else index).max(axis=-1)


def _p(best: Any, null: Any, exact: bool) -> Any:
    """Of each unit, among its own draws or (draw, 1) those that all units share."""
    draws = np.broadcast_to(null.T, (len(best), len(null)))
    return np.array(
        [permutation_p(one, some, exact=exact) for one, some in zip(best, draws, strict=True)]
    )

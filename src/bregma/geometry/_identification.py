"""Identification: whose RDM is it? That of the region (or layer) it is most like in the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from bregma.errors import InvalidArgument, NotIdentifiable
from bregma.evidence import permutation_p
from bregma.recording import Dissimilarity
from bregma.run import spawn

from ._geo_topological import RDMTransform
from ._rdm_comparison import RDMComparison
from ._rdm_cosines import RDMPearson

TINY = 1e-12  # of the squared length of a centre: nothing is left of it


@dataclass(frozen=True, eq=False)
class Identification:
    """What was taken for what, and how often that was right.

    Parameters
    ----------
    answers : pandas.DataFrame
        A row for each RDM: who it is from, its label, the label it was taken for (``found``), and
        the name of the transform that was chosen without this subject (``transform``).
    accuracy : float
        Share of the RDMs whose label was found.
    chance : float
        One over the number of labels.
    hindsight : pandas.Series
        Accuracy of each transform by itself, by its name. The best of these was chosen with the
        subjects that it is tested on: it promises too much.
    null : array of shape (draw,)
        Accuracies after the labels were exchanged within each subject, the choice of the transform
        included.
    """

    answers: pd.DataFrame
    accuracy: float
    chance: float
    hindsight: pd.Series
    null: Float[np.ndarray, " draw"]

    @property
    def p_value(self) -> float:
        """Chance of so many right answers where labels mean nothing across subjects."""
        if not len(self.null):
            raise InvalidArgument("no labels were exchanged: use identify(..., n_permutations=999)")
        return permutation_p(self.accuracy, self.null)


def identify(
    rdms: Dissimilarity,
    label: str,
    *,
    across: str = "subject",
    transforms: Sequence[RDMTransform] = (),
    comparison: RDMComparison = RDMPearson(),  # noqa: B008  (frozen)
    n_permutations: int = 0,
    seed: int = 0,
) -> Identification:
    """Tell from one subject's RDMs which region (layer, model) each is from, by all the others.

    An RDM is taken for the label whose mean RDM over the other subjects it is most similar to. The
    transform is chosen anew for each subject, by how well the others are told from each other; that
    subject has no part in it. The first of equally good transforms is taken.

    Parameters
    ----------
    rdms : Dissimilarity
        RDMs of several subjects with their labels.
    label : str
        Column of the table of RDMs that is to be found out, such as ``"area"`` or ``"layer"``.
    across : str
        Column that says whom an RDM is from; the same subject is never compared with itself.
    transforms : sequence of RDMTransform
        What to choose from, such as `GeoTopological` of several quantiles; the RDMs as they are
        where none are given. Names must differ.
    comparison : RDMComparison
        How alike two RDMs are. Similarities are taken as inner products, which they are for
        all comparisons of this room: the mean RDM is the mean of what is multiplied.
    n_permutations : int
        How often to exchange labels within each subject, for `Identification.p_value`.
    seed : int
        Of the permutations.

    Returns
    -------
    Identification
        Accuracy, chance, and what each RDM was taken for.

    Raises
    ------
    InvalidArgument
        Two transforms of one name, or fewer than 0 permutations.
    NotIdentifiable
        Too few subjects or labels, or a label that one subject alone has.

    References
    ----------
    Lin and Kriegeskorte (2024), The topology and geometry of neural representations.

    Examples
    --------
    >>> import numpy as np
    >>> from bregma import Dissimilarity
    >>> of_area = np.random.default_rng(0).random((2, 15))
    >>> table = {"subject": [1, 1, 2, 2, 3, 3], "area": ["V1", "IT"] * 3}
    >>> noise = 0.1 * np.random.default_rng(1).random((6, 15))
    >>> identify(Dissimilarity(np.tile(of_area, (3, 1)) + noise, rdms=table), "area").accuracy
    1.0
    """
    names = [transform.name for transform in transforms] or ["as they are"]
    if len(set(names)) < len(names):
        raise InvalidArgument(f"the names of the transforms must differ, they are {names}")
    if n_permutations < 0:
        raise InvalidArgument(f"n_permutations must be 0 or more, not {n_permutations}")
    labels, true = np.unique(rdms.column(label), return_inverse=True)
    subjects, subject = np.unique(rdms.column(across), return_inverse=True)
    _check(labels, true, subjects, subject, label, across, choose=len(names) > 1)
    variants = [transform(rdms) for transform in transforms] or [rdms]
    similarity = np.stack([comparison.compare(v.values, v.values) for v in variants])

    found, chosen = _leave_one_out(similarity, true, subject)
    taken = found[chosen, np.arange(rdms.n_rdms)]
    rng = spawn(seed, "labels")
    null = [_accuracy(similarity, _exchanged(true, subject, rng), subject)
            for _ in range(n_permutations)]  # fmt: skip
    answers = pd.DataFrame({
        across: rdms.column(across), label: labels[true], "found": labels[taken],
        "transform": np.array(names)[chosen],
    })  # fmt: skip
    return Identification(
        answers,
        accuracy=float((taken == true).mean()),
        chance=1 / len(labels),
        hindsight=pd.Series((found == true).mean(axis=1), index=names, name="accuracy"),
        null=np.array(null, dtype=float),
    )


def _leave_one_out(
    similarity: Float[np.ndarray, "transform rdm rdm"],
    true: Int[np.ndarray, " rdm"],
    subject: Int[np.ndarray, " rdm"],
) -> tuple[Int[np.ndarray, "transform rdm"], Int[np.ndarray, " rdm"]]:
    """What each RDM is taken for under each transform, and the one chosen for its subject."""
    n_transforms, n_rdms = similarity.shape[:2]
    member = true[:, None] == np.arange(true.max() + 1)
    found, chosen = np.empty((n_transforms, n_rdms), dtype=int), np.zeros(n_rdms, dtype=int)
    for s in np.unique(subject):
        own, others = subject == s, subject != s
        found[:, own] = _nearest(similarity, own, member & others[:, None])
        if n_transforms > 1:
            chosen[own] = _choose(similarity, true, subject, others, member)
    return found, chosen


def _accuracy(similarity: Any, true: Any, subject: Any) -> float:
    found, chosen = _leave_one_out(similarity, true, subject)
    return float((found[chosen, np.arange(len(true))] == true).mean())


def _exchanged(true: Any, subject: Any, rng: np.random.Generator) -> Any:
    """Labels in a random order within each subject."""
    out = true.copy()
    for s in np.unique(subject):
        out[subject == s] = rng.permutation(true[subject == s])
    return out


def _choose(
    similarity: Float[np.ndarray, "transform rdm rdm"],
    true: Int[np.ndarray, " rdm"],
    subject: Int[np.ndarray, " rdm"],
    others: Bool[np.ndarray, " rdm"],
    member: Bool[np.ndarray, "rdm label"],
) -> int:
    """The transform under which the others are told from each other best."""
    right = np.zeros(len(similarity), dtype=int)
    for t in np.unique(subject[others]):
        own, rest = subject == t, others & (subject != t)
        right += (_nearest(similarity, own, member & rest[:, None]) == true[own]).sum(axis=1)
    return int(np.argmax(right))


def _nearest(
    similarity: Float[np.ndarray, "transform rdm rdm"],
    rows: Bool[np.ndarray, " rdm"],
    member: Bool[np.ndarray, "rdm label"],
) -> Int[np.ndarray, "transform row"]:
    """Label whose centre each of the rows is most similar to.

    The cosine with the centre c = mean of x_j follows from inner products alone:
    <x_i, c> = mean_j <x_i, x_j>, and |c|^2 = mean_jk <x_j, x_k>.
    """
    weight = member / np.maximum(member.sum(axis=0), 1)
    towards = similarity @ weight  # (transform, rdm, label)
    length = np.sqrt(np.maximum(np.einsum("jl,tjl->tl", weight, towards), TINY))
    cosine = np.where(member.any(axis=0), towards[:, rows] / length[:, None], -np.inf)
    return np.argmax(cosine, axis=-1)


def _check(
    labels: Any, true: Any, subjects: Any, subject: Any, label: str, across: str, *, choose: bool
) -> None:
    needed = 3 if choose else 2
    if len(subjects) < needed or len(labels) < 2:
        why = " to choose a transform without the one that it is tested on" if choose else ""
        raise NotIdentifiable(
            f"there are {len(labels)} labels in {label!r} and {len(subjects)} in {across!r}; at "
            f"least 2 and {needed} are needed{why}"
        )
    lonely = [k for k in range(len(labels)) if len(set(subject[true == k])) < needed]
    if lonely:
        raise NotIdentifiable(
            f"{label}={labels[lonely[0]].item()!r} has RDMs of fewer than {needed} in {across!r}, "
            "so that it cannot be found by the others; leave it out with .select"
        )

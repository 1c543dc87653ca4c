"""Identification: whose RDM is it? That of the region (or layer) it is most like in the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from bregma.errors import InvalidArgument, NotIdentifiable
from bregma.recording import Dissimilarity

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
    """

    answers: pd.DataFrame
    accuracy: float
    chance: float
    hindsight: pd.Series


def identify(
    rdms: Dissimilarity,
    label: str,
    *,
    across: str = "subject",
    transforms: Sequence[RDMTransform] = (),
    comparison: RDMComparison = RDMPearson(),  # noqa: B008  (frozen)
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

    Returns
    -------
    Identification
        Accuracy, chance, and what each RDM was taken for.

    Raises
    ------
    InvalidArgument
        Two transforms of one name.
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
    labels, true = np.unique(rdms.column(label), return_inverse=True)
    subjects, subject = np.unique(rdms.column(across), return_inverse=True)
    _check(labels, true, subjects, subject, label, across, choose=len(names) > 1)
    variants = [transform(rdms) for transform in transforms] or [rdms]
    similarity = np.stack([comparison.compare(v.values, v.values) for v in variants])

    member = true[:, None] == np.arange(len(labels))
    found = np.empty((len(names), rdms.n_rdms), dtype=int)
    chosen = np.empty(rdms.n_rdms, dtype=int)
    for s in range(len(subjects)):
        own, others = subject == s, subject != s
        found[:, own] = _nearest(similarity, own, member & others[:, None])
        chosen[own] = _choose(similarity, true, subject, others, member) if len(names) > 1 else 0
    taken = found[chosen, np.arange(rdms.n_rdms)]
    right = found == true
    answers = pd.DataFrame({
        across: rdms.column(across), label: labels[true], "found": labels[taken],
        "transform": np.array(names)[chosen],
    })  # fmt: skip
    return Identification(
        answers,
        accuracy=float((taken == true).mean()),
        chance=1 / len(labels),
        hindsight=pd.Series(right.mean(axis=1), index=names, name="accuracy"),
    )


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

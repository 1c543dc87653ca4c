"""Absorption: a general feature is off where a special one is on that should come with it."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from bregma.errors import InvalidArgument, NotIdentifiable
from bregma.mechanism.dictionaries._scores import MatchedFeatures


def absorption(
    code: Float[Tensor, "sample feature"],
    truth: Float[Tensor, "sample atom"],
    parent: Int[Tensor, " atom"],
    match: MatchedFeatures,
) -> float:
    """Share of the cases with parent and child on in which the parent's feature is off.

    Then the child's feature says "child and parent" in one, and the parent's cannot be relied on:
    it stands for the parent except where something else took over.

    Parameters
    ----------
    code : Tensor (sample, feature)
        What the dictionary finds; above 0 is on.
    truth : Tensor (sample, atom)
        What was there; not 0 is on.
    parent : Tensor (atom,)
        The parent of each atom; -1 for those that have none.
    match : MatchedFeatures
        Which feature stands for which atom, from `match_features`. A parent without one is off.

    Returns
    -------
    float
        0 (none) to 1.

    Raises
    ------
    InvalidArgument
        If shapes do not fit.
    NotIdentifiable
        If parent and child are never on together.

    References
    ----------
    Chanin et al. (2024), A is for absorption: studying feature splitting and absorption in sparse
    autoencoders.

    Examples
    --------
    >>> from bregma.mechanism import absorption, match_features
    >>> truth, parent = torch.tensor([[1.0, 1.0], [1.0, 0.0]]), torch.tensor([-1, 0])
    >>> absorption(truth, truth, parent, match_features(torch.eye(2), torch.eye(2)))
    0.0
    """
    index = torch.as_tensor(match.index, device=code.device)
    n_atoms = len(parent)
    if len(code) != len(truth) or truth.shape[1] != n_atoms or len(index) != n_atoms:
        raise InvalidArgument(
            f"a code of {tuple(code.shape)}, a truth of {tuple(truth.shape)}, {n_atoms} parents "
            f"and {len(index)} matched atoms do not fit"
        )
    if int(index.max()) >= code.shape[1] or int(parent.max()) >= n_atoms:
        raise InvalidArgument(
            "a match names a feature that the code does not have, or a parent is no atom"
        )
    child = (parent >= 0).nonzero()[:, 0]
    above = parent[child]
    both = (truth[:, child] != 0) & (truth[:, above] != 0)
    if not bool(both.any()):
        raise NotIdentifiable("parent and child are never on together: nothing can be absorbed")
    found = (code[:, index[above]] > 0) & (index[above] >= 0)
    return float((~found)[both].double().mean())

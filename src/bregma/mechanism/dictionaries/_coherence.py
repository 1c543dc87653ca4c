"""How alike the features of a dictionary are: pair by pair, and one against many."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from bregma.errors import InvalidArgument

ELEMENTS = 2**24  # products that are held at once: 128 MiB in float64


@torch.no_grad()
def babel(dictionary: Any) -> Float[Tensor, " others"]:
    r"""Babel function of a dictionary: how much m other features can stand in for one of them.

    mu_1(m) = max over features i and sets L of m others of the sum over j in L of |cos(d_i, d_j)|.
    Its first value is the coherence, the largest |cosine| of any two. It is 0 for orthogonal
    features, and m times the coherence where all are equally alike. Matching pursuit finds the
    features of every signal of m of them if mu_1(m - 1) + mu_1(m) < 1. Products are made in
    slices, so that memory is bounded.

    Parameters
    ----------
    dictionary : array or Tensor (feature, number)
        One feature per row, or those that were chosen for one sample; at least two.

    Returns
    -------
    Tensor (others,)
        mu_1(m) for m = 1 to the number of features minus 1; on the device of the dictionary.

    Raises
    ------
    InvalidArgument
        If there are fewer than two features, or one is zero or not finite.

    References
    ----------
    Tropp (2004), Greed is good: algorithmic results for sparse approximation.

    Examples
    --------
    >>> from bregma.mechanism import babel
    >>> babel(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]]))
    tensor([0.8000, 1.4000], dtype=torch.float64)
    """
    rows = torch.as_tensor(dictionary).detach().double()
    if rows.ndim != 2 or len(rows) < 2:
        raise InvalidArgument(
            f"give two features or more, (feature, number), not the shape {tuple(rows.shape)}"
        )
    lengths = rows.norm(dim=1)
    if not bool(((lengths > 0) & lengths.isfinite()).all()):
        raise InvalidArgument("a feature is zero or not finite, so that it has no direction")
    rows, n = normalize(rows, dim=1), len(rows)
    largest = rows.new_zeros(n - 1)
    for some in torch.arange(n, device=rows.device).split(max(1, ELEMENTS // n)):
        alike = (rows[some] @ rows.T).abs()
        alike[torch.arange(len(some)), some] = -1  # itself: comes last, and is left out
        sums = alike.sort(dim=1, descending=True).values[:, :-1].cumsum(1)
        largest = torch.maximum(largest, sums.max(0).values)
    return largest

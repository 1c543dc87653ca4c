"""Matching pursuit as an encoder: features are taken one by one, each from what is left."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from bregma.errors import InvalidArgument
from bregma.mechanism.dictionaries._codes import SparseCode, at_least_one

GRAM_ELEMENTS = 2**26  # a table of all products of features may take 256 MiB in float32


class MatchingPursuitCode(SparseCode):
    r"""Take the feature that points most along what is left, subtract it, and go on.

    r <- x - b; then steps times: j = argmax d_j . r, c = ReLU(d_j . r), z_j += c, r <- r - c d_j.
    With features of length 1, |r|^2 falls by c^2 in each step and r . d_j becomes 0, so that the
    next feature is chosen given the ones before, and the error never grows with more steps: `steps`
    may be changed after training. A feature may be taken again. Derivatives flow through c and the
    features, not through the choice.

    Instead of all products with r, those with the chosen feature are subtracted (a table of the
    products of the features), unless that table were above 256 MiB.

    Parameters
    ----------
    steps : int
        Features per sample at most.
    tolerance : float
        A sample is done when the length of what is left is not above this.

    References
    ----------
    Costa et al. (2025), From flat to hierarchical: extracting sparse representations with matching
    pursuit.
    Mallat and Zhang (1993), Matching pursuits with time-frequency dictionaries.

    Examples
    --------
    >>> MatchingPursuitCode(2)(torch.tensor([[3.0, -1.0]]), torch.eye(2))
    tensor([[3., 0.]])
    """

    selects_itself: ClassVar[bool] = True

    def __init__(self, steps: int, *, tolerance: float = 0.0) -> None:
        super().__init__()
        if not 0 <= tolerance < math.inf:
            raise InvalidArgument(f"tolerance must be 0 or more, not {tolerance}")
        self.steps, self.tolerance = at_least_one(steps, "steps"), float(tolerance)

    def forward(  # type: ignore[override]
        self, centred: Float[Tensor, "*sample input"], dictionary: Float[Tensor, "feature input"]
    ) -> Float[Tensor, "*sample feature"]:
        """Make the code.

        Parameters
        ----------
        centred : Tensor (..., input)
            x - b.
        dictionary : Tensor (feature, input)
            Features of length 1.

        Returns
        -------
        Tensor (..., feature)
            0 or more.
        """
        flat = centred.reshape(-1, centred.shape[-1])
        with torch.no_grad():
            chosen, going = self.choose(flat, dictionary)
        left, taken = flat, []
        for step in range(chosen.shape[1]):  # again with derivatives, for the chosen ones only
            features = dictionary[chosen[:, step]]
            c = (features * left).sum(-1).relu() * going[:, step]
            left = left - c[:, None] * features
            taken.append(c)
        code = flat.new_zeros(len(flat), len(dictionary))
        code = code.scatter_add(1, chosen, torch.stack(taken, 1))
        return code.reshape(*centred.shape[:-1], len(dictionary))

    def choose(
        self, x: Float[Tensor, "sample input"], dictionary: Float[Tensor, "feature input"]
    ) -> tuple[Int[Tensor, "sample step"], Float[Tensor, "sample step"]]:
        """Which feature each step takes.

        Parameters
        ----------
        x : Tensor (sample, input)
            Centred input.
        dictionary : Tensor (feature, input)
            Features of length 1.

        Returns
        -------
        chosen : Tensor (sample, step)
            Indices of features.
        going : Tensor (sample, step)
            1 where the sample was not done yet, else 0.
        """
        gram = dictionary @ dictionary.T if len(dictionary) ** 2 <= GRAM_ELEMENTS else None
        along, left, energy = x @ dictionary.T, x, x.square().sum(-1)
        chosen, going = [], []
        for _ in range(self.steps):
            best, j = along.max(dim=1)
            on = (energy > self.tolerance**2).to(x)
            c = best.relu() * on
            energy = (energy - c.square()).clamp_min(0)
            if gram is None:
                left = left - c[:, None] * dictionary[j]
                along = left @ dictionary.T
            else:
                along = along - c[:, None] * gram[j]
            chosen.append(j)
            going.append(on)
        return torch.stack(chosen, 1), torch.stack(going, 1)

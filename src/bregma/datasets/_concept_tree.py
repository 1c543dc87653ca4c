"""Signals whose concepts have a level above them: a parent, and one of its children or none."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from bregma.datasets._planted_codes import PlantedCodes
from bregma.errors import InvalidArgument
from bregma.run import spawn_torch


@dataclass(frozen=True)
class ConceptTree(PlantedCodes):
    """Planted codes whose atoms are the concepts of a tree.

    Parameters
    ----------
    signals : Tensor (signal, pixel)
        Sums of the concepts of one path, with noise.
    dictionary : Tensor (pixel, atom)
        Concepts of length 1: the parents, then the children of the first parent, and so on.
    codes : Tensor (signal, atom)
        The truth.
    noise : float
        Standard deviation of the noise of a pixel: the error of the true codes.
    parent : Tensor (atom,)
        The parent of each atom; -1 for those at the top.
    """

    parent: Int[Tensor, " atom"]


def concept_tree(
    n: int,
    *,
    pixels: int = 16,
    parents: int = 8,
    children: int = 5,
    alone: float = 0.0,
    noise: float = 0.0,
    seed: int,
) -> ConceptTree:
    """Signals of one path through a tree: a parent, and one of its children.

    A child is orthogonal to its own parent, and to nothing else on purpose: parents are random
    directions, and so are children within the plane that their parent leaves. So all concepts may
    be far more in number than pixels, and the two of a signal still do not overlap. Parents have
    amplitudes of 1 to 2, children half of that.

    Parameters
    ----------
    n : int
        How many signals.
    pixels : int
        Length of a signal.
    parents, children : int
        Parents, and children of each.
    alone : float
        Share of signals in which the parent comes without a child.
    noise : float
        Standard deviation of the noise of a pixel.
    seed : int
        Draws everything.

    Returns
    -------
    ConceptTree
        Signals with their truth.

    Raises
    ------
    InvalidArgument
        If a number is out of range.

    References
    ----------
    Costa et al. (2025), From flat to hierarchical: extracting sparse representations with matching
    pursuit.

    Examples
    --------
    >>> tree = concept_tree(100, seed=0)
    >>> tree.signals.shape, tree.dictionary.shape, tree.parent[7:10].tolist()
    (torch.Size([100, 16]), torch.Size([16, 48]), [-1, 0, 0])
    """
    if min(n, parents, children) < 1 or pixels < 2 or not 0 <= alone <= 1 or not noise >= 0:
        raise InvalidArgument(
            "n, parents and children must be 1 or more, pixels 2 or more, alone 0 to 1 and noise "
            f"0 or more, not {n}, {parents}, {children}, {pixels}, {alone} and {noise}"
        )
    rng = spawn_torch(seed, "concept tree")
    top = normalize(torch.randn(parents, pixels, generator=rng), dim=1)
    below = _beside(torch.randn(parents, children, pixels, generator=rng), top[:, None])
    dictionary = torch.cat([top, below.flatten(0, 1)]).T
    parent = torch.cat(
        [torch.full((parents,), -1), torch.arange(parents).repeat_interleave(children)]
    )

    family = torch.randint(parents, (n,), generator=rng)
    child = torch.randint(children, (n,), generator=rng)
    size = (1 + torch.rand(n, 2, generator=rng)) * torch.tensor([1.0, 0.5])
    size[:, 1] *= torch.rand(n, generator=rng) >= alone
    path = torch.stack([family, parents + family * children + child], 1)
    codes = torch.zeros(n, len(parent)).scatter_(1, path, size)
    errors = noise * torch.randn(n, pixels, generator=rng)
    return ConceptTree(codes @ dictionary.T + errors, dictionary, codes, noise, parent)


def _beside(
    rows: Float[Tensor, "parent child pixel"], axis: Float[Tensor, "parent 1 pixel"]
) -> Float[Tensor, "parent child pixel"]:
    """What of rows is orthogonal to an axis, at length 1."""
    return normalize(rows - (rows * axis).sum(-1, keepdim=True) * axis, dim=-1)

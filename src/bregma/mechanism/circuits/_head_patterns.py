"""What the matrices of attention heads look like: diagonal, even, cancelling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from bregma.errors import InvalidArgument
from bregma.mechanism.circuits._read import stream_of
from bregma.mechanism.circuits._stream import same


@dataclass(frozen=True)
class HeadCircuits:
    """The matrices of the heads of one layer, in a gauge that the heads cannot hide in.

    Keys and queries can be turned against each other, and values and outputs, without a change of
    what a head does; their products cannot.

    Parameters
    ----------
    look : Tensor (head, direction, direction)
        What a head looks for: the score of a key's vector (first) for a query's vector.
    say : Tensor (head, direction, direction)
        What a head writes (second) of what it sees (first).
    """

    look: Float[Tensor, "head direction direction"]
    say: Float[Tensor, "head direction direction"]


@torch.no_grad()
def head_circuits(
    model: Any, layer: int, *, basis: Float[Tensor, "width direction"] | None = None
) -> HeadCircuits:
    r"""The products of a layer's weights: what its heads look for and what they write.

    .. math:: A_h = B^\top K_h^\top Q_h B / \sqrt{f}, \qquad M_h = B^\top V_h^\top O_h^\top B

    Both act on vectors behind the norm of the layer. Biases are left out; rotary positions are
    those of a token that looks at itself.

    Parameters
    ----------
    model : torch.nn.Module or TorchSystem
        A transformer, as for `patch`.
    layer : int
        Which one; negative ones count from the last.
    basis : Tensor (width, direction), optional
        Directions in which to read the matrices, such as embeddings of some tokens or principal
        components; the entries of the stream where there is none. These have a meaning only in
        networks whose inputs give them one.

    Returns
    -------
    HeadCircuits
        Of all heads of the layer.

    Raises
    ------
    InvalidArgument
        There is no such layer, the basis does not fit, or queries or keys are normed, so that no
        matrix tells where the heads look.

    References
    ----------
    Elhage et al. (2021), A mathematical framework for transformer circuits.

    Examples
    --------
    >>> from bregma.nn import CausalTransformer
    >>> heads = head_circuits(CausalTransformer(9, 6, 16, heads=2, layers=3), -1)
    >>> diagonality(heads.look).shape
    torch.Size([2])
    """
    stream = stream_of(model)
    n = len(stream.layers)
    if not -n <= layer < n:
        raise InvalidArgument(f"there is no layer {layer} of {n}")
    heads = stream.layers[layer].attention
    if heads.query.norm is not same or heads.key.norm is not same:
        raise InvalidArgument(
            "queries and keys are normed in this model: where its heads look is no product of "
            "two matrices"
        )

    def each(weight: Float[Tensor, "width group f"]) -> Float[Tensor, "head direction f"]:
        weight = weight if basis is None else torch.einsum("wd,wgf->dgf", basis, weight)
        return weight.transpose(0, 1).repeat_interleave(heads.n_heads // weight.shape[1], 0)

    if basis is not None and (basis.ndim != 2 or len(basis) != len(heads.query.weight)):
        raise InvalidArgument(
            f"a basis of the shape {tuple(basis.shape)} does not fit vectors of "
            f"{len(heads.query.weight)} entries: (width, direction) is needed"
        )
    out = heads.out if basis is None else heads.out @ basis
    look = each(heads.key.weight) @ each(heads.query.weight).mT * heads.scale
    return HeadCircuits(look, each(heads.value.weight) @ out)


def diagonality(matrices: Float[Tensor, "*head row column"]) -> Float[Tensor, "*head"]:
    """Share of the squared entries that lies on the diagonal.

    Parameters
    ----------
    matrices : Tensor (..., row, row)
        Square ones, as many as one likes.

    Returns
    -------
    Tensor (...)
        1 where all is on the diagonal; 1 / rows on average for random entries.

    Raises
    ------
    InvalidArgument
        Matrices that are not square, not finite, or zero.

    Examples
    --------
    >>> diagonality(torch.tensor([[1.0, 1.0], [1.0, 1.0]]))
    tensor(0.5000)
    """
    _check(matrices)
    return _diagonal(matrices).square().sum(-1) / matrices.square().sum((-2, -1))


def homogeneity(matrices: Float[Tensor, "*head row column"]) -> Float[Tensor, "*head"]:
    """How equal the entries of the diagonal are, whatever their size.

    Parameters
    ----------
    matrices : Tensor (..., row, row)
        Square ones, as many as one likes.

    Returns
    -------
    Tensor (...)
        Square of their mean by the mean of their squares: 1 where they are the same, signs
        included; 1 / rows on average for random entries.

    Raises
    ------
    InvalidArgument
        Matrices that are not square, not finite, or whose diagonal is zero.

    Examples
    --------
    >>> homogeneity(torch.tensor([[2.0, 5.0], [0.0, 2.0]])), homogeneity(torch.eye(4).cumsum(0) / 3)
    (tensor(1.), tensor(1.))
    """
    _check(matrices)
    entries = _diagonal(matrices)
    power = entries.square().mean(-1)
    if not bool((power > 0).all()):
        raise InvalidArgument("a matrix has a diagonal of zeros, which is neither even nor uneven")
    return entries.mean(-1).square() / power


def zero_sum(outputs: Float[Tensor, "head ..."]) -> float:
    """How far what heads say of the same input cancels.

    Parameters
    ----------
    outputs : Tensor (head, ...)
        Numbers, vectors or matrices (`HeadCircuits.say`), one for each head.

    Returns
    -------
    float
        1 where the heads sum to nothing, 0 where all of them say the same: one minus the length of
        the sum by the sum of lengths.

    Raises
    ------
    InvalidArgument
        No head, or outputs that are not finite or all zero.

    Examples
    --------
    >>> zero_sum(torch.tensor([-1.5, 1.0, 0.5])), zero_sum(torch.tensor([1.0, 1.0]))
    (1.0, 0.0)
    """
    if not outputs.ndim or not outputs.numel() or not bool(outputs.isfinite().all()):
        raise InvalidArgument(
            f"outputs must be finite and (head, ...), not of the shape {tuple(outputs.shape)}"
        )
    flat = outputs.reshape(len(outputs), -1)
    whole = flat.norm(dim=1).sum()
    if not whole > 0:
        raise InvalidArgument("no head says anything: the outputs are all zero")
    return 1 - float(flat.sum(0).norm() / whole)


def _diagonal(matrices: Float[Tensor, "*head row column"]) -> Float[Tensor, "*head row"]:
    return matrices.diagonal(dim1=-2, dim2=-1)


def _check(matrices: Tensor) -> None:
    if matrices.ndim < 2 or matrices.shape[-1] != matrices.shape[-2] or not matrices.numel():
        raise InvalidArgument(
            f"matrices must be square, (..., row, row), not of the shape {tuple(matrices.shape)}"
        )
    if not bool(matrices.isfinite().all()) or not bool((matrices != 0).any(-1).any(-1).all()):
        raise InvalidArgument("matrices must be finite, and none of them zero")

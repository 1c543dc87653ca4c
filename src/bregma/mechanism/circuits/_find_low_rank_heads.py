"""Find the directions along which queries, keys and values of heads differ most."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from numpy.typing import ArrayLike
from torch import Tensor

from bregma.errors import InvalidArgument
from bregma.mechanism.circuits._attend import head_names
from bregma.mechanism.circuits._graph import number_of
from bregma.mechanism.circuits._low_rank_heads import (
    Directions,
    HeadSubspaces,
    features_of,
    parts_of,
    place_of,
)
from bregma.mechanism.circuits._read import as_stream


def head_subspaces(
    model: Any,
    inputs: Tensor,
    heads: Sequence[str],
    places: ArrayLike | Tensor,
    *,
    rank: int = 3,
    batch_size: int = 32,
) -> HeadSubspaces:
    r"""The directions along which queries, keys and values of heads differ most between inputs.

    .. math:: \hat k = \bar k + V V^\top (k - \bar k), \qquad
        V = \text{the first } r \text{ right singular vectors of } K - \bar k

    Queries are those of the token where the answer is read; keys and values those of all places
    together, such as the labels of four options: their means then span three directions. Rotary
    positions are turned afterwards.

    Parameters
    ----------
    model : torch.nn.Module or TorchSystem
        A transformer, as for `patch`.
    inputs : Tensor (input, ...)
        Tokens or images from which directions are found; test them on others.
    heads : sequence of str
        Names like ``"7.h3"``.
    places : array of int (place,) or (input, place)
        Tokens of the keys and values; for all inputs, or for each.
    rank : int
        How many directions.
    batch_size : int
        Inputs at a time.

    Returns
    -------
    HeadSubspaces
        Of every head, for ``"q"``, ``"k"`` and ``"v"``.

    Raises
    ------
    UnknownName
        The model has no such head.
    InvalidArgument
        No head, places that are not there, too few inputs, or a rank above the number of features.

    References
    ----------
    Lieberum, Rahtz, Kramár, Nanda, Irving, Shah and Mikulik (2023), Does circuit analysis
    interpretability scale? Evidence from multiple choice capabilities in Chinchilla.

    Examples
    --------
    >>> from bregma.nn import CausalTransformer
    >>> net = CausalTransformer(9, 6, 16, heads=2, layers=2)
    >>> tokens = torch.randint(9, (20, 6), generator=torch.Generator().manual_seed(0))
    >>> found = head_subspaces(net, tokens, ["1.h0"], [1, 3], rank=8)
    >>> torch.allclose(found.run(net, tokens, [1, 3]), net(tokens)[:, -1], atol=1e-5)
    True
    """
    if not heads:
        raise InvalidArgument("no head is given: names are like '7.h3'")
    seen = dict[tuple[str, str], list[Tensor]]()
    with as_stream(model, inputs) as stream:
        names = head_names(stream)
        for head in heads:
            number_of("head", head, names)
        for x, at in parts_of(stream, inputs, places, batch_size):
            rows = torch.arange(len(x), device=x.device)[:, None]
            for i, layer in enumerate(stream.layers):
                mine = [head for head in heads if head.startswith(f"{i}.h")]
                parts = features_of(stream, i, x) if mine else {}
                for head in mine:
                    for slot, features in parts.items():
                        where = at if slot != "q" else torch.full_like(rows, place_of(stream))
                        picked = features[rows, int(head.split(".h")[1]), where]
                        seen.setdefault((head, slot), []).append(picked.flatten(0, 1).double())
                x = layer.advance(x)
    return HeadSubspaces({name: _directions(torch.cat(some), rank) for name, some in seen.items()})


def _directions(x: Float[Tensor, "row feature"], rank: int) -> Directions:
    if not 1 <= rank <= min(x.shape[1], len(x) - 1):
        raise InvalidArgument(
            f"rank must be from 1 to {min(x.shape[1], len(x) - 1)} with {len(x)} vectors of "
            f"{x.shape[1]} features, not {rank}"
        )
    centre = x.mean(0)
    _, strength, basis = torch.linalg.svd(x - centre, full_matrices=False)
    power = strength.square()
    share = power[:rank].sum() / power.sum().clamp_min(torch.finfo(power.dtype).tiny)
    return Directions(centre, basis[:rank].T, float(share))

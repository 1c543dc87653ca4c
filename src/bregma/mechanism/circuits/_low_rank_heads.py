"""Few directions in the queries, keys and values of heads, and the network restricted to them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float, Int
from numpy.typing import ArrayLike
from torch import Tensor

from bregma.errors import InvalidArgument
from bregma.mechanism.circuits._attend import head_names
from bregma.mechanism.circuits._contrast import batches
from bregma.mechanism.circuits._graph import number_of
from bregma.mechanism.circuits._read import as_stream
from bregma.mechanism.circuits._stream import Stream, Vectors
from bregma.run import spawn_torch

SLOTS = "qkv"


@dataclass(frozen=True)
class Directions:
    """A point and directions from there, in the features of one head.

    Parameters
    ----------
    centre : Tensor (feature,)
        The mean.
    basis : Tensor (feature, rank)
        Orthonormal.
    explained : float
        Share of the variance around the mean that lies along them.
    """

    centre: Float[Tensor, " feature"]
    basis: Float[Tensor, "feature rank"]
    explained: float

    def __call__(self, x: Float[Tensor, "*row feature"]) -> Float[Tensor, "*row feature"]:
        """What is left of vectors where all but these directions is held at the mean."""
        centre, basis = self.centre.to(x), self.basis.to(x)
        return centre + (x - centre) @ basis @ basis.T


@dataclass(frozen=True)
class HeadSubspaces:
    """Subspaces of some heads' queries, keys and values; made by `head_subspaces`.

    Parameters
    ----------
    directions : mapping of (str, str) to Directions
        For a head (``"7.h3"``) and a slot (``"q"``, ``"k"`` or ``"v"``).
    """

    directions: Mapping[tuple[str, str], Directions]

    @property
    def explained(self) -> xr.DataArray:
        """Share of the variance that lies in each subspace: (head, slot)."""
        heads, slots = (list(dict.fromkeys(part)) for part in zip(*self.directions, strict=True))
        shares = [[self.directions[head, slot].explained for slot in slots] for head in heads]
        return xr.DataArray(shares, dims=["head", "slot"], coords={"head": heads, "slot": slots})

    def only(self, slots: str) -> HeadSubspaces:
        """Those of some slots.

        Parameters
        ----------
        slots : str
            ``"qk"`` for queries and keys, ...

        Returns
        -------
        HeadSubspaces
            The others run free.

        Raises
        ------
        InvalidArgument
            None of these is there.
        """
        kept = {name: one for name, one in self.directions.items() if name[1] in slots}
        if not kept:
            raise InvalidArgument(f"there are no subspaces of {slots!r} here")
        return replace(self, directions=kept)

    def random(self, *, seed: int) -> HeadSubspaces:
        """Random directions instead, as many of each, from the same means: the control.

        Parameters
        ----------
        seed : int
            Draws them.

        Returns
        -------
        HeadSubspaces
            For the same heads; `explained` is the share that is expected of random directions.
        """
        drawn = {}
        for (head, slot), one in self.directions.items():
            n, rank = one.basis.shape
            noise = torch.randn(n, rank, generator=spawn_torch(seed, "directions", head, slot))
            drawn[head, slot] = Directions(one.centre, torch.linalg.qr(noise.double())[0], rank / n)
        return replace(self, directions=drawn)

    def run(
        self,
        model: Any,
        inputs: Tensor,
        places: ArrayLike | Tensor,
        *,
        batch_size: int = 32,
    ) -> Float[Tensor, "input answer"]:
        """What the model answers where these heads have nothing but their subspaces.

        All heads are restricted at once; queries at the token where the answer is read, keys and
        values at the places. Everything else is as it is.

        Parameters
        ----------
        model : torch.nn.Module or TorchSystem
            The transformer.
        inputs : Tensor (input, ...)
            Tokens or images.
        places : array of int (place,) or (input, place)
            As for `head_subspaces`.
        batch_size : int
            Inputs at a time.

        Returns
        -------
        Tensor (input, answer)
            Answers.

        Raises
        ------
        UnknownName
            The model has no such head.
        InvalidArgument
            Places that are not there, or heads with another number of features.
        """
        answers = []
        with as_stream(model, inputs) as stream:
            names = head_names(stream)
            for head, _ in self.directions:
                number_of("head", head, names)
            for x, at in _parts(stream, inputs, places, batch_size):
                for i in range(len(stream.layers)):
                    x = self._advance(stream, i, x, at)
                answers.append(stream.read_out(x))
        return torch.cat(answers)

    def _advance(
        self, stream: Stream, i: int, x: Vectors, at: Int[Tensor, "batch place"]
    ) -> Vectors:
        """The stream after a layer."""
        layer = stream.layers[i]
        own = {
            (int(head.split(".h")[1]), slot): one
            for (head, slot), one in self.directions.items()
            if head.startswith(f"{i}.h")
        }
        if not own:
            return layer.advance(x)
        parts = _features(stream, i, x)
        rows = torch.arange(len(x), device=x.device)[:, None]
        last = torch.full_like(rows, _place(stream))
        for (head, slot), one in own.items():
            where = last if slot == "q" else at
            features = parts[slot][:, head]
            if features.shape[-1] != len(one.centre):
                raise InvalidArgument(
                    f"head {head} of layer {i} has {features.shape[-1]} features, and its "
                    f"subspace {len(one.centre)}"
                )
            features[rows, where] = one(features[rows, where])
        z = layer.attention.attend(parts["q"], parts["k"], parts["v"], x, None)
        return layer.after_heads(x, layer.attention.write(z))


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
        for x, at in _parts(stream, inputs, places, batch_size):
            rows = torch.arange(len(x), device=x.device)[:, None]
            for i, layer in enumerate(stream.layers):
                mine = [head for head in heads if head.startswith(f"{i}.h")]
                parts = _features(stream, i, x) if mine else {}
                for head in mine:
                    for slot, features in parts.items():
                        where = at if slot != "q" else torch.full_like(rows, _place(stream))
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


def _features(stream: Stream, i: int, x: Vectors) -> dict[str, Tensor]:
    """Queries, keys and values of every head of a layer (batch, head, token, feature)."""
    attention = stream.layers[i].attention
    y = attention.norm(x)
    made = (attention.query(y), attention.key(y), attention.value(y))
    # Heads that share keys and values get their own copies.
    n = attention.n_heads
    return {
        slot: part.repeat_interleave(n // part.shape[1], 1)
        for slot, part in zip(SLOTS, made, strict=True)
    }


def _place(stream: Stream) -> int:
    if stream.place is None:
        raise InvalidArgument("the model reads its answer at all tokens: there is no one query")
    return stream.place


def _parts(
    stream: Stream, inputs: Tensor, places: ArrayLike | Tensor, size: int
) -> Iterator[tuple[Vectors, Int[Tensor, "batch place"]]]:
    """First vectors and places of some inputs at a time."""
    if size < 1:
        raise InvalidArgument(f"batch_size must be 1 or more, not {size}")
    _place(stream)
    at = torch.as_tensor(places if isinstance(places, Tensor) else np.asarray(places))
    good = at.ndim in (1, 2) and at.numel() > 0 and not at.is_floating_point()
    if not good or (at.ndim == 2 and len(at) != len(inputs)):
        raise InvalidArgument(
            f"places must be whole numbers (place,) or (input, place) for {len(inputs)} inputs, "
            f"not {at.dtype} of the shape {tuple(at.shape)}"
        )
    at = at.long().expand(len(inputs), at.shape[-1])
    for rows in batches(len(inputs), size):
        x = stream.embed(inputs[rows])
        if int(at.max()) >= x.shape[1] or int(at.min()) < -x.shape[1]:
            raise InvalidArgument(
                f"places go from {int(at.min())} to {int(at.max())}; there are {x.shape[1]} tokens"
            )
        yield x, at[rows].to(x.device)

"""A network whose heads have few directions in their queries, keys and values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
            for x, at in parts_of(stream, inputs, places, batch_size):
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
            (h, slot): self.directions[f"{i}.h{h}", slot]
            for h in range(layer.attention.n_heads)
            for slot in SLOTS
            if (f"{i}.h{h}", slot) in self.directions
        }
        if not own:
            return layer.advance(x)
        parts = features_of(stream, i, x)
        rows = torch.arange(len(x), device=x.device)[:, None]
        last = torch.full_like(rows, place_of(stream))
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


def features_of(stream: Stream, i: int, x: Vectors) -> dict[str, Tensor]:
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


def place_of(stream: Stream) -> int:
    if stream.place is None:
        raise InvalidArgument("the model reads its answer at all tokens: there is no one query")
    return stream.place


def parts_of(
    stream: Stream, inputs: Tensor, places: ArrayLike | Tensor, size: int
) -> Iterator[tuple[Vectors, Int[Tensor, "batch place"]]]:
    """First vectors and places of some inputs at a time."""
    place_of(stream)
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

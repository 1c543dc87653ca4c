"""Transformers whose weights are written down, so that what each head does is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bregma.errors import InvalidArgument, UnknownName
from bregma.nn._causal_transformer import CausalTransformer
from bregma.run import spawn_torch

SHARP = 1000.0  # times the hidden units of a perceptron, so that its GELU is a ReLU
LEFT = 0.01  # slope of a perceptron above 1: with none, derivatives would see nothing there


@dataclass(frozen=True)
class Match:
    """A term of the score of a head: features of the query meet those of the key.

    Parameters
    ----------
    query, key : str
        Spaces that they are read from.
    weight : Tensor (query feature, key feature), optional
        Which meet; every feature meets its like without one, as in spaces of one size.
    strength : float
        Times the term. With 20 a head looks at one place nearly alone, with 100 entirely so, and
        has no derivatives left.
    """

    query: str
    key: str
    weight: Float[Tensor, "query key"] | None = None
    strength: float = 20.0


@dataclass(frozen=True)
class Copy:
    """Features of one space that are written into another one.

    Parameters
    ----------
    source, target : str
        Spaces.
    weight : Tensor (source feature, target feature), optional
        What becomes of them; they stay as they are without one.
    """

    source: str
    target: str
    weight: Float[Tensor, "source target"] | None = None


@dataclass(frozen=True)
class WiredHead:
    """A head: where it looks, and what it copies from there.

    Parameters
    ----------
    looks : sequence of Match
        Terms of the score, which are added up.
    copies : sequence of Copy
        What is written at the query of what is found at the key.
    """

    looks: Sequence[Match]
    copies: Sequence[Copy]


def hand_wired(
    spaces: Mapping[str, int],
    heads: Sequence[Sequence[WiredHead | None]],
    perceptrons: Sequence[Sequence[Copy]] = (),
    *,
    seed: int,
) -> CausalTransformer:
    """Write the weights of a Transformer without norms.

    The residual stream has named parts at right angles to each other, turned at random, so that
    no unit of it stands for a feature. Embedding writes the number of a token into the space
    ``"token"`` and that of its place into ``"place"``; scores of what comes next are read from
    ``"answer"``. Heads and perceptrons carry features between spaces. A space ``"scratch"`` is for
    what does not matter: heads that are None look and copy at random and write only there.

    Parameters
    ----------
    spaces : mapping of str to int
        Features of every space. ``"token"``, ``"place"`` and ``"answer"`` must be among them,
        with as many as there are tokens, places, and again tokens.
    heads : sequence of sequence of WiredHead or None
        Those of every layer, equally many.
    perceptrons : sequence of sequence of Copy
        Those of every layer; missing ones write nothing. A perceptron copies features as if cut
        off below 0, and nearly so above 1: from there on they grow a hundred times more slowly.
    seed : int
        Turns the stream, and draws the random heads.

    Returns
    -------
    CausalTransformer
        To be recorded, perturbed and trained like any other.

    Raises
    ------
    InvalidArgument
        Layers with other numbers of heads, or features that do not fit together.
    UnknownName
        A space that is not there.

    References
    ----------
    Elhage et al. (2021), A mathematical framework for transformer circuits. Lindner et al. (2023),
    Tracr: compiled transformers as a laboratory for interpretability.

    Examples
    --------
    >>> spaces = {"token": 3, "place": 4, "answer": 3}
    >>> before = torch.eye(4).roll(-1, 1)  # place t looks at place t - 1
    >>> previous = WiredHead([Match("place", "place", before)], [Copy("token", "answer")])
    >>> net = hand_wired(spaces, [[previous]], seed=0)
    >>> net(torch.tensor([[2, 0, 1, 1]])).argmax(-1).tolist()
    [[2, 2, 0, 1]]
    """
    stream = _Stream(spaces, seed)
    n_heads = {len(layer) for layer in heads}
    if len(n_heads) != 1 or n_heads == {0} or len(perceptrons) > len(heads):
        raise InvalidArgument(
            f"layers need one common number of heads, 1 or more, not {sorted(n_heads)}, and there "
            f"are {len(perceptrons)} perceptrons for {len(heads)} layers"
        )
    written = [[stream.head(head) for head in layer] for layer in heads]
    mlps = [stream.perceptron(copies) for copies in [*perceptrons, *[()] * len(heads)]]
    head_width = max(part.shape[1] for layer in written for head in layer for part in head)
    net = CausalTransformer(
        spaces["token"],
        spaces["place"],
        stream.width,
        heads=len(heads[0]),
        layers=len(heads),
        head_width=head_width,
        neurons=max(len(widen) for widen, *_ in mlps),
        norm=nn.Identity,
        seed=seed,
    )
    weights = {name: torch.zeros_like(w).double() for name, w in net.state_dict().items()}
    weights["embed.token"] += stream.basis["token"]
    weights["embed.place"] += stream.basis["place"]
    weights["unembed.weight"] += stream.basis["answer"]
    for b, (parts, (widen, bias, narrow)) in enumerate(zip(written, mlps, strict=False)):
        qkv = weights[f"blocks.{b}.query_key_value.weight"].view(3, -1, head_width, stream.width)
        project = weights[f"blocks.{b}.project.weight"].view(stream.width, -1, head_width)
        for h, (query, key, value, output) in enumerate(parts):
            # Scores are divided by the root of the width of a head.
            qkv[0, h, : query.shape[1]] += query.T * head_width**0.5
            qkv[1, h, : key.shape[1]] += key.T
            qkv[2, h, : value.shape[1]] += value.T
            project[:, h, : output.shape[1]] += output
        weights[f"blocks.{b}.widen.weight"][: len(widen)] += widen
        weights[f"blocks.{b}.widen.bias"][: len(bias)] += bias
        weights[f"blocks.{b}.narrow.weight"][:, : narrow.shape[1]] += narrow
    net.load_state_dict(weights)
    return net


class _Stream:
    """The residual stream: a basis of every space, and what heads read and write in it."""

    def __init__(self, spaces: Mapping[str, int], seed: int) -> None:
        for name in ("token", "place", "answer"):
            if name not in spaces:
                raise UnknownName.of("space", name, spaces)
        if min(spaces.values()) < 1 or spaces["answer"] != spaces["token"]:
            raise InvalidArgument(
                f"every space needs 1 feature or more, and one answer per token: {dict(spaces)}"
            )
        self.width = sum(spaces.values())
        self.rng = spawn_torch(seed, "hand_wired")
        square = torch.randn(self.width, self.width, generator=self.rng, dtype=torch.float64)
        turned = torch.linalg.qr(square)[0].split(list(spaces.values()))
        self.basis = dict(zip(spaces, turned, strict=True))  # each (feature, width)

    def head(self, head: WiredHead | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What goes to queries, keys and values, and from values back, each (width, feature)."""
        if head is None:
            return self._random_head()
        if not head.looks or not head.copies:
            raise InvalidArgument(f"a head looks and copies somewhere, or is None: {head}")
        queries, keys = zip(*(self._match(match) for match in head.looks), strict=True)
        sources, targets = zip(*(self._carried(copy) for copy in head.copies), strict=True)
        return (
            torch.cat(queries, 1),
            torch.cat(keys, 1),
            torch.cat(sources, 1),
            torch.cat(targets, 1),
        )

    def perceptron(self, copies: Sequence[Copy]) -> tuple[Tensor, Tensor, Tensor]:
        """Weights and biases of the hidden units, and weights to what they write."""
        if not copies:
            return torch.zeros(1, self.width), torch.zeros(1), torch.zeros(self.width, 1)
        source = torch.cat([self._space(copy.source).T for copy in copies], 1)
        target = torch.cat([self._written(copy) for copy in copies], 1)
        n = source.shape[1]
        # relu(x) - (1 - LEFT) relu(x - 1)
        widen = SHARP * torch.cat([source.T, source.T])
        bias = -SHARP * torch.cat([torch.zeros(n), torch.ones(n)])
        return widen, bias, torch.cat([target, (LEFT - 1) * target], 1) / SHARP

    def _random_head(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        n, scratch = min(8, self.width), self._space("scratch")
        query, key, value = torch.randn(3, self.width, n, generator=self.rng, dtype=torch.float64)
        output = torch.randn(len(scratch), n, generator=self.rng, dtype=torch.float64)
        # What is written is about half as long as what is read, whatever the number of features.
        return query, key, value, scratch.T @ output / (2 * n * len(scratch) ** 0.5)

    def _match(self, match: Match) -> tuple[Tensor, Tensor]:
        query, key = self._space(match.query), self._space(match.key)
        weight = self._weight(match, len(query), len(key)) * match.strength
        if len(query) < len(key):
            return query.T, key.T @ weight.T
        return query.T @ weight, key.T

    def _carried(self, copy: Copy) -> tuple[Tensor, Tensor]:
        source, target = self._space(copy.source), self._space(copy.target)
        if len(source) <= len(target):
            return source.T, self._written(copy)
        return source.T @ self._weight(copy, len(source), len(target)), target.T

    def _written(self, copy: Copy) -> Tensor:
        """What becomes of every feature of the source: (width, feature)."""
        target = self._space(copy.target)
        return target.T @ self._weight(copy, len(self._space(copy.source)), len(target)).T

    def _space(self, name: str) -> Tensor:
        if name not in self.basis:
            raise UnknownName.of("space", name, self.basis)
        return self.basis[name]

    def _weight(self, what: Match | Copy, rows: int, columns: int) -> Tensor:
        if what.weight is None and rows != columns:
            raise InvalidArgument(f"{what} joins {rows} and {columns} features: it needs a weight")
        if what.weight is None:
            return torch.eye(rows, dtype=torch.float64)
        if tuple(what.weight.shape) != (rows, columns):
            raise InvalidArgument(
                f"a weight of the shape {tuple(what.weight.shape)} does not join the {rows} "
                f"and {columns} features of {what}"
            )
        return what.weight.double()

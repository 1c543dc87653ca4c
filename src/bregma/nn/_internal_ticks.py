"""A recurrent network that looks at its input again and again, and answers at every tick."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bregma.errors import InvalidArgument
from bregma.run import derive, private_randomness


class Cell(Protocol):
    """What ticks: units with a state, one step of which takes an observation in."""

    def begin(self, batch: int) -> tuple[Tensor, Any]:
        """Activity (batch, unit) and state before the first tick."""
        ...

    def __call__(self, observed: Tensor, z: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Activity and state after a tick, from what was observed and the activity before."""
        ...


class Thoughts(NamedTuple):
    """What went on inside `InternalTicks`.

    Parameters
    ----------
    answers : Tensor (batch, tick, ..., class)
        Scores of the classes at every tick.
    units : Tensor (batch, tick, unit)
        Activity of the cell after every tick.
    attention : Tensor (batch, tick, head, place)
        Where it looked at every tick; sums to 1 over places.
    """

    answers: Tensor
    units: Tensor
    attention: Tensor


class InternalTicks(nn.Module):
    """Think for a number of ticks that has nothing to do with the length of the input.

    At every tick a query, read from the units, attends to the features of the input; the cell
    takes in what was seen and moves on; an answer is read from the units. All parts are handed in.

    Parameters
    ----------
    backbone : torch.nn.Module
        Input -> features (batch, place, n_features); positions have to be in there.
    cell : torch.nn.Module
        The units: `HistoryCell` or `GatedCell`, or your own with ``begin(batch)`` and
        ``forward(observed, z, state)``.
    looking, answering : torch.nn.Module
        What queries and answers are read from: a `Synchronization` or `Snapshot` each.
    n_features : int
        Features of every place.
    width : int
        Length of queries, keys and of what the cell observes.
    heads : int
        Heads of the attention; they share `width`.
    ticks : int
        How long to think.
    out : sequence of int
        Shape of an answer, classes last: ``(10,)`` for one of ten, ``(8, 2)`` for eight bits.
    seed : int
        Of the first weights of attention and readout.

    Raises
    ------
    InvalidArgument
        A number below 1, or heads that do not divide the width.

    References
    ----------
    Darlow et al. (2025), Continuous thought machines. arXiv:2505.05522.

    Examples
    --------
    >>> from bregma.nn import HistoryCell, NeuronLevelModel, Synchronization, TokenEmbedding
    >>> cell = HistoryCell(NeuronLevelModel(32, 4, 4), size=32, memory=4, n_observed=16)
    >>> net = InternalTicks(
    ...     TokenEmbedding(2, 8, 16), cell, Synchronization(32, 20), Synchronization(32, 20),
    ...     n_features=16, width=16, heads=2, ticks=5, out=(8, 2),
    ... )
    >>> net(torch.zeros(3, 8, dtype=torch.int64)).shape
    torch.Size([3, 5, 8, 2])
    """

    def __init__(
        self,
        backbone: nn.Module,
        cell: nn.Module,
        looking: nn.Module,
        answering: nn.Module,
        *,
        n_features: int,
        width: int,
        heads: int,
        ticks: int,
        out: Sequence[int],
        seed: int = 0,
    ) -> None:
        super().__init__()
        if min(n_features, width, heads, ticks, *out) < 1 or not out:
            raise InvalidArgument(
                "n_features, width, heads, ticks and all of out must be 1 or more, "
                f"not {n_features}, {width}, {heads}, {ticks}, {tuple(out)}"
            )
        if width % heads:
            raise InvalidArgument(f"{heads} heads cannot share a width of {width}: it must divide")
        self.backbone, self.cell, self.looking, self.answering = backbone, cell, looking, answering
        self.heads, self.ticks, self.out = heads, ticks, tuple(out)
        with private_randomness(derive(seed, "InternalTicks")):
            self.features = nn.Sequential(nn.Linear(n_features, width), nn.LayerNorm(width))
            self.key_value = nn.Linear(width, 2 * width)
            self.query = nn.Linear(looking.size, width)  # type: ignore[arg-type]
            self.seen = nn.Linear(width, width)
            self.answer = nn.Linear(answering.size, math.prod(out))  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Scores of the answers at every tick.

        Parameters
        ----------
        x : Tensor (batch, ...)
            What the backbone takes.

        Returns
        -------
        Tensor (batch, tick, ..., class)
            Scores before the softmax, in the shape ``out``.
        """
        return self.think(x).answers

    def think(self, x: Tensor) -> Thoughts:
        """Answers, activity and attention at every tick.

        Parameters
        ----------
        x : Tensor (batch, ...)
            What the backbone takes.

        Returns
        -------
        Thoughts
            Everything over ticks; ``units`` can be made a `Recording`.

        Raises
        ------
        InvalidArgument
            If the backbone does not give (batch, place, n_features), all of them finite.
        """
        keys, values = self._keys_values(self.backbone(x))
        cell: Cell = self.cell  # type: ignore[assignment]
        z, state = cell.begin(len(keys))
        _, answered = self.answering(z)  # the start counts as a moment of the past
        looked = None
        answers, units, attentions = [], [], []
        for _ in range(self.ticks):
            query, looked = self.looking(z, looked)
            seen, attention = self._attend(self.query(query), keys, values)
            z, state = cell(seen, z, state)
            answer, answered = self.answering(z, answered)
            answers.append(answer)
            units.append(z)
            attentions.append(attention)
        scores = self.answer(torch.stack(answers, 1)).unflatten(-1, self.out)
        return Thoughts(scores, torch.stack(units, 1), torch.stack(attentions, 1))

    def _keys_values(self, features: Tensor) -> tuple[Tensor, Tensor]:
        n_features = self.features[0].in_features
        if features.ndim != 3 or features.shape[-1] != n_features or 0 in features.shape:
            raise InvalidArgument(
                f"the backbone must give (batch, place, {n_features}), not {tuple(features.shape)}"
            )
        if not features.isfinite().all():
            raise InvalidArgument("the backbone gave features that are NaN or infinite")
        both = self.key_value(self.features(features))
        keys, values = both.unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return keys, values  # each (batch, head, place, part)

    def _attend(
        self, query: Float[Tensor, "batch width"], keys: Tensor, values: Tensor
    ) -> tuple[Float[Tensor, "batch width"], Float[Tensor, "batch head place"]]:
        q = query.unflatten(-1, (self.heads, 1, -1))
        attention = (q @ keys.mT * q.shape[-1] ** -0.5).softmax(-1)
        return self.seen((attention @ values).flatten(1)), attention.squeeze(2)

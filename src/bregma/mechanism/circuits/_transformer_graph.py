"""The graph of a transformer: every head and perceptron, and every path through the stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from bregma.errors import InvalidArgument
from bregma.mechanism.circuits._contrast import Metric, Pairs, batches, logit_difference
from bregma.mechanism.circuits._graph import Graph, Kept, Measure
from bregma.mechanism.circuits._read import as_stream, stream_of
from bregma.mechanism.circuits._stream import Stream, Vectors
from bregma.mechanism.circuits._walk import Received, Sent, n_seen, names_of, walk, whole
from bregma.system import untrained


class TransformerGraph(Graph):
    """Heads and perceptrons of a transformer, and the edges between them.

    Senders are ``"embed"``, ``"0.h1"`` (head 1 of layer 0), ``"0.mlp"``; receivers are
    ``"1.h0.q"`` (what the queries of a head are made from), ``"1.h0.k"``, ``"1.h0.v"``,
    ``"1.mlp"`` and ``"logits"``. Every sender is joined to every receiver behind it.

    Parameters
    ----------
    model : torch.nn.Module or TorchSystem
        A transformer, as for `patch`.
    batch_size : int
        Pairs at a time. Memory grows with it, and with the number of senders.

    Raises
    ------
    InvalidArgument
        The model is not read as a transformer.

    Examples
    --------
    >>> from bregma.nn import CausalTransformer
    >>> graph = TransformerGraph(CausalTransformer(3, 2, 8, heads=2, layers=1))
    >>> graph.senders
    ('embed', '0.h0', '0.h1', '0.mlp')
    >>> len(graph.edges)
    13
    """

    def __init__(self, model: Any, *, batch_size: int = 8) -> None:
        if batch_size < 1:
            raise InvalidArgument(f"batch_size must be 1 or more, not {batch_size}")
        stream = stream_of(model)
        self.model, self.batch_size = model, batch_size
        senders, receivers = names_of(stream)
        self.senders, self.receivers = tuple(senders), tuple(receivers)
        self.joined = np.arange(len(senders))[:, None] < np.array(n_seen(stream))
        self.name = str(getattr(model, "name", type(model).__name__))

    def again(self, seed: int) -> TransformerGraph:
        """The graph of the same transformer with weights drawn anew.

        Parameters
        ----------
        seed : int
            Draws them.

        Returns
        -------
        TransformerGraph
            With the same senders and receivers.
        """
        [twin] = untrained(self.model, seeds=seed)
        return TransformerGraph(twin, batch_size=self.batch_size)

    def measure(
        self, pairs: Pairs, subgraphs: Sequence[Kept], *, metric: Metric = logit_difference
    ) -> Float[np.ndarray, "subgraph pair"]:
        """What subgraphs give; see `Graph`."""
        with self.measuring(pairs, metric=metric) as measured:
            return measured(subgraphs)

    @contextmanager
    def measuring(self, pairs: Pairs, *, metric: Metric = logit_difference) -> Iterator[Measure]:
        """`measure` again and again; see `Graph`."""
        parts = batches(len(pairs), self.batch_size)
        with as_stream(self.model, pairs.clean) as stream:

            def sent(rows: slice) -> Sent:
                return walk(stream, stream.embed(pairs.corrupt[rows]))[1]

            kept_sent = sent(parts[0]) if len(parts) == 1 else None  # memory is that of one batch

            def measured(subgraphs: Sequence[Kept]) -> Float[np.ndarray, "subgraph pair"]:
                found = list[Tensor]()
                for rows in parts:
                    corrupt = sent(rows) if kept_sent is None else kept_sent
                    clean = stream.embed(pairs.clean[rows])
                    each = []
                    for kept in subgraphs:
                        answers, _ = walk(stream, clean, _Mixed(self._cut(kept, clean), corrupt))
                        each.append(metric(answers, pairs[rows]))
                    found.append(torch.stack(each).double().cpu())
                return torch.cat(found, 1).numpy()

            yield measured

    def _cut(self, kept: Kept, like: Tensor) -> Float[Tensor, "sender receiver"]:
        if kept.shape != self.joined.shape:
            raise InvalidArgument(f"a subgraph has the shape {self.joined.shape}, not {kept.shape}")
        return torch.from_numpy(self.joined & ~kept).to(like)

    def attribute(
        self,
        pairs: Pairs,
        *,
        metric: Metric = logit_difference,
        steps: int | None = 5,
    ) -> Float[np.ndarray, "sender receiver"]:
        """How much each edge helps, estimated from gradients.

        The difference between what a sender sends for the clean and for the corrupt input, times
        the gradient of the measure by what the receiver gets; the gradient is the mean over runs
        with inputs on the way from corrupt to clean (EAP-IG), or that of the clean run alone
        (`steps` = 1, EAP).

        Parameters
        ----------
        pairs : PromptPairs or Contrast
            Clean and corrupt inputs.
        metric : callable
            Answers and pairs to one number each; differentiable.
        steps : int or None
            How many runs on the way; None for exact scores, one run for each edge.

        Returns
        -------
        array (sender, receiver)
            Mean over pairs; positive where the edge helps. Zero where there is no edge.

        Raises
        ------
        InvalidArgument
            Fewer than one step.

        References
        ----------
        Syed, Rager and Conmy (2024), Attribution patching outperforms automated circuit discovery.
        Hanna, Pezzelle and Belinkov (2024), Have faith in faithfulness: going beyond circuit
        overlap when finding model mechanisms.
        """
        if steps is None:
            return super().attribute(pairs, metric=metric)
        if steps < 1:
            raise InvalidArgument(f"steps must be 1 or more, not {steps}")
        scores = np.zeros(self.joined.shape)
        with as_stream(self.model, pairs.clean) as stream:
            for rows in batches(len(pairs), self.batch_size):
                first, last = stream.embed(pairs.corrupt[rows]), stream.embed(pairs.clean[rows])
                difference = walk(stream, last)[1] - walk(stream, first)[1]
                for k in range(1, steps + 1):
                    x = first + (last - first) * (k / steps)
                    slopes = _slopes(stream, x, partial(_total, metric, pairs[rows]))
                    scores += (difference.flatten(1) @ slopes.flatten(1).T).double().cpu().numpy()
        return np.where(self.joined, scores / (len(pairs) * steps), 0.0)


class _Mixed:
    """Receivers get what was sent for the corrupt input along edges that are cut."""

    def __init__(self, cut: Float[Tensor, "sender receiver"], corrupt: Sent) -> None:
        self.cut, self.corrupt = cut, corrupt
        self.any_cut = cut.any(0).tolist()

    def __call__(self, first: int, n: int, x: Vectors, sent: list[Tensor]) -> Received:
        if not any(self.any_cut[first : first + n]):
            return whole(first, n, x, sent)
        now = torch.cat(sent)
        cut = self.cut[: len(now), first : first + n]
        return x - torch.tensordot(cut, now - self.corrupt[: len(now)], ([0], [0]))


def _total(metric: Metric, pairs: Pairs, answers: Tensor) -> Tensor:
    return metric(answers, pairs).sum()


def _slopes(stream: Stream, x: Vectors, total: Callable[[Tensor], Tensor]) -> Received:
    """Gradient by what every receiver gets."""
    nudges = list[Tensor]()

    def incoming(first: int, n: int, x: Vectors, sent: list[Tensor]) -> Received:
        nudges.append(x.new_zeros(n, *x.shape).requires_grad_())
        return x + nudges[-1]

    with torch.enable_grad():
        answers, _ = walk(stream, x, incoming)
        return torch.cat(torch.autograd.grad(total(answers), nudges))

"""Circuits of the checkpoints of a training, and which heads are in them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool

from bregma.errors import InvalidArgument, NotIdentifiable
from bregma.mechanism.circuits._contrast import Metric, Pairs, logit_difference
from bregma.mechanism.circuits._faithful import grow
from bregma.mechanism.circuits._find_circuit import circuit
from bregma.mechanism.circuits._head_history import HeadHistory
from bregma.mechanism.circuits._transformer_graph import TransformerGraph
from bregma.run import derive, spawn


def heads_over_training(
    models: Iterable[Any],
    pairs: Pairs,
    *,
    times: Sequence[float | int] | None = None,
    n_edges: int | None = None,
    faithfulness: float | None = None,
    metric: Metric = logit_difference,
    n_resamples: int = 2,
    steps: int = 5,
    batch_size: int = 8,
    seed: int,
) -> HeadHistory:
    """Find the circuit of every checkpoint, and the heads that one of its edges touches.

    Edges are scored by attribution (EAP-IG) and kept from the answer on. How many is a number
    (`n_edges`), or as many as the circuit needs to be faithful (`faithfulness`). A fixed number
    cannot grow when more parts take part; a fixed faithfulness can, and where a checkpoint does
    not do the task, nobody does.

    Parameters
    ----------
    models : iterable of torch.nn.Module
        The checkpoints in their order, as for `TransformerGraph`, the first one from before the
        training; a generator may load them one at a time.
    pairs : PromptPairs or Contrast
        Clean and corrupt inputs, the same ones for all.
    times : sequence of float, optional
        When each checkpoint was; 0, 1, ... without.
    n_edges : int, optional
        Size of the circuits.
    faithfulness : float, optional
        Of the circuits, on the half of the pairs on which they are looked for.
    metric : callable
        Answers and pairs to one number each.
    n_resamples : int
        How often each circuit is found again on as many pairs that are drawn with replacement.
    steps : int
        Of the attribution.
    batch_size : int
        Pairs at a time.
    seed : int
        Of the resamples and of the halves.

    Returns
    -------
    HeadHistory
        Which heads are in which circuits.

    Raises
    ------
    InvalidArgument
        Not one of `n_edges` and `faithfulness`, numbers out of range, models of other parts, or
        another number of times.

    References
    ----------
    Park, Jeong and Kang (2025), Thinking sparks! Emergent attention heads in reasoning models
    during post training.
    Hanna, Pezzelle and Belinkov (2024), Have faith in faithfulness.
    """
    if (n_edges is None) == (faithfulness is None):
        raise InvalidArgument("give either n_edges or faithfulness")
    if n_resamples < 0 or (n_edges is not None and n_edges < 1):
        raise InvalidArgument("n_resamples must be 0 or more, and n_edges 1 or more")
    rng = spawn(seed, "heads_over_training", "pairs")
    drawn = [pairs, *(pairs[_rows(rng, len(pairs))] for _ in range(n_resamples))]
    found, senders = list[Bool[np.ndarray, "draw head"]](), tuple[str, ...]()
    for model in models:
        graph = TransformerGraph(model, batch_size=batch_size)
        senders = senders or graph.senders
        if graph.senders != senders:
            raise InvalidArgument(f"checkpoint {len(found)} has other heads than the first one")
        parts = [
            _parts(graph, of, n_edges, faithfulness, metric, steps, derive(seed, "halves", i))
            for i, of in enumerate(drawn)
        ]
        found.append(np.array([[s in own for s in senders if ".h" in s] for own in parts]))
    when = np.arange(len(found)) if times is None else np.asarray(times)
    if len(when) != len(found) or len(found) < 2:
        raise InvalidArgument(
            f"{len(found)} checkpoints need as many times, and there must be 2 or more, not "
            f"{len(when)}"
        )
    every = np.stack(found, 1)
    heads = tuple(s for s in senders if ".h" in s)
    return HeadHistory(heads, when, every[0], every[1:])


def _parts(
    graph: TransformerGraph,
    pairs: Pairs,
    n_edges: int | None,
    faithfulness: float | None,
    metric: Metric,
    steps: int,
    seed: int,
) -> set[str]:
    """Names of the parts that an edge of the circuit touches."""
    if faithfulness is not None:
        try:
            found = circuit(
                graph, pairs, faithfulness=faithfulness, metric=metric, prune=False, seed=seed,
                steps=steps,
            )  # fmt: skip
        except NotIdentifiable:  # it does not do the task
            return set()
        return set(found.nodes)
    scores = graph.attribute(pairs, metric=metric, steps=steps)
    kept = grow(graph, np.abs(scores), n_edges or 0)
    return {name for s, r in graph.named(kept) for name in (s, graph.part_of(r))}


def _rows(rng: np.random.Generator, n: int) -> list[int]:
    return rng.integers(n, size=n).tolist()

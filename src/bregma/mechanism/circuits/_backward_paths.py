"""From the answer back to the input: path patching step by step, until the circuit is closed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bregma.errors import InvalidArgument
from bregma.mechanism.circuits._contrast import Metric, Pairs, logit_difference
from bregma.mechanism.circuits._effects import Effects
from bregma.mechanism.circuits._graph import Edge
from bregma.mechanism.circuits._overlap import Overlap, overlap_of
from bregma.mechanism.circuits._path_patch import path_patch
from bregma.mechanism.circuits._transformer_graph import TransformerGraph


@dataclass(frozen=True)
class Step:
    """One step back: who acts on some receivers.

    Parameters
    ----------
    receivers : tuple of str
        What was changed together.
    effects : Effects
        Of each sender.
    found : tuple of str
        Senders that were kept, strongest first.
    """

    receivers: tuple[str, ...]
    effects: Effects = field(repr=False)
    found: tuple[str, ...]


@dataclass(frozen=True)
class BackwardPaths:
    """A circuit as path patching finds it.

    Parameters
    ----------
    steps : tuple of Step
        In their order, from the answer on.
    edges : mapping of (str, str) to float
        Sender and receiver -> the share of the whole that goes along this edge alone.
    every_head : tuple of str
        Heads of the model.
    """

    steps: tuple[Step, ...] = field(repr=False)
    edges: Mapping[Edge, float]
    every_head: tuple[str, ...] = field(repr=False)

    @property
    def heads(self) -> frozenset[str]:
        """Heads of the circuit."""
        return frozenset(sender for sender, _ in self.edges) & frozenset(self.every_head)

    @property
    def strength(self) -> xr.DataArray:
        """For each head the largest absolute share that it has in any step; 0 if never asked."""
        largest = dict.fromkeys(self.every_head, 0.0)
        for step in self.steps:
            share = abs(step.effects.share)
            for name, x in zip(share["sender"].values.tolist(), share.values.tolist(), strict=True):
                if name in largest:
                    largest[name] = max(largest[name], x)
        return xr.DataArray(list(largest.values()), dims=["head"], coords={"head": list(largest)})

    def to_frame(self) -> pd.DataFrame:
        """A row for each edge, in the order in which they were found.

        Returns
        -------
        DataFrame
            ``sender``, ``receiver``, ``share``.
        """
        rows = [(*edge, share) for edge, share in self.edges.items()]
        return pd.DataFrame(rows, columns=["sender", "receiver", "share"])

    def overlap(self, other: BackwardPaths, n: int | None = None) -> Overlap:
        """How many heads two circuits of one model share, against chance.

        Parameters
        ----------
        other : BackwardPaths
            Of another task.
        n : int, optional
            Compare the n strongest heads of each task instead, sets of one size: a large circuit
            shares more than a small one.

        Returns
        -------
        Overlap
            Against sets of these sizes drawn independently from all heads (hypergeometric).

        Raises
        ------
        InvalidArgument
            Models with other heads, a circuit without any, or more than there are.
        """
        if self.every_head != other.every_head:
            raise InvalidArgument("the circuits are of models with other heads")
        if n is not None and not 1 <= n <= len(self.every_head):
            raise InvalidArgument(f"n must be 1 to {len(self.every_head)}, not {n}")
        a, b = (p.heads if n is None else p._strongest(n) for p in (self, other))
        return overlap_of(a, b, len(self.every_head), "heads")

    def _strongest(self, n: int) -> frozenset[str]:
        order = np.argsort(-self.strength.values, kind="stable")[:n]
        return frozenset(self.every_head[i] for i in order)


def backward_paths(
    model: Any,
    pairs: Pairs,
    *,
    least: float | int = 0.05,
    top: float | int = 1.0,
    through_mlps: bool = True,
    metric: Metric = logit_difference,
    batch_size: int = 8,
    progress: bool = False,
) -> BackwardPaths:
    """Ask who acts on the answer directly, then who acts on those, until nobody new is found.

    The first receiver is the answer. The heads that act on it are the next receivers: their
    queries, then their keys, then their values, those of all of them together, as several heads
    may do the same. What is found is told apart afterwards: an edge is kept if it alone carries as
    much as an even part of `least`, or all of them where none does as others stand in for it.

    Parameters
    ----------
    model : torch.nn.Module or TorchSystem
        A transformer, as for `patch`.
    pairs : PromptPairs or Contrast
        Clean and corrupt inputs and their answers.
    least : float
        Absolute share of the difference between clean and corrupt runs that a sender has to have
        to be kept, above 0.
    top : float
        Share of all heads that are kept at most in a step, the strongest ones; one at least.
    through_mlps, metric, batch_size, progress
        As for `path_patch`; the bar is that of one step.

    Returns
    -------
    BackwardPaths
        Edges between heads, from ``"embed"`` and to ``"logits"``.

    Raises
    ------
    NotIdentifiable
        The network does not tell clean from corrupt inputs.
    InvalidArgument
        A share out of range, or a model that is not read as a transformer.

    References
    ----------
    Wang, Variengien, Conmy, Shlegeris and Steinhardt (2023), Interpretability in the wild: a
    circuit for indirect object identification in GPT-2 small.
    Merullo, Eickhoff and Pavlick (2024), Circuit component reuse across tasks in transformer
    language models.

    Examples
    --------
    >>> from bregma.datasets import wired_induction
    >>> wired = wired_induction(4, seed=0)
    >>> found = backward_paths(wired.net, wired.tasks["induction"])
    >>> set(found.edges) == wired.circuits["induction"]
    True
    """
    if not least > 0 or not 0 < top <= 1:
        raise InvalidArgument(f"least must be above 0 and top in (0, 1], not {least} and {top}")
    graph = TransformerGraph(model)
    every_head = tuple(name for name in graph.senders if ".h" in name)
    most = max(1, round(top * len(every_head)))

    def shares(receivers: Sequence[str], senders: Sequence[str]) -> tuple[Effects, dict[str, Any]]:
        effects = path_patch(
            model, pairs, receivers, senders,
            through_mlps=through_mlps, metric=metric, batch_size=batch_size, progress=progress,
        )  # fmt: skip
        return effects, dict(zip(senders, effects.share.values.tolist(), strict=True))

    def step(receivers: Sequence[str]) -> Step:
        effects, share = shares(receivers, _before(graph, receivers))
        strong = [name for name in share if abs(share[name]) >= least]
        strong.sort(key=lambda name: -abs(share[name]))
        heads = [name for name in strong if name != "embed"][:most]
        found = [name for name in strong if name in heads or name == "embed"]
        single = dict[Edge, float]()
        for receiver in receivers:
            if senders := [s for s in _before(graph, [receiver]) if s in found]:
                alone = share if len(receivers) == 1 else shares([receiver], senders)[1]
                single |= {(sender, receiver): alone[sender] for sender in senders}
        for sender in found:
            own = {edge: x for edge, x in single.items() if edge[0] == sender}
            enough = {e: x for e, x in own.items() if abs(x) >= least / len(receivers)}
            edges.update(enough or own)
        return Step(tuple(receivers), effects, tuple(found))

    edges = dict[Edge, float]()
    steps = [step(["logits"])]
    done, new = set[str](), {*steps[0].found} - {"embed"}
    while new:
        heads = [name for name in every_head if name in new]
        now = [step([f"{head}.{slot}" for head in heads]) for slot in "qkv"]
        steps += now
        done |= new
        new = {name for one in now for name in one.found} - done - {"embed"}
    return BackwardPaths(tuple(steps), edges, every_head)


def _before(graph: TransformerGraph, receivers: Sequence[str]) -> list[str]:
    """The embedding and the heads that come before one of the receivers."""
    joined = graph.joined[:, [graph.receivers.index(r) for r in receivers]].any(1)
    before = [graph.senders[i] for i in np.flatnonzero(joined)]
    return [name for name in before if not name.endswith("mlp")]

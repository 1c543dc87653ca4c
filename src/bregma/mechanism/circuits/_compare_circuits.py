"""The circuits of several tasks: what they share, and what each does for the task of another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from scipy import stats
from torch import Tensor

from bregma.errors import InvalidArgument, UnknownName
from bregma.mechanism.circuits._circuit import Circuit
from bregma.mechanism.circuits._contrast import Contrast, Metric, Pairs, logit_difference
from bregma.mechanism.circuits._faithful import grow, judging
from bregma.mechanism.circuits._find_circuit import found_on
from bregma.mechanism.circuits._graph import Graph, Kept
from bregma.mechanism.circuits._overlap import overlap
from bregma.mechanism.circuits._separation import Separation, separation
from bregma.run import spawn, spawn_torch

Table = Float[np.ndarray, "task circuit"]


@dataclass(frozen=True)
class CircuitComparison:
    """Circuits of several tasks, each one found twice: on either half of the task's pairs.

    Every entry of a table compares circuits that were found on different halves, or tests a
    circuit on pairs on which it was not found, and is the mean of both ways round. So the diagonal
    says how much of a circuit comes out again, which is as much as two tasks could share.

    Parameters
    ----------
    tasks : tuple of str
        Their names: the order of rows and columns.
    circuits : mapping of str to (Circuit, Circuit)
        What was found for each task on the first and on the second half of its pairs.
    tables : mapping of str to array (task, circuit)
        ``"edge_iou"``, ``"node_iou"``: what two circuits share, of all that is in either.
        ``"edge_iou_expected"``: the same for random sets of as many edges.
        ``"recall"``: share of edges of one that are in the other, both cut to the size of the
        smaller one. ``"faithfulness"``: of the column's circuit on the row's task, not clipped.
        ``"random"``, ``"strong"``: the same for random circuits as large as the column's, and
        for as many edges that carry most between random inputs, whatever the task.
    """

    tasks: tuple[str, ...]
    circuits: Mapping[str, tuple[Circuit, Circuit]] = field(repr=False)
    tables: Mapping[str, Table] = field(repr=False)

    def separation(
        self, table: str, groups: Mapping[str, str], *, of: str | None = None, seed: int
    ) -> Separation:
        """Whether a table is higher within groups of tasks than between them.

        Parameters
        ----------
        table : str
            Name of the table.
        groups : mapping of str to str
            Group of each task.
        of : str, optional
            Whether this group alone holds together.
        seed : int
            Of the permutations.

        Returns
        -------
        Separation
            With its permutation test, which exchanges tasks between groups.

        Raises
        ------
        UnknownName
            No such table, or a task without a group.
        """
        if table not in self.tables:
            raise UnknownName.of("table", table, self.tables)
        for task in self.tasks:
            if task not in groups:
                raise UnknownName.of("task", task, groups)
        labels = [groups[task] for task in self.tasks]
        return separation(self.tables[table], labels, of=of, seed=seed)

    def to_frame(self) -> pd.DataFrame:
        """A row for each task and circuit.

        Returns
        -------
        DataFrame
            ``task``, ``circuit``, and a column for each table.
        """
        pairs = list(product(self.tasks, self.tasks))
        frame = pd.DataFrame(pairs, columns=["task", "circuit"])
        return frame.assign(**{name: table.ravel() for name, table in self.tables.items()})


def compare_circuits(
    graph: Graph,
    tasks: Mapping[str, Pairs],
    *,
    faithfulness: float = 0.85,
    metric: Metric = logit_difference,
    prune: bool = True,
    n_random: int = 3,
    seed: int,
    **how: Any,
) -> CircuitComparison:
    """Find the circuit of every task twice, and compare all with all.

    Circuits with few edges in common may do each other's tasks, where parts are redundant; and
    circuits with many may not, where one that is missing matters. So both are reported.

    Parameters
    ----------
    graph : Graph
        Of the network that does all tasks.
    tasks : mapping of str to PromptPairs or Contrast
        Clean and corrupt inputs of two or more tasks; each is split by its own `split`.
    faithfulness, metric, prune
        As for `circuit`.
    n_random : int
        Random circuits for each one that was found.
    seed : int
        Of the halves and of what is random.
    **how
        For `graph.attribute`, such as ``steps=10``.

    Returns
    -------
    CircuitComparison
        Tables (task, circuit), with their ceiling on the diagonal.

    Raises
    ------
    InvalidArgument
        Fewer than two tasks, no random circuit, or a faithfulness that is not above 0.
    NotIdentifiable
        The network does not do one of the tasks.

    References
    ----------
    Hanna, Pezzelle and Belinkov (2025), Are formal and functional linguistic mechanisms
    dissociated in language models?
    """
    if len(tasks) < 2 or n_random < 1 or not faithfulness > 0:
        raise InvalidArgument(
            "it takes 2 tasks or more, n_random of 1 or more and a faithfulness above 0, not "
            f"{len(tasks)}, {n_random} and {faithfulness}"
        )
    halves = {name: pairs.split(0.5, seed=seed) for name, pairs in tasks.items()}  # type: ignore[attr-defined]
    found = {
        name: tuple(
            found_on(graph, parts[k], parts[1 - k], faithfulness, metric, prune, how)
            for k in (0, 1)
        )
        for name, parts in halves.items()
    }
    names = tuple(tasks)
    each = [found[name] for name in names]
    strength = _carried(graph, tasks, how, seed)
    rng = spawn(seed, "compare_circuits", "random")
    faithful = np.zeros((len(names), 2, len(names), 2 + n_random))  # task, half, circuit, kind
    for i, name in enumerate(names):
        for half in (0, 1):
            subgraphs = list[Kept]()
            for pair in each:
                kept = pair[1 - half].kept
                size = int(kept.sum())
                random = [grow(graph, rng.random(kept.shape), size) for _ in range(n_random)]
                subgraphs += [kept, grow(graph, strength, size), *random]
            with judging(graph, halves[name][half], metric) as judge:
                faithful[i, half] = np.reshape(judge(*subgraphs), (len(names), -1))
    faithful = faithful.mean(1)
    shared = {name: np.zeros((len(names),) * 2) for name in SHARED}
    for i, j in product(range(len(names)), repeat=2):
        ways = [(each[i][0], each[j][1]), (each[i][1], each[j][0])]
        for name, share in SHARED.items():
            shared[name][i, j] = np.mean([share(one, other) for one, other in ways])
    tables = {
        **shared,
        "faithfulness": faithful[..., 0],
        "strong": faithful[..., 1],
        "random": faithful[..., 2:].mean(-1),
    }
    return CircuitComparison(names, found, tables)  # type: ignore[arg-type]


def _expected_iou(one: Circuit, other: Circuit) -> float:
    """Of random sets of as many edges: the number that they share is hypergeometric."""
    a, b, n = (int(kept.sum()) for kept in (one.kept, other.kept, one.graph.joined))
    shared = np.arange(max(0, a + b - n), min(a, b) + 1)
    return float(stats.hypergeom(n, a, b).pmf(shared) @ (shared / (a + b - shared)))


def _recall(one: Circuit, other: Circuit) -> float:
    """Where sizes differ, the larger circuit would share more for that alone."""
    size = min(int(one.kept.sum()), int(other.kept.sum()))
    a, b = (grow(c.graph, np.where(c.kept, np.abs(c.scores), -np.inf), size) for c in (one, other))
    return float((a & b).sum() / size)


SHARED = {
    "edge_iou": lambda one, other: overlap(one, other).iou,
    "edge_iou_expected": _expected_iou,
    "node_iou": lambda one, other: overlap(one, other, "nodes").iou,
    "recall": _recall,
}


def _carried(
    graph: Graph, tasks: Mapping[str, Pairs], how: Mapping[str, Any], seed: int
) -> Float[np.ndarray, "sender receiver"]:
    """How much each edge carries between clean inputs, to a random direction of the answers."""
    total = np.zeros(graph.joined.shape)
    for name, pairs in tasks.items():

        def along(answers: Tensor, _: Any, name: str = name) -> Tensor:
            rng = spawn_torch(seed, "compare_circuits", "strong", name)
            return answers @ torch.randn(answers.shape[1], generator=rng).to(answers)

        clean = torch.as_tensor(pairs.clean)
        mixed = Contrast(clean, clean.roll(1, 0), pairs.right, pairs.wrong)
        scores = np.abs(graph.attribute(mixed, metric=along, **how))
        total += scores / max(scores.sum(), np.finfo(float).tiny)
    return total

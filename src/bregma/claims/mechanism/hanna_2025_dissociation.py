"""Formal and functional circuits: few common edges, and yet each does the others' tasks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from bregma.claims import Curve, Expect, Paper, claim
from bregma.datasets import Grammars, PromptPairs, grammars, wired_families
from bregma.mechanism import CircuitComparison, TransformerGraph, compare_circuits
from bregma.nn import CausalTransformer
from bregma.run import fit, minibatches

KIND = {
    **dict.fromkeys(("agreement", "licensing", "gender"), "formal"),
    **dict.fromkeys(("binding", "capital", "successor"), "functional"),
    **dict.fromkeys(("indirect_object", "greater_than"), "functional"),
}


def trained(
    language: Grammars, width: int, steps: int, seed: int
) -> tuple[CausalTransformer, float]:
    """A small network that learned all six tasks together, and its accuracy on the pairs."""
    task = language.training
    n_places = task.inputs.shape[1]
    net = CausalTransformer(task.n_classes, n_places, width, heads=4, layers=2, seed=seed)

    def loss(net: nn.Module, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
        return nn.functional.cross_entropy(net(batch[0])[:, -1], batch[1])

    batches = minibatches(task.inputs, task.targets, size=64)
    adam = torch.optim.Adam(net.parameters(), lr=2e-3)
    epochs = max(1, round(steps * 64 / len(task)))
    fit(net, loss, batches, optimizer=adam, epochs=epochs, seed=seed)
    with torch.no_grad():
        accuracy = [p.task().accuracy(net(p.clean)[:, -1]) for p in language.tasks.values()]
    return net, float(np.mean(accuracy))


def averages(name: str, found: CircuitComparison) -> dict[str, float | Curve]:
    """Means over pairs of tasks of one kind, of different kinds, and of the same task."""
    kinds = np.array([KIND[task] for task in found.tasks])
    other = ~np.eye(len(kinds), dtype=bool)
    alike, formal = kinds[:, None] == kinds, (kinds == "formal")[:, None]
    where = {
        "own": ~other,
        "within": alike & other,
        "formal": alike & other & formal,
        "functional": alike & other & ~formal,
        "between": ~alike,
    }
    out: dict[str, float | Curve] = {}
    for table, values in found.tables.items():
        for place, at in where.items():
            if at.any():
                out[f"{name}_{table}_{place}"] = float(values[at].mean())
    for table in ("faithfulness", "edge_iou"):
        for label, at in (("one kind", where["within"]), ("two kinds", where["between"])):
            values = np.sort(found.tables[table][at])
            share = np.linspace(0, 1, len(values))
            axes = ("share of pairs of tasks", table.replace("_", " "))
            out[f"{name}, {table}, {label}"] = Curve(share, values, *axes)
    return out


@claim(
    paper=Paper(
        title="Are formal and functional linguistic mechanisms dissociated in language models?",
        authors="Michael Hanna, Sandro Pezzelle, Yonatan Belinkov",
        year=2025,
        arxiv="2503.11302",
    ),
    sentence="Circuits of tasks of one kind may have few edges in common and still do each "
    "other's tasks: what they can do separates formal from functional ones, not what they share.",
    systems="a network wired by hand for three formal and three functional tasks, with one or "
    "three copies of each head; a two-layer transformer trained on six tasks of one small language",
    controls={
        "copies_random_within": "random circuits with as many edges that lead to the answer",
        "copies_strong_within": "as many edges that carry most between random inputs, whatever "
        "the task",
        "permuted": "tasks put into two groups otherwise: the best of the nine other ways",
        "copies_edge_iou_own": "the same task on other prompts: as much as could come out again",
        "single_edge_iou_within": "the same network with one head of each role",
        "trained_random_own": "random circuits in the trained network",
    },
    expects=[
        Expect(
            measure="copies_faithfulness_within",
            above="copies_faithfulness_between",
            by=0.6,
            says="Circuits do the tasks of their own kind and not those of the other",
            paper="five models of 2 to 9 billion parameters: formal circuits do other formal "
            "tasks better, the difference is smaller; here it is wired in",
        ),
        Expect(measure="copies_faithfulness_within", above=0.8, says="They do most of them"),
        Expect(measure="copies_faithfulness_between", below=0.2, says="and nearly nothing else"),
        Expect(
            measure="copies_edge_iou_within",
            below=0.3,
            says="With three copies of each head, circuits of one kind have few edges in common",
            paper="little overlap between kinds, and little among formal tasks",
        ),
        Expect(
            measure="copies_edge_iou_within",
            below="single_edge_iou_within",
            by=0.5,
            says="With one copy of each head they have nearly all in common",
        ),
        Expect(
            measure="copies_edge_iou_within",
            below="copies_edge_iou_own",
            by=0.5,
            says="That they have few in common is no noise: circuits come out again on other "
            "prompts",
        ),
        Expect(
            measure="separation",
            above="permuted",
            by=0.5,
            says="No other grouping of the six tasks separates them as well",
        ),
        Expect(
            measure="copies_faithfulness_within",
            above="copies_random_within",
            by=0.5,
            says="Random circuits of their size do not",
        ),
        Expect(
            measure="copies_faithfulness_within",
            above="copies_strong_within",
            by=0.3,
            says="nor do edges that are strong whatever the task",
        ),
        Expect(
            measure="trained_faithfulness_own",
            above="trained_random_own",
            by=0.3,
            says="In a trained network circuits hold on other prompts of their task; what kinds "
            "share there is measured, and nothing is expected of it",
        ),
    ],
    smoke={
        "n": 2,
        "copies": 1,
        "n_heads": 2,
        "n_grammar": 8,
        "width": 16,
        "steps": 200,
        "without": ("licensing", "binding", "successor", "indirect_object", "greater_than"),
        "prune": False,
    },
    check={
        "n": 6,
        "copies": 3,
        "n_heads": 8,
        "n_grammar": 32,
        "width": 48,
        "steps": 800,
        "without": (),
        "prune": True,
    },
    full={
        "n": 64,
        "copies": 3,
        "n_heads": 8,
        "n_grammar": 512,
        "width": 128,
        "steps": 6000,
        "without": (),
        "prune": True,
    },
    equations=[
        r"F_B(C_A) = \frac{m_B(C_A) - m_B(\varnothing)}{m_B(\text{all}) - m_B(\varnothing)}",
        r"\text{IoU}(C_A, C_B) = \frac{|C_A \cap C_B|}{|C_A \cup C_B|}, \qquad "
        r"D = \overline{F}_{\text{within}} - \overline{F}_{\text{between}}",
        r"p = \frac{\#\{\pi : D_\pi \ge D\}}{\#\pi}, \qquad \pi: \text{tasks exchanged between "
        r"the kinds}",
    ],
    use="""
from bregma.datasets import wired_families
from bregma.mechanism import TransformerGraph, compare_circuits

wired = wired_families(4, n_heads=2, seed=0)
net, tasks = wired.net, {name: wired.tasks[name] for name in ("gender", "agreement", "capital")}
found = compare_circuits(TransformerGraph(net), tasks, prune=False, n_random=1, seed=0)  # yours
print(found.to_frame())  # what circuits share, and what each does for the task of another
kinds = {"gender": "formal", "agreement": "formal", "capital": "functional"}
print(found.separation("faithfulness", kinds, seed=0).difference)
""",
)
def hanna_2025_dissociation(
    *,
    seed: int,
    n: int,
    copies: int,
    n_heads: int,
    n_grammar: int,
    width: int,
    steps: int,
    without: tuple[str, ...],
    prune: bool,
) -> dict[str, float | Curve]:
    out: dict[str, float | Curve] = {}
    found = {}

    def compare(graph: TransformerGraph, tasks: Mapping[str, PromptPairs]) -> CircuitComparison:
        tasks = {task: pairs for task, pairs in tasks.items() if task not in without}
        return compare_circuits(graph, tasks, n_random=1, prune=prune, seed=seed)

    for name, n_copies, heads in (("single", 1, 2), ("copies", copies, n_heads)):
        wired = wired_families(n, copies=n_copies, n_heads=heads, seed=seed)
        graph = TransformerGraph(wired.net, batch_size=n)
        found[name] = compare(graph, wired.tasks)
    language = grammars(n_grammar, seed=seed)
    net, out["trained_accuracy"] = trained(language, width, steps, seed)
    graph = TransformerGraph(net, batch_size=n_grammar)
    found["trained"] = compare(graph, language.tasks)
    for name, comparison in found.items():
        out |= averages(name, comparison)
    by_kind = found["copies"].separation("faithfulness", KIND, seed=seed)
    others = by_kind.null.values[~np.isclose(by_kind.null.values, by_kind.difference)]
    out |= {
        "separation": by_kind.difference,
        "permuted": float(others.max()),
        "separation_p": by_kind.null.p_value,
    }
    return out

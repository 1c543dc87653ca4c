"""One search for circuits in three kinds of networks: wired by hand, trained, and spiking."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

import numpy as np
import torch
from torch import nn

from bregma.claims import Curve, Expect, Paper, claim
from bregma.datasets import docstring, wired_induction, wired_scenes, wired_spikes
from bregma.errors import NotIdentifiable
from bregma.mechanism import Circuit, Contrast, Graph, SpikingGraph, TransformerGraph, circuit
from bregma.nn import CausalTransformer
from bregma.run import derive, spawn, spawn_torch

WANTED, LEVEL = 0.85, 0.05  # faithfulness that is asked for; level of tests
MATTERS = 0.05  # of the whole effect: an edge of the trained network that costs so much is one


def f1(found: Set[Any], true: Set[Any]) -> float:
    """Harmonic mean of precision and recall."""
    return 2 * len(found & true) / (len(found) + len(true))


def by_chance(graph: Graph, size: int, true: Set[Any], seed: int, n: int = 200) -> float:
    """The same of as many edges drawn at random."""
    rng = spawn(seed, "edges by chance")
    draws = (rng.choice(len(graph.edges), size, replace=False) for _ in range(n))
    return float(np.mean([f1({graph.edges[i] for i in draw}, true) for draw in draws]))


def trained(seed: int, steps: int = 400) -> nn.Module:
    """A network that learned to fill in the next argument of a docstring."""
    task, rng = docstring(4096, seed=seed).task(), spawn_torch(seed, "batches")
    width, places = len(docstring(1, seed=seed).words), task.inputs.shape[1]
    net = CausalTransformer(width, places, 64, heads=4, layers=2, seed=seed)
    adam = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(steps):
        rows = torch.randint(len(task), (64,), generator=rng)
        loss = nn.functional.cross_entropy(net(task.inputs[rows])[:, -1], task.targets[rows])
        if loss.item() < 0.02:
            break
        adam.zero_grad()
        loss.backward()
        adam.step()
    return net


def exhaustive(graph: Graph, pairs: Any) -> set[tuple[str, str]]:
    """Edges that matter one by one, on prompts of their own: one run for each edge."""
    whole, corrupt = graph.measure(pairs, [graph.joined, graph.joined & False]).mean(1)
    share = graph.attribute(pairs, steps=None) / (whole - corrupt)
    return set(graph.named(np.abs(share) >= MATTERS))


def looked_for(graph: Graph, pairs: Any, seed: int) -> Circuit | None:
    """The circuit, if the network tells clean from corrupt inputs at all."""
    try:
        return circuit(graph, pairs, faithfulness=WANTED, seed=seed)
    except NotIdentifiable:
        return None


def is_more_than_nothing(found: Circuit, n: int, seed: int) -> bool:
    """Against what is found in n networks that learned nothing."""
    null = found.evidence(n=1, n_null_networks=n, seed=seed).system_null
    return null is not None and null.p_value <= LEVEL


def growth(found: Circuit, name: str) -> Curve:
    """How faithful the edges with the largest scores are, the more of them are kept."""
    strength, n = np.abs(found.scores), len(found.graph.edges)
    sizes = np.unique(np.geomspace(1, n, 10).round().astype(int)).tolist()
    kept = [
        found.graph.joined & (strength >= np.sort(strength[found.graph.joined])[-k]) for k in sizes
    ]
    none, *gains = found.graph.measure(found.test, [kept[0] & False, *kept]).mean(1)
    shares = [(gain - none) / (gains[-1] - none) for gain in gains]
    return Curve([size / n for size in sizes], shares, "share of edges", name)


@claim(
    paper=Paper(
        title="Towards Automated Circuit Discovery for Mechanistic Interpretability",
        authors="Arthur Conmy, Augustine N. Mavor-Parker, Aengus Lynch, Stefan Heimersheim, "
        "Adrià Garriga-Alonso",
        year=2023,
        arxiv="2304.14997",
    ),
    sentence="One automatic search gives back the known wiring of transformers and of spiking "
    "circuits, and what it finds in networks that learned nothing is told apart by comparison "
    "with others of their kind.",
    systems="hand-wired transformers of 2 and 4 layers (three tasks); a trained one of 2 layers, 4 "
    "heads each; leaky integrate-and-fire circuits of 6 and 7 populations",
    controls={
        "wired_chance": "as many edges of the hand-wired networks, drawn at random",
        "trained_chance": "as many edges of the trained network, drawn at random",
        "spiking_chance": "as many edges of the spiking circuit, drawn at random",
        "naive_alarms": "untrained transformers in which a circuit is found that keeps half of the "
        "wanted faithfulness on other prompts",
        "spiking_alarms": "the same in spiking circuits whose pairs of units are exchanged",
    },
    expects=[
        Expect(
            measure="spiking_f1",
            above="spiking_chance",
            by=0.5,
            says="In spiking circuits it finds the path that tells the sides apart",
        ),
        Expect(measure="wired_f1", above=0.9, says="In hand-wired transformers all wired edges"),
        Expect(
            measure="trained_f1",
            above="trained_chance",
            by=0.5,
            says="In a trained transformer the edges that an exhaustive search finds",
            paper="5 of the 5 component types of the greater-than circuit in GPT-2 small",
        ),
        Expect(measure="tested", above=0.75, says="On inputs not used to find them, circuits hold"),
        Expect(
            measure="alarms",
            below=0.2,
            says="Compared with what is found in others of their kind, networks that learned "
            "nothing rarely have a circuit",
        ),
        Expect(
            measure="alarms",
            below="naive_alarms",
            by=0.2,
            says="Without that comparison they more often seem to have one",
        ),
        Expect(
            measure="discovered",
            above=0.9,
            says="One of each kind, wired, trained and spiking, is found to have one at that level",
        ),
    ],
    smoke={"n_pairs": 8, "n_random": 1, "n_rewired": 1, "n_null": 1, "relays": (1,)},
    check={"n_pairs": 16, "n_random": 8, "n_rewired": 8, "n_null": 19, "relays": (1, 2)},
    full={"n_pairs": 128, "n_random": 100, "n_rewired": 50, "n_null": 99, "relays": (1, 2, 3, 4)},
    seeds=(1, 2, 3, 4),
    equations=[
        r"F(C) = \frac{m(C) - m(\varnothing)}{m(\text{all}) - m(\varnothing)}, \qquad "
        r"C^\ast = \arg\min_C |C| \;\text{ with }\; F(C) \ge F_0",
        r"s(u \to v) = (z_u - z'_u) \cdot \frac{1}{m}\sum_{k=1}^{m} "
        r"\frac{\partial m}{\partial x_v}\Big|_{x' + \frac{k}{m}(x - x')}",
    ],
    use="""
from bregma.datasets import wired_induction, wired_spikes
from bregma.mechanism import Contrast, SpikingGraph, TransformerGraph, circuit

wired = wired_induction(16, seed=0)  # yours: any transformer, and PromptPairs
print(circuit(TransformerGraph(wired.net), wired.tasks["induction"], seed=0).to_frame())
spikes = wired_spikes(4, seed=0)  # yours: any CircuitSystem, and a Contrast of stimuli
sides = Contrast(spikes.clean, spikes.corrupt, spikes.right, spikes.wrong)
print(circuit(SpikingGraph(spikes.system, "O"), sides, seed=0).to_frame())
""",
)
def conmy_2023_discovery(
    *,
    seed: int,
    n_pairs: int,
    n_random: int,
    n_rewired: int,
    n_null: int,
    relays: tuple[int, ...],
) -> dict[str, float | Curve]:
    found: dict[str, list[tuple[Circuit, Set[Any]]]] = {"wired": [], "trained": [], "spiking": []}
    for wired in (
        wired_induction(n_pairs, n_heads=4, seed=seed), wired_scenes(n_pairs, seed=seed)
    ):  # fmt: skip
        for task, prompts in wired.tasks.items():
            graph = TransformerGraph(wired.net, batch_size=32)
            here = circuit(graph, prompts, faithfulness=WANTED, seed=seed)
            found["wired"].append((here, wired.circuits[task]))

    graph = TransformerGraph(trained(seed), batch_size=32)
    prompts, others = (docstring(n_pairs, seed=derive(seed, "prompts", i)) for i in range(2))
    learned = circuit(graph, prompts, faithfulness=WANTED, seed=seed)
    found["trained"].append((learned, exhaustive(graph, others)))

    spiking_alarms = []
    for n_relays in relays:
        spikes = wired_spikes(8, n_relays=n_relays, seed=derive(seed, "spikes", n_relays))
        sides = Contrast(spikes.clean, spikes.corrupt, spikes.right, spikes.wrong)
        circuits = SpikingGraph(spikes.system, "O")
        here = circuit(circuits, sides, faithfulness=WANTED, seed=seed)
        found["spiking"].append((here, spikes.circuit))
        for i in range(n_rewired // len(relays)):
            other = looked_for(circuits.again(derive(seed, "rewired", i)), sides, seed)
            spiking_alarms.append(other is not None and other.tested >= WANTED / 2)

    untrained = [graph.again(derive(seed, "untrained", i)) for i in range(n_random)]
    nothing = [looked_for(other, prompts, seed) for other in untrained]
    naive = [c is not None and c.tested >= WANTED / 2 for c in nothing]
    alarms = [
        c is not None and is_more_than_nothing(c, n_null, derive(seed, "test", i))
        for i, c in enumerate(nothing)
    ]
    some = [group[0][0] for group in found.values()]
    measures: dict[str, float | Curve] = {
        "wired by hand": growth(found["wired"][0][0], "faithfulness"),
        "trained": growth(learned, "faithfulness"),
        "alarms": float(np.mean(alarms)),
        "naive_alarms": float(np.mean(naive)),
        "spiking_alarms": float(np.mean(spiking_alarms)),
        "discovered": float(np.mean([is_more_than_nothing(c, n_null, seed) for c in some])),
        "tested": float(np.mean([c.tested for group in found.values() for c, _ in group])),
    }
    for kind, group in found.items():
        measures[f"{kind}_f1"] = float(np.mean([f1(set(c.edges), true) for c, true in group]))
        chance = [by_chance(c.graph, len(c.edges), true, seed) for c, true in group]
        measures[f"{kind}_chance"] = float(np.mean(chance))
        measures[f"{kind}_edges"] = float(np.mean([len(c.edges) for c, _ in group]))
    return measures

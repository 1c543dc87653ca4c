"""Invented concepts learned in stages: what is gained is lost again, and like disturbs like."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import torch
from jaxtyping import Float
from scipy import stats
from sklearn.linear_model import RidgeCV
from sklearn.metrics import r2_score
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from bregma.claims import Curve, Expect, Paper, claim
from bregma.datasets import InventedConcepts, Task, invented_concepts
from bregma.evidence import permutation_p
from bregma.mechanism import TransformerGraph, graph_metrics, strongest_edges
from bregma.nn import CausalTransformer
from bregma.run import derive, fit, minibatches, spawn


def learn(net: nn.Module, task: Task, epochs: int, rate: float, seed: int) -> None:
    def loss(net: nn.Module, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
        return nn.functional.cross_entropy(net(batch[0])[:, -1], batch[1])

    adam = torch.optim.Adam(net.parameters(), lr=rate)
    batches = minibatches(task.inputs, task.targets, size=64)
    fit(net, loss, batches, optimizer=adam, epochs=epochs, seed=seed)


def known(net: nn.Module, task: Task, n: int) -> Float[np.ndarray, " concept"]:
    """Mean probability of the right object, for each concept."""
    with torch.no_grad():
        p = net(task.inputs)[:, -1].softmax(-1).gather(1, task.targets[:, None])
    return p.view(n, -1).mean(1).double().numpy()


def circuits(
    net: nn.Module,
    world: InventedConcepts,
    size: int | None,
    random: np.random.Generator | None = None,
) -> Float[np.ndarray, "concept metric"]:
    """Metrics of each concept's circuit in the second half of the templates.

    Of a fixed size, or of the first one that does 70 % of what the network does.
    """
    graph = TransformerGraph(net, batch_size=64)
    none, found = np.zeros_like(graph.joined), []
    sizes = np.arange(2, int(graph.joined.sum()), 4).tolist()
    for concept in range(world.concepts.shape[1]):
        pairs = world.pairs(0, concept, half=1)
        scores = graph.attribute(pairs) if random is None else random.random(none.shape)
        kept = strongest_edges(graph, scores, size or sizes[-1])
        if size is None:
            grown = [strongest_edges(graph, scores, k) for k in sizes]
            low, whole, *does = graph.measure(pairs, [none, graph.joined, *grown]).mean(1)
            enough = [k for k, m in zip(grown, does, strict=True) if m - low >= 0.7 * (whole - low)]
            kept = [*enough, kept][0]
        found.append(list(graph_metrics(graph, kept).values()))
    return np.array(found)


def predicted(x: Float[np.ndarray, "concept metric"], y: np.ndarray, seed: int) -> float:
    """R2 of ridge regression on concepts that were left out."""
    ridge = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-1, 4, 11)))
    folds = KFold(8, shuffle=True, random_state=seed)
    return float(r2_score(y, cross_val_predict(ridge, x, y, cv=folds)))


def disturbed(
    net: nn.Module, world: InventedConcepts, n_lessons: int, epochs: int, rate: float, seed: int
) -> Float[np.ndarray, "lesson concept"]:
    """What every concept loses when one concept is taught alone."""
    n = world.concepts.shape[1]
    questions = world.questions(0, half=0)
    before, lost = known(net, questions, n), []
    for concept in range(n_lessons):
        pupil = deepcopy(net)
        learn(pupil, world.lesson(0, concept), epochs, rate, derive(seed, "lesson", concept))
        lost.append(before - known(pupil, questions, n))
    return np.array(lost)


@claim(
    paper=Paper(
        title="How Do Large Language Models Learn Concepts During Continual Pre-Training?",
        authors="Barry Menglong Yao, Sha Li, Yunzhi Yao, Minqian Liu, Zaishuo Xia, Qifan Wang, "
        "Lifu Huang",
        year=2026,
        arxiv="2601.03570",
    ),
    sentence="When concepts are learned in stages, those that gain most are forgotten most, "
    "concepts with common relations disturb each other most, and the shape of a concept's circuit "
    "says how much was learned.",
    systems="two-layer transformer that knows 32 concepts, then learns 64 invented ones, then 64 "
    "others",
    controls={
        "rho_permuted": "forgetting of other concepts",
        "interference_disjoint": "concepts that have no relation in common with what is taught",
        "r2_random": "random circuits with as many edges",
        "r2_permuted": "circuits of other concepts",
    },
    expects=[
        Expect(
            measure="rho_gain_forgetting",
            above="rho_permuted",
            by=0.2,
            says="Concepts with a larger gain are forgotten more, measured in templates that have "
            "nothing in common",
            paper="larger gains go with more forgetting in language models",
        ),
        Expect(
            measure="interference_alike",
            above="interference_disjoint",
            times=1.3,
            says="To teach a concept costs those with the same relations more than those with "
            "none in common",
            paper="semantically similar concepts interfere more",
        ),
        Expect(
            measure="interference_p",
            below=0.01,
            says="which families drawn at random do not give",
        ),
        Expect(
            measure="r2_gain",
            above=0.0,
            says="Metrics of circuits predict the gain of concepts that were left out",
            paper="metrics of circuits correlate significantly with learning and forgetting",
        ),
        Expect(measure="r2_gain", above="r2_random", by=0.05, says="Those of random circuits less"),
        Expect(measure="r2_gain", above="r2_permuted", by=0.05, says="and those of other concepts"),
    ],
    smoke={"n": 16, "first": 8, "epochs": 1, "n_lessons": 2, "size": 16},
    check={"n": 64, "first": 40, "epochs": 1, "n_lessons": 16, "size": 24},
    full={"n": 512, "first": 200, "epochs": 1, "n_lessons": 128, "size": 24},
    seeds=(1, 2, 3, 4, 5),
    equations=[
        r"g_c = p_1(c) - p_0(c), \qquad f_c = p_1(c) - p_2(c), \qquad "
        r"I(a \leftarrow b) = p(a) - p(a \mid b \text{ taught})",
        r"s(u \to v) = (z_u - z'_u) \cdot \frac{1}{m} \sum_{k=1}^{m} "
        r"\frac{\partial M}{\partial x_v}\Big|_{z' + \frac{k}{m}(z - z')}",
    ],
    use="""
from bregma.datasets import invented_concepts
from bregma.mechanism import TransformerGraph, graph_metrics, strongest_edges
from bregma.nn import CausalTransformer

world = invented_concepts(8, seed=0)
net = CausalTransformer(len(world.words), 4, 16, heads=2, layers=2)  # yours, at any checkpoint
graph = TransformerGraph(net)
for concept in range(3):
    scores = graph.attribute(world.pairs(0, concept, half=0))  # clean and corrupt prompts
    print(graph_metrics(graph, strongest_edges(graph, scores, 20)))  # all of one size
""",
)
def yao_2026_concepts(
    *, seed: int, n: int, first: int, epochs: int, n_lessons: int, size: int
) -> dict[str, float | Curve]:
    world = invented_concepts(n, seed=seed)
    net = CausalTransformer(len(world.words), 4, 64, heads=4, layers=2, seed=seed)
    questions = [world.questions(0, half) for half in (0, 1)]
    learn(net, world.pretraining, first, 3e-3, derive(seed, "first"))
    p0 = [known(net, q, n) for q in questions]
    learn(net, world.stages[0], epochs, 1e-3, derive(seed, "stage", 0))
    p1 = [known(net, q, n) for q in questions]
    middle = deepcopy(net)
    learn(net, world.stages[1], epochs, 1e-3, derive(seed, "stage", 1))
    p2 = [known(net, q, n) for q in questions]

    gain, lost = p1[0] - p0[0], p1[1] - p2[1]
    rng = spawn(seed, "permutations")
    others = [stats.spearmanr(gain, rng.permutation(lost)).statistic for _ in range(999)]
    shares = lost / p1[1]

    lessons = disturbed(middle, world, n_lessons, 2, 1e-3, seed)
    alike = world.alike[0].numpy()
    self_ = np.eye(n, dtype=bool)[:n_lessons]

    def interference(order: np.ndarray) -> tuple[float, float]:
        near = alike[order][:, order][:n_lessons]
        return float(lessons[(near == 1) & ~self_].mean()), float(lessons[near == 0].mean())

    same, disjoint = interference(np.arange(n))
    drawn = [np.subtract(*interference(rng.permutation(n))) for _ in range(999)]

    x, grown = (circuits(middle, world, k) for k in (size, None))
    r2_permuted = [predicted(rng.permutation(x), gain, seed) for _ in range(10)]
    by_metric = [abs(stats.spearmanr(column, gain).statistic) for column in x.T if np.ptp(column)]
    return {
        "rho_gain_forgetting": float(stats.spearmanr(gain, lost).statistic),
        "rho_permuted": float(np.mean(others)),
        "rho_same_templates": float(stats.spearmanr(gain, p1[0] - p2[0]).statistic),
        "rho_gain_share_lost": float(stats.spearmanr(gain, shares).statistic),
        "gain": float(gain.mean()),
        "forgetting": float(lost.mean()),
        "interference_alike": same,
        "interference_disjoint": disjoint,
        "interference_p": permutation_p(same - disjoint, drawn),
        "r2_gain": predicted(x, gain, seed),
        "r2_gain_grown": predicted(grown, gain, seed),
        "r2_gain_links": predicted(grown[:, 1:2], gain, seed),
        "r2_forgetting_grown": predicted(grown, lost, seed),
        "r2_forgetting": predicted(x, lost, seed),
        "r2_random": predicted(circuits(middle, world, size, rng), gain, seed),
        "r2_permuted": float(np.mean(r2_permuted)),
        "largest_rho_of_a_metric": float(max(by_metric)),
        "forgetting of a concept": Curve(
            np.sort(gain), lost[np.argsort(gain)], "gain", "forgetting"
        ),
    }

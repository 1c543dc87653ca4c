"""Dead salmons: what probes and saliency maps find in networks that have learned nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from bregma.claims import Curve, Expect, Paper, claim
from bregma.datasets import Task, digits
from bregma.evidence import Evidence
from bregma.mechanism import null_test
from bregma.run import fit, minibatches, spawn
from bregma.system import untrained

UNITS = 24


def probe(traces: np.ndarray, labels: np.ndarray) -> float:
    """Accuracy of a ridge classifier: fitted to one half of the inputs, tested on the other."""
    x, half = np.c_[traces, np.ones(len(traces))], len(traces) // 2
    a, b = x[:half], np.eye(10)[labels[:half]]
    weights = np.linalg.solve(a.T @ a + 1e-3 * np.eye(len(a.T)), a.T @ b)
    return float(((x[half:] @ weights).argmax(1) == labels[half:]).mean())


def saliency(net: nn.Module, images: torch.Tensor) -> np.ndarray:
    """|input x gradient| of the strongest output."""
    x = images.clone().requires_grad_()
    (slope,) = torch.autograd.grad(net(x).max(1).values.sum(), x)
    return (x * slope).abs().detach().double().numpy()


def resemblance(maps: np.ndarray, images: np.ndarray) -> float:
    """Correlation of saliency maps with what is shown."""
    a, b = maps - maps.mean(1, keepdims=True), images - images.mean(1, keepdims=True)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return float(((a * b).sum(1) / np.maximum(lengths, 1e-9)).mean())


def selectivity(traces: np.ndarray, concept: np.ndarray) -> np.ndarray:
    """Correlation of every unit with a concept; 0 for a silent unit."""
    a, b = traces - traces.mean(0), concept - concept.mean()
    return np.abs(a.T @ b) / np.maximum(np.linalg.norm(a, axis=0) * np.linalg.norm(b), 1e-9)


def wired(train: Task, random: nn.Module) -> nn.Module:
    """Ten units of a random network are wired by hand to the differences between the digits."""
    means = torch.stack([train.inputs[train.targets == c].mean(0) for c in range(10)])
    next(random.parameters()).data[:10] = means - means.mean(0)
    return random


def exchanges(found: Sequence[Evidence]) -> list[float]:
    """p of exchanged targets."""
    return [e.p_value for e in found]


def networks(found: Sequence[Evidence]) -> list[float]:
    """p of null networks."""
    return [e.system_null.p_value for e in found if e.system_null is not None]


def alarms(ps: Sequence[float], level: float = 0.05) -> float:
    """Share of networks called significant."""
    return float(np.mean(np.asarray(ps) <= level))


def cross_entropy(net: nn.Module, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
    return nn.functional.cross_entropy(net(batch[0]), batch[1])


class Noise(nn.Module):
    """A null that is too easy: units that do not even listen to their input."""

    def __init__(self, _: nn.Module, seed: int) -> None:
        super().__init__()
        self.rng = spawn(seed, "noise")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(self.rng.standard_normal((len(x), UNITS)))


@claim(
    paper=Paper(
        title="The Dead Salmons of AI Interpretability",
        authors="Maxime Méloux, Giada Dirupo, François Portet, Maxime Peyrard",
        year=2025,
        arxiv="2512.18792",
    ),
    sentence="Common explanations come out significant in random networks; tested against "
    "networks that learned nothing they do not, while what was learned is still found.",
    systems="networks 64-24-10 of ReLU units on handwritten digits: untrained, trained, hand-wired",
    controls={
        "naive_alarms": "the same probe and networks, tested by exchanging the labels",
        "noise_alarms": "the same, tested against units of white noise: a null that is too easy",
        "saliency_naive": "saliency maps of untrained networks, tested by exchanging the images",
        "picked_alarms": "the most selective of 24 units, tested as if it had been the only one",
    },
    expects=[
        Expect(
            measure="network_alarms",
            below="naive_alarms",
            by=0.8,
            says="A probe finds digits in untrained networks when labels are exchanged, "
            "and not when networks are",
            paper="argues and cites demonstrations; gives no such rate",
        ),
        Expect(measure="network_alarms", below=0.1, says="At a level of 5 % it stays below 10 %"),
        Expect(measure="found_trained", above=0.8, says="It finds what training put there"),
        Expect(measure="found_wired", above=0.8, says="It finds what was wired by hand"),
        Expect(
            measure="noise_alarms",
            above=0.9,
            says="A null that is too easy gives the false alarms back",
        ),
        Expect(
            measure="saliency_network",
            below="saliency_naive",
            by=0.8,
            says="Saliency maps of untrained networks look like the image; "
            "against other untrained networks that is nothing",
        ),
        Expect(
            measure="best_alarms",
            below="picked_alarms",
            by=0.2,
            says="A winner among 24 units has to be compared with winners",
        ),
    ],
    smoke={"n_untrained": 6, "n_trained": 1, "n_few": 3, "epochs": 10, "n": 19},
    check={"n_untrained": 150, "n_trained": 10, "n_few": 40, "epochs": 40, "n": 39},
    full={"n_untrained": 1000, "n_trained": 50, "n_few": 200, "epochs": 100, "n": 199},
    seeds=(1, 2, 3, 4, 5),
    equations=[
        r"\hat\theta = T(\text{traces}(f, x), y), \qquad S = \max_j \hat\theta_j",
        r"p = \frac{1 + \#\{g \in G : S(g) \ge S(f)\}}{1 + |G|}, \qquad G: \text{twins of } f "
        r"\text{ with the weights drawn anew}",
    ],
    use="""
import torch
from sklearn.linear_model import RidgeClassifier
from bregma.datasets import digits
from bregma.evidence import Evidence
from bregma.mechanism import null_test

_, test = digits(seed=0)
net = torch.nn.Sequential(torch.nn.Linear(64, 24), torch.nn.ReLU())  # yours
found = null_test(RidgeClassifier(), net, test.inputs[:400], test.targets[:400], n=19, seed=0)
print(found.p_value, found.system_null.p_value)  # is it there? did learning put it there?
""",
)
def meloux_2025_salmon(
    *, seed: int, n_untrained: int, n_trained: int, n_few: int, epochs: int, n: int
) -> dict[str, float | Curve]:
    train, test = digits(seed=seed)
    x, y = test.inputs, test.targets
    net = nn.Sequential(nn.Linear(64, UNITS), nn.ReLU(), nn.Linear(UNITS, 10))
    first = 10_000 * seed  # of everything drawn below
    nets = untrained(net, seeds=range(first, first + n_untrained))
    few = list(enumerate(nets[:n_few]))
    learners = untrained(net, seeds=range(first + 5000, first + 5000 + n_trained))
    by_hand = [wired(train, f) for f in untrained(net[:2], seeds=range(first, first + 5))]
    for i, f in enumerate(learners):
        adam = torch.optim.Adam(f.parameters(), lr=3e-3)
        batches = minibatches(train.inputs, train.targets, size=64)
        fit(f, cross_entropy, batches, optimizer=adam, epochs=epochs, seed=first + i)

    salmon = [null_test(probe, f[:2], x, y, n=n, seed=first + i) for i, f in enumerate(nets)]
    noise = [null_test(probe, f[:2], x, y, nulls=Noise, n=n, seed=first + i) for i, f in few]
    trained = [null_test(probe, f[:2], x, y, n=n, seed=first + i) for i, f in enumerate(learners)]
    hand = [null_test(probe, f, x, y, n=n, seed=first + i) for i, f in enumerate(by_hand)]
    maps = [null_test(resemblance, f, x, x, trace=saliency, n=n, seed=first + i) for i, f in few]

    best, picked = [], []
    for i, f in few:  # a concept that does not exist
        coin = spawn(seed, "concept", i).integers(2, size=len(x))
        best.append(null_test(selectivity, f[:2], x, coin, n=n, seed=first + i))
        unit = int(selectivity(f[:2](x).detach().double().numpy(), coin).argmax())

        def alone(traces: np.ndarray, concept: np.ndarray, unit: int = unit) -> float:
            return float(selectivity(traces, concept)[unit])

        picked.append(null_test(alone, f[:2], x, coin, n=n, seed=first + i))

    nulls = [(e.score, e.system_null.values) for e in trained if e.system_null is not None]
    effects = [(score - np.median(null)) / null.std() for score, null in nulls]
    levels = [level / 20 for level in range(21)]
    axes = ("level of the test", "untrained networks called significant")
    return {
        "network_alarms": alarms(networks(salmon)),
        "naive_alarms": alarms(exchanges(salmon)),
        "noise_alarms": alarms(networks(noise)),
        "found_trained": alarms(networks(trained)),
        "found_wired": alarms(networks(hand)),
        "saliency_network": alarms(networks(maps)),
        "saliency_naive": alarms(exchanges(maps)),
        "best_alarms": alarms(exchanges(best)),
        "picked_alarms": alarms(exchanges(picked)),
        "accuracy_untrained": float(np.mean([e.score for e in salmon])),
        "accuracy_trained": float(np.mean([e.score for e in trained])),
        "effect_in_null_sd": float(np.mean(effects)),
        "labels exchanged": Curve(levels, [alarms(exchanges(salmon), a) for a in levels], *axes),
        "networks exchanged": Curve(levels, [alarms(networks(salmon), a) for a in levels], *axes),
    }

"""Cai et al. (2018): architecture search that grows trained networks and keeps what they know."""

import copy
from typing import Any

import numpy as np
import torch
from torch import nn

from bregma.claims import Curve, Expect, Paper, claim
from bregma.datasets import Task, digits
from bregma.run import derive, fit, minibatches, spawn
from bregma.search import (
    Grown,
    GrowthPolicy,
    GrowthSpace,
    RandomPolicy,
    deeper,
    grow_search,
    widenable,
    wider,
)

Moves = tuple[tuple[str, int, int], ...]


@claim(
    paper=Paper(
        title="Efficient Architecture Search by Network Transformation",
        authors="Han Cai, Tianyao Chen, Weinan Zhang, Yong Yu, Jun Wang",
        year=2018,
        arxiv="1707.04873",
    ),
    sentence="Networks that are made wider and deeper without changing their function need far "
    "fewer updates in an architecture search than the same networks trained from scratch.",
    systems="small convolutional networks with batch normalisation, 8 x 8 handwritten digits",
    controls={
        "scratch_epochs": "the same networks, trained from scratch with the same optimizer",
        "random_units_epochs": "the same moves with new units and layers drawn at random",
        "scratch": "accuracy of those from scratch after as many epochs as the children had",
        "random_policy": "children of a random policy instead of the learned one",
        "best_scratch": "the best network from scratch, with the epochs of its parent added",
    },
    expects=[
        Expect(
            measure="inherited_epochs",
            below="scratch_epochs",
            times=0.5,
            says="90 % of the final accuracy takes less than half the epochs.",
            paper="20 epochs per child instead of hundreds (CIFAR-10)",
        ),
        Expect(
            measure="inherited_epochs",
            below="random_units_epochs",
            by=0.2,
            says="It is the kept function that helps, not the old weights alone.",
        ),
        Expect(
            measure="inherited",
            above="scratch",
            by=0.01,
            says="After as many epochs the children are better.",
        ),
        Expect(
            measure="best_scratch",
            above="best",
            says="It saves time in the search, not in the end: trained for as long as parent and "
            "child together, the best network is better from scratch.",
            paper="no such control; the best networks are trained on for 300 epochs",
        ),
        Expect(
            measure="deviation",
            below=1e-10,
            says="Chains of six moves leave the outputs as they are (double precision).",
            paper="exact by construction",
        ),
    ],
    smoke={"parent_epochs": 1, "epochs": 1, "episodes": 1, "children": 2, "chains": 4},
    check={},
    full={
        "parent_epochs": 60, "epochs": 20, "episodes": 45, "children": 10, "chains": 100,
        "width": 16, "levels": (16, 32, 64, 96, 128, 192, 256), "decisions": 5,
    },
    equations=[
        r"U^{(l)}_{\cdot j} = W^{(l)}_{\cdot g(j)}, \qquad U^{(l+1)}_{j \cdot} = "
        r"\frac{W^{(l+1)}_{g(j) \cdot}}{|\{k : g(k) = g(j)\}|}, \qquad "
        r"g(j) = j \;\; (j \le n), \text{ else uniform in } 1 \dots n",
        r"\mathrm{ReLU}(I\, \mathrm{ReLU}(x)) = \mathrm{ReLU}(x), \qquad "
        r"\gamma = \sqrt{\sigma^2 + \epsilon}, \; \beta = \mu",
        r"\nabla_\theta J = \sum_t (R - b)\, \nabla_\theta \log \pi_\theta(a_t), \qquad "
        r"R = \tan\!\left(\mathrm{accuracy} \cdot \frac{\pi}{2}\right)",
    ],
    use="""
import torch
from torch import nn
from bregma.run import fit, minibatches
from bregma.search import GrowthPolicy, GrowthSpace, grow_search

rng = torch.Generator().manual_seed(0)
x = torch.randn(80, 6, generator=rng)
y = (x[:, 0] * x[:, 1] > 0).long()

def train(net, seed):
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    loss = lambda net, batch: nn.functional.cross_entropy(net(batch[0]), batch[1])
    fit(net, loss, minibatches(x[:60], y[:60], size=20), optimizer=optimizer, epochs=5, seed=seed)
    return float((net(x[60:]).argmax(1) == y[60:]).float().mean())

parent = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2))
train(parent, 0)
space = GrowthSpace(levels=(4, 8, 16), kernels=(1,), wider=1, deeper=1)
policy = GrowthPolicy(n_levels=3, n_kernels=1, seed=0)
tried = grow_search(parent, train, policy, space, episodes=2, children=3, seed=0)
best = max(tried, key=lambda child: child.accuracy)
print(best.accuracy, best.moves)
""",
)  # fmt: skip
def cai_2018_growing(
    *, seed: int, width: int = 4, levels: tuple[int, ...] = (4, 8, 12, 16, 24),
    decisions: int = 2, parent_epochs: int = 25, epochs: int = 5, episodes: int = 5,
    children: int = 4, chains: int = 100,
) -> dict[str, float | Curve]:  # fmt: skip
    both, test = digits(seed=seed)
    seen = Task(both.inputs[:900], both.targets[:900], 10, chance=0.1)
    held = Task(both.inputs[900:], both.targets[900:], 10, chance=0.1)

    def course(net: nn.Sequential, epochs: int, seed: int) -> list[float]:
        """Accuracy on held-out examples before training and after each epoch."""
        optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
        batches, found = minibatches(seen.inputs, seen.targets, size=64), [scored(net, held)]
        for epoch in range(epochs):
            fit(net, loss, batches, optimizer=optimizer, epochs=1, seed=derive(seed, epoch))
            found.append(scored(net, held))
        return found

    parent = convolutional(width, seed=derive(seed, "parent"))
    course(parent, parent_epochs, seed)
    courses: list[list[float]] = []

    def train(net: nn.Sequential, seed: int) -> float:
        courses.append(course(net, epochs, seed))
        return courses[-1][-1]

    space = GrowthSpace(levels, (1, 3), wider=decisions, deeper=decisions)
    shown = seen.inputs[:256]
    policies = (GrowthPolicy(len(levels), 2, seed=seed), RandomPolicy(2))
    tried, by_chance = (
        grow_search(
            parent, train, policy, space,
            episodes=episodes, children=children, examples=shown, seed=seed,
        ) for policy in policies
    )  # fmt: skip
    inherited = np.array(courses[: len(tried)])
    scratch = np.array([course(fresh(child.net, seed), epochs, seed) for child in tried])
    random_units = np.array(
        [course(grown_at_random(parent, child.moves, seed), epochs, seed) for child in tried]
    )
    goal = 0.9 * np.maximum(inherited[:, -1], scratch[:, -1])
    best = max(tried, key=lambda child: child.accuracy)
    long = fresh(best.net, seed)
    course(long, parent_epochs + epochs, seed)

    def curve(found: np.ndarray) -> Curve:
        return Curve(range(epochs + 1), found.mean(0), "epochs of a child", "accuracy, held out")

    return {
        "inherited_epochs": needed(inherited, goal),
        "scratch_epochs": needed(scratch, goal),
        "random_units_epochs": needed(random_units, goal),
        "inherited": float(inherited[:, -1].mean()),
        "scratch": float(scratch[:, -1].mean()),
        "random_units": float(random_units[:, -1].mean()),
        "learned_policy": late(tried),
        "random_policy": late(by_chance),
        "best": scored(best.net, test),
        "best_scratch": scored(long, test),
        "deviation": max(deviation(parent, shown[:8], derive(seed, i)) for i in range(chains)),
        "function kept": curve(inherited),
        "new units at random": curve(random_units),
        "from scratch": curve(scratch),
    }


def convolutional(width: int, *, seed: int) -> nn.Sequential:
    with torch.random.fork_rng([]):
        torch.default_generator.manual_seed(seed)
        return nn.Sequential(
            nn.Unflatten(1, (1, 8, 8)),
            nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(),
            nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4 * width, 2 * width), nn.ReLU(),
            nn.Linear(2 * width, 10),
        )  # fmt: skip


def loss(net: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    return nn.functional.cross_entropy(net(batch[0]), batch[1])


@torch.no_grad()
def scored(net: nn.Module, task: Task) -> float:
    return task.accuracy(net.eval()(task.inputs))


def needed(found: np.ndarray, goal: np.ndarray) -> float:
    """Mean number of epochs to the goal; one more than there were where it is not reached."""
    reached = np.column_stack([found >= goal[:, None], np.ones(len(found), dtype=bool)])
    return float(reached.argmax(1).mean())


def late(tried: list[Grown]) -> float:
    """Accuracy of the children of the second half of the episodes."""
    last = tried[-1].episode
    return float(np.mean([child.accuracy for child in tried if child.episode >= last / 2]))


def fresh(net: Any, seed: int, only: tuple[int, ...] | None = None) -> nn.Sequential:
    """A copy with some layers (all, if not told) as they are made."""
    net = copy.deepcopy(net)
    with torch.random.fork_rng([]):
        torch.default_generator.manual_seed(derive(seed, "fresh"))
        for index, part in enumerate(net):
            if hasattr(part, "reset_parameters") and (only is None or index in only):
                part.reset_parameters()
    return net


@torch.no_grad()
def grown_at_random(net: Any, moves: Moves, seed: int) -> nn.Sequential:
    """The same moves; what is new is drawn as in a new network."""
    for number, (name, layer, size) in enumerate(moves):
        key = derive(seed, number)
        if name == "deeper":
            net = deeper(net, layer, kernel=size)
            new = layer + 2 + isinstance(net[layer + 1], nn.BatchNorm2d)
            net = fresh(net, key, only=(new, new + 1))
            continue
        old, net = net, wider(net, layer, size, seed=key)
        reader = next(i for i in (*widenable(net), len(net) - 1) if i > layer)
        drawn: Any = fresh(net, key, only=(layer, reader))
        n = len(old[layer].weight)
        for part in ("weight", "bias"):
            getattr(net[layer], part)[n:] = getattr(drawn[layer], part)[n:]
        kept = old[reader].weight
        net[reader].weight[:] = drawn[reader].weight
        net[reader].weight[:, : kept.shape[1]] = kept
    return copy.deepcopy(net)


@torch.no_grad()
def deviation(net: Any, x: torch.Tensor, seed: int) -> float:
    """Largest change of an output after six random moves, in double precision."""
    rng, x = spawn(seed, "moves"), x.double()
    net = copy.deepcopy(net).double().eval()
    before = net(x)
    for number in range(6):
        layer = int(rng.choice(widenable(net)))
        if rng.random() < 0.5:
            width = len(net[layer].weight) + int(rng.integers(1, 5))
            net = wider(net, layer, width, seed=derive(seed, number))
        else:
            net = deeper(net, layer, examples=x)
    return float((net(x) - before).abs().max())

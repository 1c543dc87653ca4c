"""What has to go right for an induction head: parts of it are clamped during training."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from bregma.claims import Curve, Expect, Paper, claim
from bregma.datasets import Task, induction
from bregma.mechanism import InteractingParts, Moment, TrainingClamp, clamped
from bregma.nn import AttentionOnlyTransformer
from bregma.run import derive, spawn_torch

HEADS, CLASSES, LABELS, TOKENS = (
    8,
    50,
    5,
    5,
)  # of a sequence: exemplar, label, exemplar, label, query
COPYING = 0.6931  # loss of copying either label of the sequence: log 2
HEAD = (torch.arange(HEADS) == 0).view(HEADS, 1, 1)  # the one head of layer 2 that is active
ALONE = TrainingClamp("layers.1.head", 0.0, mask=~HEAD)
PREVIOUS = torch.eye(TOKENS).roll(1, 0)
PREVIOUS[0] = torch.eye(TOKENS)[0]


def own_label(tokens: Tensor, right: bool) -> Tensor:
    """Attention of the query to the label of the exemplar that is (or is not) its own."""
    second = (tokens[:, 2] == tokens[:, 4]) == right
    return torch.eye(TOKENS)[1 + 2 * second.int()][:, None, None]


def attends(value: Callable[[Tensor, Moment], Tensor] | Tensor) -> TrainingClamp:
    """Hold what the active head attends to from the query."""
    last = HEAD & (torch.arange(TOKENS) == TOKENS - 1)[:, None]
    return TrainingClamp("layers.1.pattern", value, last)


def copied(here: Tensor, moment: Moment) -> Tensor:
    """Scores of the labels in the sequence: how much the head wants to attend to them."""
    wanted = moment.now["layers.1.score"][:, 0, -1, [1, 3]]
    labels = moment.args[0][:, [1, 3]] - CLASSES
    return torch.full_like(here, -1e4).scatter(1, labels, wanted)


PREVIOUS_TOKEN = TrainingClamp("layers.0.pattern", PREVIOUS)
COPY = TrainingClamp("read", copied, reads=("layers.1.score",))
NOISE = torch.randn(HEADS, TOKENS, TOKENS, generator=spawn_torch(0, "noise")).softmax(-1)
CONDITIONS: dict[str, tuple[float, list[TrainingClamp]]] = {  # learning rate and clamps
    "free": (1, [ALONE]),
    "match": (1, [ALONE, attends(lambda _, m: own_label(m.args[0], right=True))]),
    "previous_and_copy": (1, [ALONE, PREVIOUS_TOKEN, COPY]),
    "fixed": (1, [ALONE, attends(torch.eye(TOKENS)[1])]),
    "noise": (1, [ALONE, attends(NOISE)]),
    # Of two labels the wrong one gives the right one away, where other heads see both.
    "wrong_match": (1, [ALONE, attends(lambda _, m: own_label(m.args[0], right=False))]),
    "fast": (3, [ALONE]),
    "all_heads": (1, []),
}


def train(
    net: nn.Module, task: Task, test: Task, lr: float, clamps: list[TrainingClamp], batch: int
) -> list[float]:
    """Test loss every 10 steps, until it is far below that of copying."""
    adam = torch.optim.Adam(net.parameters(), lr=lr)
    losses = []
    with clamped(net, *clamps):
        for step, rows in enumerate(torch.arange(len(task)).split(batch)):
            if step % 10 == 0:
                with torch.no_grad():
                    loss = nn.functional.cross_entropy(net(test.inputs), test.targets)
                losses.append(loss.item())
                if losses[-1] < COPYING / 4:
                    break
            adam.zero_grad()
            nn.functional.cross_entropy(net(task.inputs[rows]), task.targets[rows]).backward()
            adam.step()
    return losses


def reached(losses: list[float], level: float, steps: int) -> float:
    """Steps until the loss is below a level."""
    return next((10.0 * i for i, loss in enumerate(losses) if loss < level), float(steps))


def without(net: nn.Module, test: Task, head: int) -> float:
    """Accuracy with one head of layer 2 silenced."""
    silent = TrainingClamp("layers.1.head", 0.0, (torch.arange(HEADS) == head).view(HEADS, 1, 1))
    with torch.no_grad(), clamped(net, silent):
        return test.accuracy(net(test.inputs))


def steps_of_law(seed: int, held: tuple[int, ...], most: int = 1500) -> int:
    """Steps until a tenth of the target's scale is left."""
    law = InteractingParts(20, seed=seed)
    scale = law.wanted.square().mean(1).prod().item() / 2
    descent = torch.optim.SGD(law.parameters(), lr=1.0)
    with clamped(law, *[TrainingClamp(f"parts.{k}", law.wanted[k]) for k in held]):
        for step in range(most):
            descent.zero_grad()
            loss = law()
            if loss.item() < scale / 10:
                return step
            loss.backward()
            descent.step()
    return most


@claim(
    paper=Paper(
        title="What needs to go right for an induction head? A mechanistic study of in-context "
        "learning circuits and their formation",
        authors="Aaditya K. Singh, Ted Moskovitz, Felix Hill, Stephanie C. Y. Chan, Andrew M. Saxe",
        year=2024,
        arxiv="2404.07129",
    ),
    sentence="The sudden drop of the loss when an induction head forms comes from parts that are "
    "of use only together: with some of them clamped throughout training, the plateau is gone.",
    systems="two-layer attention-only transformer on match-and-copy; products of three vectors",
    controls={
        "steps_free": "the same network, seed and batches without a clamp on its active head",
        "steps_fixed": "the head clamped to attend to the first label, whatever the query is",
        "steps_noise": "the head clamped to attend at random",
        "plateau_fast": "no clamp, three times the learning rate; in steps of the usual rate",
    },
    expects=[
        Expect(
            measure="steps_match",
            below="steps_free",
            times=0.5,
            says="With the match clamped, learning takes less than half as many steps",
            paper="the plateau vanishes; Omniglot, learning rate 1e-5",
        ),
        Expect(
            measure="steps_previous_and_copy",
            below="steps_free",
            times=0.5,
            says="So it does with previous token and copy clamped, where only the match is learned",
        ),
        Expect(
            measure="plateau_match",
            below="plateau_free",
            times=0.5,
            says="The plateau at copying any label is less than half as long with it",
        ),
        Expect(
            measure="plateau_fast",
            above="plateau_match",
            times=2,
            says="A higher learning rate alone does not remove the plateau: in units of it",
        ),
        Expect(
            measure="steps_fixed",
            above="steps_free",
            says="Held at a place that has nothing to do with the match it does not speed up",
        ),
        Expect(measure="steps_noise", above="steps_free", says="Nor does a random one"),
        Expect(
            measure="accuracy_without_top_head",
            above=0.5,
            by=0.1,
            says="Of eight trained heads the best one can go: others do the same",
            paper="heads are additive and redundant",
        ),
        Expect(
            measure="law_in_order",
            above=0.7,
            says="The toy law: three free parts are slower than two, two than one, in most draws",
        ),
    ],
    smoke={"steps": 40, "batch": 32, "lr": 5e-4, "draws": 1},
    check={"steps": 1000, "batch": 32, "lr": 5e-4, "draws": 10},
    full={"steps": 200_000, "batch": 32, "lr": 1e-5, "draws": 100},
    seeds=(1, 2, 3, 4, 5),
    equations=[
        r"h \leftarrow m \odot v + (1 - m) \odot h \quad \text{at every step of training}",
        r"L(a, b, c) = \tfrac{1}{2} \langle (a^* b^* c^* - a b c)^2 \rangle",
    ],
    use="""
import torch
from bregma.mechanism import TrainingClamp, clamped

net = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))  # yours
adam = torch.optim.Adam(net.parameters())
silent = TrainingClamp("1", 0.0, mask=torch.arange(8) < 4)  # half of the units, as by light
with clamped(net, silent):
    for x in torch.rand(20, 16, 3):
        adam.zero_grad()
        (net(x)[:, 0] - x.sum(1)).square().mean().backward()
        adam.step()
""",
)
def singh_2024_clamp(
    *, seed: int, steps: int, batch: int, lr: float, draws: int
) -> dict[str, float | Curve]:
    task = induction(steps * batch, n_classes=CLASSES, n_labels=LABELS, seed=derive(seed, "train"))
    test = induction(500, n_classes=CLASSES, n_labels=LABELS, seed=derive(seed, "test"))
    out: dict[str, float | Curve] = {}
    for name, (faster, clamps) in CONDITIONS.items():
        net = AttentionOnlyTransformer(CLASSES + LABELS, LABELS, heads=HEADS, seed=seed)
        losses = train(net, task, test, faster * lr, clamps, batch)
        out[f"steps_{name}"] = done = reached(losses, COPYING / 2, steps)
        out[f"plateau_{name}"] = faster * (done - reached(losses, 1.2 * COPYING, steps))
        out[name] = Curve([10 * i for i in range(len(losses))], losses, "step", "loss on test")
    out["accuracy_all_heads"] = test.accuracy(net(test.inputs))
    out["accuracy_without_top_head"] = min(without(net, test, head) for head in range(HEADS))
    law = [[steps_of_law(derive(seed, i), h) for h in ((), (2,), (1, 2))] for i in range(draws)]
    for k, name in enumerate(("law_free", "law_one_held", "law_two_held")):
        out[name] = float(torch.tensor(law).float().median(0).values[k])
    out["law_in_order"] = sum(a > b > c for a, b, c in law) / draws
    return out

"""A network of neurons with private temporal models, read from their synchronisation, thinks on."""

from __future__ import annotations

import torch
from sklearn.metrics import roc_auc_score
from torch import nn

from bregma.claims import Curve, Expect, Measures, Paper, claim
from bregma.datasets import Task, parity
from bregma.nn import (
    GatedCell,
    HistoryCell,
    InternalTicks,
    NeuronLevelModel,
    Snapshot,
    Synchronization,
    TokenEmbedding,
    certainty,
    two_tick_loss,
)
from bregma.run import derive, fit, minibatches, spawn_torch


@claim(
    paper=Paper(
        title="Continuous thought machines",
        authors="Luke Darlow, Ciaran Regan, Sebastian Risi, Jeffrey Seely, Llion Jones",
        year=2025,
        arxiv="2505.05522",
    ),
    sentence="Neurons that each process their own history, read from their synchronisation over "
    "internal ticks, learn cumulative parity further than an LSTM of as many parameters and ticks.",
    systems="networks of 24,800 parameters that attend to ten bits over ten internal ticks; "
    "parities of 128 patterns that were never shown",
    controls={
        "lstm_places": "an LSTM of as many parameters, ticks and steps of training",
        "snapshot_places": "read from the activity of now instead of synchronisation",
        "shared_places": "all neurons share one model, eight times as wide as a private one",
        "memoryless_places": "private models of as many parameters that see only the present input",
        "shuffled_places": "the trained network's synchronisation, after the ticks of every neuron "
        "were shuffled",
    },
    expects=[
        Expect(
            measure="places",
            above="lstm_places",
            says="answers more places than the LSTM before its first mistake",
            paper="64 bits at 75 ticks: near 100 % in the best runs, where the LSTM fails; after "
            "200,000 steps, here 560",
        ),
        Expect(
            measure="certainty_auc",
            above=0.65,
            says="where it is certain it is right: area under the curve above 0.65",
        ),
        Expect(
            measure="last_tick_places",
            above="shuffled_places",
            says="what is read from synchronisation depends on the order of the ticks",
        ),
        Expect(
            measure="places",
            above="memoryless_places",
            says="a history makes private models better",
        ),
        Expect(
            measure="places",
            above="shared_places",
            says="private models are better than one that is shared",
            paper="private models are one of its two core ideas",
        ),
        Expect(
            measure="places",
            above="snapshot_places",
            says="synchronisation is a better readout than activity",
            paper="synchronisation is the other one",
        ),
    ],
    smoke={"n_bits": 6, "n_train": 48, "n_test": 16, "ticks": 4, "n_epochs": 8},
    check={"n_bits": 10, "n_train": 896, "n_test": 128, "ticks": 10, "n_epochs": 40},
    full={
        "n_bits": 64,
        "n_train": 1_000_000,
        "n_test": 5_000,
        "ticks": 75,
        "n_epochs": 13,
        "size": 1024,
        "memory": 25,
        "hidden": 16,
        "width": 512,
        "lstm": 706,
        "lr": 1e-4,
    },
    equations=[
        r"z^{t+1}_d = g_{\theta_d}(a^{t-M+1}_d, \ldots, a^t_d), \quad a^t = f([o^t, z^t])",
        r"S^t_{ij} = \sum_{\tau \le t} e^{-r_{ij}(t-\tau)} z^\tau_i z^\tau_j \Big/ "
        r"\sqrt{\sum_{\tau \le t} e^{-r_{ij}(t-\tau)}}, \quad y^t = W S^t",
        r"L = \tfrac12 (L^{t_1} + L^{t_2}), \quad t_1 = \arg\min_t L^t, \; t_2 = \arg\max_t C^t",
    ],
    use="""\
import torch
from bregma.nn import HistoryCell, InternalTicks, NeuronLevelModel, Synchronization
from bregma.nn import TokenEmbedding, answer_when_certain, two_tick_loss

sequences, labels = torch.randint(5, (16, 12)), torch.randint(3, (16,))
cell = HistoryCell(NeuronLevelModel(64, 8, 4), size=64, memory=8, n_observed=32)
net = InternalTicks(
    TokenEmbedding(5, 12, 32), cell, Synchronization(64, 32), Synchronization(64, 32),
    n_features=32, width=32, heads=4, ticks=10, out=(3,),
)
optimizer = torch.optim.Adam(net.parameters())
for _ in range(5):
    optimizer.zero_grad()
    two_tick_loss(net(sequences), labels).backward()
    optimizer.step()
answers, ticks = answer_when_certain(net(sequences))  # each one after as many ticks as it needs
activity = net.think(sequences).units  # (sequence, tick, neuron)
""",
)
def darlow_2025_ticks(
    *,
    seed: int,
    n_bits: int,
    n_train: int,
    n_test: int,
    ticks: int,
    n_epochs: int,
    size: int = 64,
    memory: int = 8,
    hidden: int = 4,
    width: int = 32,
    lstm: int = 52,
    lr: float = 3e-3,
) -> Measures:
    """Train five networks on parity and count the places before the first mistake."""
    train, test = parity(n_bits=n_bits, n_train=n_train, n_test=n_test, seed=seed)

    def trained(cell: nn.Module, n_units: int, *, synchronised: bool = True) -> InternalTicks:
        look, say = (
            Synchronization(n_units, width, seed=derive(seed, what))
            if synchronised
            else Snapshot(n_units)
            for what in ("look", "say")
        )
        places = TokenEmbedding(2, n_bits, width, seed=seed)
        shape = {"n_features": width, "width": width, "heads": 4, "ticks": ticks}
        net = InternalTicks(places, cell, look, say, **shape, out=(n_bits, 2), seed=seed)
        learn(net, train, lr=lr, n_epochs=n_epochs, seed=seed)
        return net

    def history(neurons: nn.Module, memory: int = memory) -> HistoryCell:
        return HistoryCell(neurons, size=size, memory=memory, n_observed=width, seed=seed)

    def private() -> NeuronLevelModel:
        return NeuronLevelModel(size, memory, hidden, seed=seed)

    budget = sum(p.numel() for p in private().parameters())
    present = NeuronLevelModel(size, 1, budget // (6 * size), seed=seed)
    shared = nn.Sequential(  # every neuron of every example through the model of one
        nn.Flatten(0, 1),
        nn.Unflatten(1, (1, memory)),
        NeuronLevelModel(1, memory, 8 * hidden, seed=seed),
        nn.Unflatten(0, (-1, size)),
        nn.Flatten(1),
    )
    net = trained(history(private()), size)
    others = {
        "lstm": trained(GatedCell(lstm, n_observed=width, seed=seed), lstm, synchronised=False),
        "snapshot": trained(history(private()), size, synchronised=False),
        "shared": trained(history(shared), size),
        "memoryless": trained(history(present, memory=1), size),
    }
    with torch.no_grad():
        answers, units, _ = net.think(test.inputs)
        chosen = most_certain(answers)
        right = (chosen.argmax(-1) == test.targets).flatten()
        sure = certainty(chosen.flatten(0, 1)[:, None])[:, 0]
        per_tick = [places(answer, test) for answer in answers.unbind(1)]
        found = {
            f"{n}_places": places(most_certain(o(test.inputs)), test) for n, o in others.items()
        }
        found["shuffled_places"] = places(out_of_order(net, units, seed=seed), test)
    return found | {
        "places": places(chosen, test),
        "last_tick_places": per_tick[-1],
        "certainty_auc": float(roc_auc_score(right, sure)),
        "parameters": float(sum(p.numel() for p in net.parameters())),
        "lstm_parameters": float(sum(p.numel() for p in others["lstm"].parameters())),
        "places over ticks": Curve(
            range(1, ticks + 1), per_tick, "internal tick", "places before the first mistake"
        ),
    }


def learn(net: nn.Module, task: Task, *, lr: float, n_epochs: int, seed: int) -> None:
    """Adam with a learning rate that falls as a cosine."""
    optimizer = torch.optim.Adam(net.parameters(), lr=lr)
    batches = minibatches(task.inputs, task.targets, size=64)
    n_steps = n_epochs * -(-len(task) // 64)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_steps)
    optimizer.register_step_post_hook(lambda *_: schedule.step())

    def loss(net: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        return two_tick_loss(net(batch[0]), batch[1])

    fit(net, loss, batches, optimizer=optimizer, epochs=n_epochs, seed=seed)


def most_certain(answers: torch.Tensor) -> torch.Tensor:
    """The answer of every example at its most certain tick."""
    return answers[torch.arange(len(answers)), certainty(answers).argmax(1)]


def places(answer: torch.Tensor, task: Task) -> float:
    """How many places come before the first mistake, on average."""
    right = answer.argmax(-1) == task.targets
    return float(right.long().cumprod(1).sum(1).float().mean())


def out_of_order(net: InternalTicks, units: torch.Tensor, *, seed: int) -> torch.Tensor:
    """The last answer, had every neuron been active in another order of ticks."""
    noise = torch.rand(units.shape[1:], generator=spawn_torch(seed, "shuffle"))
    shuffled = units.gather(1, noise.argsort(0).expand_as(units))
    start, _ = net.cell.begin(len(units))  # type: ignore[operator]
    synchrony, sums = net.answering(start)
    for z in shuffled.unbind(1):
        synchrony, sums = net.answering(z, sums)
    return net.answer(synchrony).unflatten(-1, net.out)

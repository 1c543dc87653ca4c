"""Hebbian lateral neurons protect what was learned: tasks in a row without forgetting."""

from __future__ import annotations

import torch
from torch import nn

from bregma.claims import Curve, Expect, Paper, claim
from bregma.datasets import Task, permuted_digits
from bregma.learning import Protected, observing, protect
from bregma.run import derive, fit, minibatches, spawn_torch


def network(hidden: int, seed: int) -> nn.Module:
    net = nn.Sequential(nn.Linear(256, hidden), nn.ReLU(), nn.Linear(hidden, 10))
    rng = spawn_torch(seed, "network")
    with torch.no_grad():
        for p in net.parameters():
            reach = net.get_parameter("0.weight").shape[1] ** -0.5 if len(p) == hidden else 0.1
            p.uniform_(-reach, reach, generator=rng)
    return protect(net)


def principal(net: nn.Module, layers: list[Protected], x: torch.Tensor) -> None:
    """The upper reference: principal directions of what is left, from all activity at once."""
    with torch.no_grad():
        for layer in layers:
            space = layer.subspace
            source = sources(net, layer, x)
            left = space.project(source)
            new = len(space.rows) - int(space.n_old)
            space.rows[int(space.n_old) :] = torch.linalg.svd(left, full_matrices=False).Vh[:new]


def sources(net: nn.Module, layer: Protected, x: torch.Tensor) -> torch.Tensor:
    """Presynaptic activity of a layer, with the constant input of its bias."""
    found: list[torch.Tensor] = []
    hook = layer.register_forward_pre_hook(lambda _, args: found.append(args[0].detach()))
    net(x)
    hook.remove()
    return torch.cat([found[0], torch.ones(len(x), 1)], 1)


def cross_entropy(net: nn.Module, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
    return nn.functional.cross_entropy(net(batch[0]), batch[1])


def learn_in_a_row(
    rule: str,
    tasks: list[tuple[Task, Task]],
    hidden: int,
    rows: tuple[int, int],
    epochs: int,
    seed: int,
) -> tuple[torch.Tensor, dict[str, float]]:
    """Accuracies (after task, of task), and how the subspace of the first task came out."""
    net, seen, about = network(hidden, seed), [], {}
    layers = [part for part in net.modules() if isinstance(part, Protected)]
    first = tasks[0][0].inputs
    for number, (train, _) in enumerate(tasks):
        if rule != "plain":
            for layer, n in zip(layers, rows, strict=True):
                layer.subspace.grow(n, seed=derive(seed, number))
        sgd = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
        batches = minibatches(train.inputs, train.targets, size=64)
        fit(net, cross_entropy, batches, optimizer=sgd, epochs=epochs, seed=derive(seed, number))
        with torch.no_grad():
            if rule == "hebbian":
                with observing(net):
                    for batch in train.inputs.repeat(20, 1).split(64):
                        net(batch)
            if rule == "principal":
                principal(net, layers, train.inputs)
            seen.append([test.accuracy(net(test.inputs)) for _, test in tasks])
            if number == 0:
                old = layers[0].layer(first)
                source = sources(net, layers[0], first)
                leading = torch.linalg.svd(source, full_matrices=False).Vh[: rows[0] // 2]
                inside = leading @ layers[0].subspace.rows.T
                about["found"] = float(inside.square().sum() / len(leading))
    with torch.no_grad():
        about["moved"] = float((layers[0].layer(first) - old).norm() / old.norm())
    return torch.tensor(seen), about


@claim(
    paper=Paper(
        title="Hebbian Learning based Orthogonal Projection for Continual Learning of Spiking "
        "Neural Networks",
        authors="Mingqing Xiao, Qingyan Meng, Zongpeng Zhang, Di He, Zhouchen Lin",
        year=2024,
        arxiv="2402.11984",
    ),
    sentence="Lateral neurons with a Hebbian rule find the subspace of old activity, and weights "
    "that change only outside of it learn new tasks without forgetting.",
    systems="rate network of one hidden layer, one readout for all tasks; permuted digits in a row",
    controls={
        "forgetting_plain": "the same training without projection",
        "forgetting_random": "random orthonormal rows, as many of them",
        "forgetting_principal": "principal directions from all activity at once: a reference above",
        "moved_plain": "change of answers of the first layer, without projection",
        "first_learned_plain": "accuracy on each task when it was new, without projection",
    },
    expects=[
        Expect(
            measure="forgetting_hebbian",
            below="forgetting_random",
            by=0.3,
            says="Hebbian rows forget less than random ones of the same number",
            paper="permuted MNIST: nearly no backward loss, against tens of per cent",
        ),
        Expect(measure="forgetting_hebbian", below=0.03, says="It forgets less than 3 per cent"),
        Expect(measure="forgetting_plain", above=0.15, says="Plain training forgets"),
        Expect(measure="accuracy_hebbian", above=0.90, says="All tasks are known at the end"),
        Expect(
            measure="accuracy_hebbian",
            above="accuracy_principal",
            by=0,
            times=0.97,
            says="It comes within 3 per cent of principal directions of all activity",
        ),
        Expect(
            measure="first_learned_hebbian",
            above="first_learned_plain",
            times=0.97,
            says="New tasks are learned as well as without projection",
        ),
        Expect(
            measure="found_hebbian",
            above=0.9,
            says="The rows span the principal directions (of the leading half as many)",
        ),
        Expect(
            measure="moved_hebbian",
            below="moved_plain",
            times=0.25,
            says="Answers of the first layer to the first task move less than a quarter as far",
        ),
    ],
    smoke={"n_tasks": 2, "hidden": 40, "rows": (40, 15), "epochs": 2},
    check={"n_tasks": 5, "hidden": 100, "rows": (40, 15), "epochs": 10},
    full={"n_tasks": 6, "hidden": 800, "rows": (40, 80), "epochs": 50},
    seeds=(1, 2, 3, 4, 5),
    equations=[
        r"y = H x, \quad \Delta H = \eta\, y\, (x - H^\top y)^\top",
        r"\Delta W = -\lambda\, \delta\, (x - H_{old}^\top H_{old} x)^\top "
        r"\;\Rightarrow\; \Delta W x_{old} = 0",
    ],
    use="""
import torch
from bregma.learning import Protected, observing, protect

net = protect(torch.nn.Sequential(torch.nn.Linear(20, 30), torch.nn.ReLU(), torch.nn.Linear(30, 2)))
for session in range(2):  # yours: days of a decoder
    x, y = torch.rand(64, 20), torch.randint(2, (64,))
    for layer in net:
        if isinstance(layer, Protected):
            layer.subspace.grow(5, seed=session)
    sgd = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(20):
        sgd.zero_grad()
        torch.nn.functional.cross_entropy(net(x), y).backward()
        sgd.step()
    with torch.no_grad(), observing(net):
        net(x)
""",
)
def xiao_2024_projection(
    *, seed: int, n_tasks: int, hidden: int, rows: tuple[int, int], epochs: int
) -> dict[str, float | Curve]:
    tasks = permuted_digits(n_tasks, seed=seed)
    out: dict[str, float | Curve] = {}
    for rule in ("plain", "random", "hebbian", "principal"):
        seen, about = learn_in_a_row(rule, tasks, hidden, rows, epochs, seed)
        fresh = seen.diagonal()
        out[f"accuracy_{rule}"] = float(seen[-1].mean())
        out[f"first_learned_{rule}"] = float(fresh.mean())
        out[f"forgetting_{rule}"] = float((fresh - seen[-1])[:-1].mean())
        first, number = seen[:, 0].tolist(), range(1, n_tasks + 1)
        out[rule] = Curve(number, first, "tasks learned", "accuracy on the first")
        out |= {f"{what}_{rule}": value for what, value in about.items()}
    return out

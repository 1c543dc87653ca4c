"""Two networks in opposite directions teach each other: no error is transported."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from bregma.claims import Curve, Expect, Paper, claim
from bregma.datasets import digits
from bregma.learning import CounterCurrent, feedback_aligned
from bregma.run import fit, minibatches

Batch = tuple[Tensor, Tensor]
Loss = Callable[..., Tensor]


def own_layers(net: CounterCurrent, batch: Batch) -> Tensor:
    return net.loss(*batch)


def top_only(net: CounterCurrent, batch: Batch) -> Tensor:
    return net.losses(*batch)[-1]


def wrong_labels(net: CounterCurrent, batch: Batch) -> Tensor:
    """The feedback network is told the labels of other examples."""
    x, y = batch
    local = net.losses(x, y.roll(1))[:-1]
    return net.losses(x, y)[-1] + net.weight * torch.stack(local).sum()


def cross_entropy(net: nn.Module, batch: Batch) -> Tensor:
    return nn.functional.cross_entropy(net(batch[0]), batch[1])


def as_one(net: CounterCurrent) -> nn.Sequential:
    """The forward network, with derivatives from end to end."""
    parts = [part for layer in net.ahead for part in (layer, nn.ELU())]
    return nn.Sequential(*parts[:-1])


def alignment(net: CounterCurrent, batch: Batch) -> list[float]:
    """Cosine of the gradient of every layer with that of backpropagation."""
    weights = [layer.get_parameter("weight") for layer in net.ahead]
    local = torch.autograd.grad(own_layers(net, batch), weights)
    true = torch.autograd.grad(cross_entropy(as_one(net), batch), weights)
    pairs = zip(local, true, strict=True)
    return [float(torch.cosine_similarity(a.flatten(), b.flatten(), 0)) for a, b in pairs]


@claim(
    paper=Paper(
        title="Counter-Current Learning: A Biologically Plausible Dual Network Approach for Deep "
        "Learning",
        authors="Chia-Hsiang Kao, Bharath Hariharan",
        year=2024,
        arxiv="2409.19841",
    ),
    sentence="A network and one from the labels back, with local losses and nothing transported "
    "between layers, learn nearly as well as backpropagation.",
    systems="networks of three hidden layers of ELU units on handwritten digits",
    controls={
        "accuracy_backprop": "the same network by backpropagation: a reference above",
        "accuracy_feedback_alignment": "errors through fixed random weights",
        "accuracy_frozen": "a feedback network that does not learn",
        "accuracy_wrong_labels": "a feedback network that is told wrong labels",
        "accuracy_top_only": "only the last layer learns",
    },
    expects=[
        Expect(
            measure="accuracy_counter_current",
            above="accuracy_top_only",
            by=0.03,
            says="Hidden layers learn something of use: well above the last layer alone",
        ),
        Expect(
            measure="accuracy_counter_current",
            above="accuracy_backprop",
            times=0.985,
            says="It comes within 1.5 per cent of backpropagation",
            paper="comparable on MNIST and Fashion-MNIST",
        ),
        Expect(
            measure="accuracy_counter_current",
            above="accuracy_wrong_labels",
            by=0.03,
            says="It is what the labels send back that teaches",
        ),
        Expect(
            measure="accuracy_counter_current",
            above="accuracy_frozen",
            says="A feedback network that learns too is better than one that does not",
            paper="larger on harder images",
        ),
        Expect(
            measure="accuracy_counter_current",
            above="accuracy_feedback_alignment",
            times=0.985,
            says="It comes within 1.5 per cent of feedback alignment",
            paper="comparable or better",
        ),
        Expect(
            measure="alignment_hidden",
            above=0.0,
            says="Local gradients of hidden layers point with those of backpropagation",
        ),
    ],
    # Learning rates: for each rule the best of two or three from 0.05 to 0.3 on the pilot seed.
    smoke={"hidden": (32, 32), "epochs": 4},
    check={"hidden": (128, 128, 128), "epochs": 60},
    full={"hidden": (256, 256, 256, 256, 256), "epochs": 300},
    seeds=(1, 2, 3, 4, 5, 6),
    equations=[
        r"a_l = f(W_l\, \mathrm{sg}(a_{l-1}) + b_l)",
        r"s_{l-1} = f(V_l\, \mathrm{sg}(s_l) + c_l)",
        r"L_l = \left\langle \left(\cos(a_l, s_l^{(c)}) - [y = c]\right)^2 \right\rangle",
    ],
    use="""
import torch
from bregma.learning import CounterCurrent

x, y = torch.rand(64, 20), torch.randint(3, (64,))  # yours
net = CounterCurrent([20, 30, 30, 3], seed=0)
sgd = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
for _ in range(20):
    sgd.zero_grad()
    net.loss(x, y).backward()
    sgd.step()
print(net(x).argmax(1))
""",
)
def kao_2024_countercurrent(
    *, seed: int, hidden: tuple[int, ...], epochs: int
) -> dict[str, float | Curve]:
    train, test = digits(seed=seed)
    sizes = (64, *hidden, 10)

    def accuracy(
        net: nn.Module, loss: Callable[..., Tensor], learns: nn.Module, lr: float
    ) -> float:
        sgd = torch.optim.SGD(learns.parameters(), lr=lr, momentum=0.9)
        batches = minibatches(train.inputs, train.targets, size=64)
        fit(net, loss, batches, optimizer=sgd, epochs=epochs, seed=seed)
        with torch.no_grad():
            return test.accuracy(net(test.inputs))

    def dual() -> CounterCurrent:
        return CounterCurrent(sizes, seed=seed)

    both, frozen, wrong, top = dual(), dual(), dual(), dual()
    plain, aligned = as_one(dual()), feedback_aligned(as_one(dual()), seed=seed)
    whole = (train.inputs, train.targets)
    before = alignment(both, whole)
    out: dict[str, float | Curve] = {
        "accuracy_counter_current": accuracy(both, own_layers, both, 0.1),
        "accuracy_frozen": accuracy(frozen, own_layers, frozen.ahead, 0.3),
        "accuracy_wrong_labels": accuracy(wrong, wrong_labels, wrong, 0.1),
        "accuracy_top_only": accuracy(top, top_only, top, 0.2),
        "accuracy_backprop": accuracy(plain, cross_entropy, plain, 0.05),
        "accuracy_feedback_alignment": accuracy(aligned, cross_entropy, aligned, 0.2),
    }
    after, layers = alignment(both, whole), range(1, len(before) + 1)
    out["alignment_hidden"] = sum(after[:-1]) / len(hidden)
    axes = ("layer", "cosine with the gradient of backpropagation")
    return out | {"untrained": Curve(layers, before, *axes), "trained": Curve(layers, after, *axes)}

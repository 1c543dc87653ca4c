"""What a network says but not what it detects: singular components of its output matrix, softer."""

from __future__ import annotations

from copy import copy

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from bregma import TorchSystem
from bregma.claims import Curve, Expect, Paper, claim
from bregma.datasets import Registers, registers
from bregma.mechanism import head_components, probe
from bregma.nn import CausalTransformer
from bregma.run import fit, minibatches, spawn
from bregma.system import Ablate

WIDTH, NEURONS = 32, "blocks.1.hidden"


def trained(train: Registers, epochs: int, *, seed: int) -> CausalTransformer:
    net = CausalTransformer(
        train.n_classes, train.inputs.shape[1], WIDTH, heads=2, layers=2, seed=seed
    )
    fit(
        net,
        lambda net, batch: nn.functional.cross_entropy(
            net(batch[0]).flatten(0, 1), batch[1].flatten()
        ),
        minibatches(train.inputs, train.targets, size=64),
        optimizer=torch.optim.Adam(net.parameters(), lr=3e-3),
        epochs=epochs,
        seed=seed,
    )
    return net.eval()


@torch.no_grad()
def judged(logits: Tensor, test: Registers) -> tuple[float, float]:
    """Probability of flagged words for content words of rude sentences; perplexity of others."""
    log_p = logits.log_softmax(-1)
    said = log_p[test.rude][:, test.content].exp()[..., test.flagged].sum(-1).mean()
    told = log_p[~test.rude].gather(-1, test.targets[~test.rude][..., None])
    return said.item(), (-told.mean()).exp().item()


def biased(logits: Tensor, test: Registers, wanted: float) -> Tensor:
    """Flagged logits less a constant, the one after which as many flagged words are said."""
    low, high = 0.0, 30.0
    for _ in range(40):
        middle = (low + high) / 2
        said, _ = judged(logits - middle * test.flagged, test)
        low, high = (middle, high) if said > wanted else (low, middle)
    return logits - high * test.flagged


def activity(net: nn.Module, inputs: Tensor, site: str) -> np.ndarray:
    """(sentence, time, unit)."""
    return TorchSystem(net, site).record(inputs).values.reshape(*inputs.shape, -1)


def auroc(neurons: np.ndarray, unwanted: np.ndarray) -> np.ndarray:
    """How well each neuron alone tells what follows."""
    each = [roc_auc_score(unwanted, column) for column in neurons.T]
    return np.maximum(each, 1 - np.asarray(each))


@claim(
    paper=Paper(
        title="Redefining Experts: Interpretable Decomposition of Language Models for Toxicity "
        "Mitigation",
        authors="Zuhair Hasan Shaik, Abdullah Mazhar, Aseem Srivastava, Md Shad Akhtar",
        year=2025,
        arxiv="2509.16660",
    ),
    sentence="Scaling down the few singular components of the output matrix that go with unwanted "
    "words makes a language model say fewer of them, at little cost to other text.",
    systems="a transformer of two layers on sentences in two registers, one with flagged words",
    controls={
        "random_reduction": "as many singular components, drawn at random (mean of 20 draws)",
        "shuffled_reduction": "components chosen on exchanged marks (mean of 20 exchanges)",
        "neuron_reduction": "as many neurons silenced, those that tell flagged words best",
        "many_neurons_perplexity": "an eighth of the neurons of the last layer silenced; relative",
        "bias_perplexity": "a constant off the flagged words, with the same effect on them; "
        "relative perplexity of other sentences",
    },
    expects=[
        Expect(
            measure="reduction",
            above="random_reduction",
            by=0.15,
            says="It lowers the probability of flagged words in rude sentences by far more than "
            "random components do",
            paper="toxicity of LLaMA-2 goes down by 58 %; real text, 4096 components",
        ),
        Expect(
            measure="perplexity",
            below=1.05,
            says="Other sentences become less than 5 % more perplexing",
            paper="by 3.62, from 6.2: a larger cost",
        ),
        Expect(measure="reduction", above=0.5, says="It lowers them by half or more"),
        Expect(
            measure="reduction",
            above="shuffled_reduction",
            by=0.15,
            says="Components that are chosen on exchanged marks do not do it",
        ),
        Expect(
            measure="reduction",
            above="neuron_reduction",
            by=0.1,
            says="As many silenced neurons do less",
        ),
        Expect(
            measure="perplexity",
            below="bias_perplexity",
            says="It costs other sentences less than a constant off the flagged words does",
            paper="not compared there",
        ),
        Expect(
            measure="probe_loss",
            below=0.01,
            says="The register is read from the last layer as before",
        ),
    ],
    smoke={"n_train": 512, "epochs": 1, "k": 1, "factor": 0.1},
    check={"n_train": 4096, "epochs": 6, "k": 1, "factor": 0.1},
    full={"n_train": 65536, "epochs": 20, "k": 1, "factor": 0.1},
    seeds=(1, 2, 3, 4, 5),
    equations=[
        r"W = U S V^\top, \qquad \delta_i = \frac{|\langle v_i^\top h \rangle_\text{unwanted} - "
        r"\langle v_i^\top h \rangle_\text{other}|}{\sigma_i}",
        r"W' = W + (\alpha - 1) \sum_{i \in \text{top } k} s_i u_i v_i^\top",
    ],
    use="""
import torch
from bregma.mechanism import head_components

model = torch.nn.Sequential(torch.nn.Embedding(50, 16), torch.nn.Linear(16, 50))  # yours
flagged = torch.arange(50) < 5  # words that one would rather not read
states = model[0](torch.arange(50)).detach()  # what the head gets; of yours: "lm_head.input"
unwanted = flagged[model[1](states).argmax(-1)]  # what the model itself would say first
found = head_components(model[1], states, unwanted)
print(found.separation, found.top(2))
model[1] = found.scaled(found.top(2), 0.1)
""",
)
def shaik_2025_eigenshift(
    *, seed: int, n_train: int, epochs: int, k: int, factor: float
) -> dict[str, float | Curve]:
    train, test = registers(n_train=n_train, n_test=512, seed=seed)
    net = trained(train, epochs, seed=seed)
    head, some = net.unembed, train.inputs[:1024]
    states = activity(net, some, "norm")[:, train.content].reshape(-1, WIDTH)
    with torch.no_grad():
        unwanted = train.flagged[head(torch.from_numpy(states)).argmax(-1)]
    if unwanted.sum() < 2:  # it has not learned to say any: nothing to find, nothing to lower
        unwanted = train.flagged[train.targets[: len(some)][:, train.content].flatten()]
    found = head_components(head, states, unwanted)
    last = torch.from_numpy(activity(net, test.inputs, "norm"))
    before, plain = judged(head(last), test)

    def scaled(components: np.ndarray, factor: float) -> tuple[float, float]:
        """Reduction of flagged words, and how many times the perplexity of other sentences."""
        said, perplexity = judged(found.scaled(components, factor)(last), test)
        return 1 - said / before, perplexity / plain

    rng = spawn(seed, "controls")
    random = [scaled(rng.choice(WIDTH, k, replace=False), factor) for _ in range(20)]
    exchanged = [
        head_components(head, states, unwanted[rng.permutation(len(unwanted))]) for _ in range(20)
    ]
    shuffled = [scaled(one.top(k), factor) for one in exchanged]

    neurons = activity(net, some, NEURONS)[:, train.content].reshape(len(states), -1)
    best = np.argsort(-auroc(neurons, unwanted.numpy()))

    def silenced(n: int) -> tuple[float, float, np.ndarray]:
        units = {"channel": best[:n]}
        system = TorchSystem(net, "norm").perturb(Ablate(NEURONS, units))
        h = system.record(test.inputs).values.reshape(*test.inputs.shape, -1)
        said, perplexity = judged(head(torch.from_numpy(h)), test)
        return 1 - said / before, perplexity / plain, h

    reduction, perplexity = scaled(found.top(k), factor)
    wanted = (1 - reduction) * before
    with torch.no_grad():
        _, biased_perplexity = judged(biased(head(last), test, wanted), test)
    few, many = silenced(k), silenced(len(best) // 8)

    shifted = copy(net)
    shifted._modules = dict(net._modules) | {"unembed": found.scaled(found.top(k), factor)}

    def read(system: TorchSystem) -> float:
        """Accuracy of a probe for the register at the last word."""
        at_last = system.record(test.inputs).select(token=test.inputs.shape[1] - 1)
        probes = probe(at_last, test.rude.numpy(), penalties=[10.0], n_control=1, seed=seed)
        return float(probes.score[0])

    factors = [1.0, 0.75, 0.5, 0.25, 0.1]
    path = [scaled(found.top(k), f) for f in factors]
    straight = [judged(biased(head(last).detach(), test, (1 - r) * before), test) for r, _ in path]
    axes = "reduction of flagged words", "perplexity of other sentences (relative)"
    return {
        "reduction": reduction,
        "perplexity": perplexity,
        "random_reduction": float(np.mean(random, 0)[0]),
        "random_perplexity": float(np.mean(random, 0)[1]),
        "shuffled_reduction": float(np.mean(shuffled, 0)[0]),
        "neuron_reduction": few[0],
        "many_neurons_reduction": many[0],
        "many_neurons_perplexity": many[1],
        "bias_perplexity": biased_perplexity / plain,
        "probe_loss": read(TorchSystem(net, "norm")) - read(TorchSystem(shifted, "norm")),
        "probability": before,
        "separation": float(found.separation.max()),
        "singular components": Curve([r for r, _ in path], [p for _, p in path], *axes),
        "constant": Curve([r for r, _ in path], [p / plain for _, p in straight], *axes),
    }

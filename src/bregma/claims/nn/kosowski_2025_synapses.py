"""Sparse neurons with Hebbian synapses learn a grammar, and the synapses are read."""

from __future__ import annotations

from collections.abc import Callable

import networkx as nx
import torch
from torch import nn

from bregma.claims import Curve, Expect, Measures, Paper, claim
from bregma.datasets import Documents, concept_text
from bregma.nn import CausalTransformer, FastWeightNetwork
from bregma.run import fit, minibatches, spawn_torch


@claim(
    paper=Paper(
        title="The dragon hatchling: the missing link between the transformer and models of the "
        "brain",
        authors="Adrian Kosowski, Przemysław Uznański, Jan Chorowski, Zuzanna Stamirowska, "
        "Michał Bartoszkiewicz",
        year=2025,
        arxiv="2509.26507",
    ),
    sentence="A network of sparse positive neurons whose memory is Hebbian synapses predicts "
    "sequences as well as a Transformer, and single synapses of it stand for concepts.",
    systems="networks of 26,000 parameters on text of a grammar with 8 planted topics and repeated "
    "strings, of which the lowest possible cross-entropy is known",
    controls={
        "transformer_loss": "a causal Transformer of as many parameters, with learned positions, "
        "trained for three times as many steps",
        "ungated_density": "the same network without the gate of y by x",
        "unrotated_repeated": "the same network without rotary positions",
        "untrained_auc": "the best synapses of the network before training",
        "transformer_auc": "the best hidden units of the Transformer's perceptrons",
        "permuted_modularity": "the same weights in random places",
        "untrained_modularity": "the network before training",
    },
    expects=[
        Expect(
            measure="loss",
            below="transformer_loss",
            times=1.05,
            says="its cross-entropy is at most 5 % above that of the Transformer",
            paper="equal to GPT-2 at 10 million to 1 billion parameters on language",
        ),
        Expect(
            measure="repeated",
            above="unrotated_repeated",
            by=0.5,
            says="with positions, and only with them, it goes on with strings that are repeated",
        ),
        Expect(
            measure="auc",
            above="untrained_auc",
            by=0.2,
            says="training makes single synapses that tell a topic, on documents not chosen with",
            paper="single synapses that respond to currencies or country names",
        ),
        Expect(
            measure="auc",
            above="transformer_auc",
            says="single synapses tell a topic better than single hidden units of the Transformer",
        ),
        Expect(
            measure="density",
            below="ungated_density",
            by=0.1,
            says="the gate makes activity sparse, without any penalty",
            paper="about 5 % are active, in networks with 128 times as many neurons as width; "
            "here 8 times",
        ),
        Expect(
            measure="modularity",
            above="permuted_modularity",
            by=0.02,
            says="strong connections form groups, more than the same weights in random places",
            paper="modular networks with heavy-tailed degrees, shown for larger models",
        ),
    ],
    smoke={"n_train": 256, "n_test": 32, "n_epochs": 2, "neurons": 64, "n_permutations": 3},
    check={"n_train": 2400, "n_test": 512, "n_epochs": 4, "neurons": 256, "n_permutations": 20},
    full={
        "n_train": 200_000,
        "n_test": 4096,
        "n_epochs": 10,
        "neurons": 32_768,
        "width": 256,
        "heads": 4,
        "layers": 6,
        "n_permutations": 100,
        "n_segments": 16,
        "transformer_width": 512,
        "transformer_layers": 8,
        "lr": 1e-3,
    },
    equations=[
        r"x = \mathrm{relu}(v E_x), \quad a_t = \sum_{s<t} \langle R_t x_t, R_s x_s \rangle\, v_s",
        r"y = \mathrm{relu}(\mathrm{LN}(a) E_y) \odot x, \quad "
        r"v \leftarrow \mathrm{LN}(v + \mathrm{LN}(y D))",
        r"\rho_t = \rho_{t-1} + (R_t x_t)^\top v_t, \quad a_t = (R_t x_t)\, \rho_{t-1}, \quad "
        r"\sigma_t = R_t^\top \rho_{t-1} E_y",
    ],
    use="""\
import torch
from bregma.nn import FastWeightNetwork

text = b"the synapses of a sequence are its memory. " * 40
tokens = torch.tensor(list(text)).view(-1, 43)
net = FastWeightNetwork(256, width=32, neurons=256, heads=2, layers=2)
optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2)
for _ in range(5):
    optimizer.zero_grad()
    scores = net(tokens[:, :-1]).flatten(0, 1)
    torch.nn.functional.cross_entropy(scores, tokens[:, 1:].flatten()).backward()
    optimizer.step()
with torch.no_grad():
    reading = net.read(tokens[:1, :20])
    reading = net.read(tokens[:1, 20:], reading.weights)  # reads on from its synapses
    sigma = net.synapses(reading.weights)  # (layer, sequence, head, from neuron, to neuron)
""",
)
def kosowski_2025_synapses(
    *,
    seed: int,
    n_train: int,
    n_test: int,
    n_epochs: int,
    neurons: int,
    n_permutations: int,
    width: int = 32,
    heads: int = 2,
    layers: int = 2,
    n_segments: int = 2,
    lr: float = 1e-2,
    transformer_width: int = 32,
    transformer_layers: int = 2,
    transformer_lr: float = 3e-3,
    longer: int = 3,
) -> Measures:
    """Train both models and two variants; look for topics in synapses and groups in weights."""
    train, test = concept_text(n_train=n_train, n_test=n_test, n_segments=n_segments, seed=seed)

    def network(gate: Callable[..., torch.Tensor] = torch.mul) -> FastWeightNetwork:
        return FastWeightNetwork(
            train.n_classes,
            width=width,
            neurons=neurons,
            heads=heads,
            layers=layers,
            gate=gate,
            seed=seed,
        )

    untrained, net, ungated, unrotated = network(), network(), network(only_y), network()
    unrotated.rotation.frequencies.zero_()
    transformer = CausalTransformer(
        train.n_classes,
        train.inputs.shape[1],
        transformer_width,
        heads=4,
        layers=transformer_layers,
        seed=seed,
    )
    losses = learn(net, train, lr=lr, n_epochs=n_epochs, seed=seed)
    for other in (ungated, unrotated):
        learn(other, train, lr=lr, n_epochs=n_epochs, seed=seed)
    learn(transformer, train, lr=transformer_lr, n_epochs=longer * n_epochs, seed=seed)
    with torch.no_grad():
        hidden = transformer.neurons(test.inputs).mean(2).transpose(0, 1).flatten(1)
        rng = spawn_torch(seed, "permutations")
        null = [
            modularity(*(permuted(m, rng) for m in graph(net)), seed=seed)
            for _ in range(n_permutations)
        ]
        return {
            "loss": loss(net, (test.inputs, test.targets)).item(),
            "transformer_loss": loss(transformer, (test.inputs, test.targets)).item(),
            "ungated_loss": loss(ungated, (test.inputs, test.targets)).item(),
            "lowest_loss": test.surprise,
            "repeated": repeated(net, test),
            "transformer_repeated": repeated(transformer, test),
            "unrotated_repeated": repeated(unrotated, test),
            "density": density(net, test),
            "ungated_density": density(ungated, test),
            "auc": best_auc(synapses(net, test), test.concepts),
            "untrained_auc": best_auc(synapses(untrained, test), test.concepts),
            "transformer_auc": best_auc(hidden, test.concepts),
            "modularity": modularity(*graph(net), seed=seed),
            "untrained_modularity": modularity(*graph(untrained), seed=seed),
            "permuted_modularity": sum(null) / len(null),
            "parameters": float(sum(p.numel() for p in net.parameters())),
            "transformer_parameters": float(sum(p.numel() for p in transformer.parameters())),
            "loss over training": Curve(
                range(1, len(losses) + 1), losses, "step", "cross-entropy (nats per symbol)"
            ),
        }


def only_y(y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """No gate."""
    return y


def loss(net: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Cross-entropy of the next symbol."""
    return nn.functional.cross_entropy(net(batch[0]).flatten(0, 1), batch[1].flatten())


def learn(net: nn.Module, text: Documents, *, lr: float, n_epochs: int, seed: int) -> list[float]:
    """AdamW with a learning rate that falls as a cosine."""
    optimizer = torch.optim.AdamW(net.parameters(), lr=lr, weight_decay=0.1)
    n_steps = n_epochs * -(-len(text) // 32)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_steps)
    optimizer.register_step_post_hook(lambda *_: schedule.step())
    batches = minibatches(text.inputs, text.targets, size=32)
    return fit(net, loss, batches, optimizer=optimizer, epochs=n_epochs, seed=seed).tolist()


def repeated(net: nn.Module, text: Documents) -> float:
    """Share of the symbols that follow from a repeated string and are predicted right."""
    return float((net(text.inputs).argmax(-1) == text.targets)[text.repeated].float().mean())


def density(net: FastWeightNetwork, text: Documents) -> float:
    """Share of the neurons y that are active."""
    return float((net.read(text.inputs).y > 0).float().mean())


def synapses(net: FastWeightNetwork, text: Documents) -> torch.Tensor:
    """All synapses (document, synapse) after each document."""
    return net.synapses(net.read(text.inputs).weights).transpose(0, 1).flatten(1)


def best_auc(units: torch.Tensor, concepts: torch.Tensor) -> float:
    """Area under the curve for a concept of the unit that is best in one half, in the other half.

    Averaged over concepts.
    """
    found = []
    half = len(units) // 2
    ranks = units[:half].argsort(0).argsort(0).float()
    for concept in concepts.unique():
        its = concepts == concept
        best = (ranks[its[:half]].mean(0) - ranks[~its[:half]].mean(0)).argmax()
        mine, others = units[half:, best][its[half:]], units[half:, best][~its[half:]]
        above = mine[:, None] - others
        found.append(((above > 0).float() + (above == 0).float() / 2).mean())
    return float(torch.stack(found).mean())


def graph(net: FastWeightNetwork) -> tuple[torch.Tensor, torch.Tensor]:
    """D (neuron, width) and E_x (width, neuron), whose product leads from neuron to neuron."""
    return net.decode.flatten(0, 1), net.encode.transpose(0, 1).flatten(1)


def permuted(matrix: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """The same weights in random places."""
    order = torch.randperm(matrix.numel(), generator=generator)
    return matrix.flatten()[order].view_as(matrix)


def modularity(d: torch.Tensor, e: torch.Tensor, *, seed: int) -> float:
    """Newman's Q of the strongest excitatory connections, four for each neuron on average."""
    weights = d @ e
    strong = weights >= weights.flatten().topk(4 * len(weights)).values[-1]
    network = nx.from_numpy_array((strong | strong.T).numpy())
    network.remove_edges_from(list(nx.selfloop_edges(network)))
    groups = nx.community.louvain_communities(network, seed=seed)
    return float(nx.community.modularity(network, groups))

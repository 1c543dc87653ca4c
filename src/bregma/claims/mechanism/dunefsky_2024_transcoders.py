"""Transcoders: how features drive each other, read from weights through perceptrons."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from bregma import TorchSystem
from bregma.claims import Curve, Expect, Paper, claim
from bregma.datasets import PlantedChain, PromptPairs, greater_than, planted_chain
from bregma.mechanism import (
    Learner,
    ReLUCode,
    SparseAutoencoder,
    fit_dictionary,
    loss_recovered,
    match_features,
    score_dictionary,
)
from bregma.nn import CausalTransformer
from bregma.recording import Recording
from bregma.run import fit, minibatches, private_randomness, spawn_torch

WIDTH, NEURONS = 64, 64  # of the chain; the perceptrons of the language model are 32 and 128
MLP_READS, MLP = "blocks.0.widen.input", "blocks.0.narrow"


def imitate(x: Tensor, y: Tensor, epochs: int, seed: int) -> nn.Sequential:
    """A perceptron that learned what the planted features do."""
    with private_randomness(seed):
        net = nn.Sequential(nn.Linear(WIDTH, NEURONS), nn.GELU(), nn.Linear(NEURONS, WIDTH))
    adam = torch.optim.Adam(net.parameters(), lr=3e-3)

    def error(net: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
        return (net(batch[0]) - batch[1]).square().sum(-1).mean()

    fit(net, error, minibatches(x, y, size=256), optimizer=adam, epochs=epochs, seed=seed)
    return net.requires_grad_(False)


def language_model(pairs: PromptPairs, epochs: int, seed: int) -> CausalTransformer:
    """One layer that learned which years come later."""
    n_words, n_places = len(pairs.words), pairs.clean.shape[1]
    net = CausalTransformer(n_words, n_places, 32, heads=2, layers=1, seed=seed)
    adam = torch.optim.Adam(net.parameters(), lr=3e-3)

    def surprise(net: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
        return nn.functional.cross_entropy(net(batch[0])[:, -1], batch[1])

    batches = minibatches(pairs.clean, pairs.right, size=256)
    fit(net, surprise, batches, optimizer=adam, epochs=epochs, seed=seed)
    return net.requires_grad_(False)


def later_years(pairs: PromptPairs) -> Tensor:
    """(pair, word): each later year with the same chance."""
    first = pairs.words.index("00")
    year = pairs.clean[:, pairs.clean.shape[1] - 5] - first
    later = torch.zeros(len(pairs), len(pairs.words))
    later[:, first : first + 100] = (torch.arange(100) > year[:, None]).float()
    return later / later.sum(1, keepdim=True)


def at_the_end(net: nn.Module, pairs: PromptPairs) -> tuple[Tensor, Tensor]:
    """What the perceptron reads and writes at the last token."""
    out = TorchSystem(net, [MLP_READS, MLP]).record(pairs.clean)
    x, y = (out.select(layer=layer).values for layer in dict.fromkeys(out.units["layer"]))
    return torch.from_numpy(x[:, -32:]), torch.from_numpy(y[:, -32:])


def slopes(
    second: nn.Module, features: SparseAutoencoder, later: SparseAutoencoder, x: Tensor
) -> Tensor:
    """(sample, feature, later feature): features of outputs, by derivatives through a perceptron.

    Drives of later features by features of the first perceptron's output: the Jacobian depends on
    the input.
    """

    def drive(x: Tensor) -> Tensor:
        return later.encoder(second(x) - later.bias)  # type: ignore[misc]

    jacobian = torch.func.vmap(torch.func.jacrev(drive))(x)  # (sample, later feature, width)
    return (jacobian @ features.decoder.T).transpose(1, 2).detach()


def auc(weights: Tensor, found: Tensor, later: Tensor, chain: PlantedChain) -> float:
    """How well weights between the matched features tell the true links."""
    rows = match_features(found, chain.writes).index
    columns = match_features(later, chain.later_writes).index
    return float(
        roc_auc_score(chain.links.numpy().ravel(), weights.numpy()[np.ix_(rows, columns)].ravel())
    )


def new(width: int, n: int, l1: float, seed: int, transcodes: bool = True) -> SparseAutoencoder:
    """A dictionary of ReLU features; for outputs alone where it does not transcode."""
    outputs = width if transcodes else None
    return SparseAutoencoder(width, n, ReLUCode(l1), n_outputs=outputs, seed=seed)


@claim(
    paper=Paper(
        title="Transcoders Find Interpretable LLM Feature Circuits",
        authors="Jacob Dunefsky, Philippe Chlenski, Neel Nanda",
        year=2024,
        arxiv="2406.11944",
    ),
    sentence="A wide sparse perceptron that imitates a dense one shows by its weights alone which "
    "features drive which, and takes its place in a language model.",
    systems="two perceptrons of 64 units that learned 64 and 32 known features with known links; "
    "a one-layer transformer that learned which years come later",
    controls={
        "one_input_auc": "links of features of an autoencoder on the outputs, equally wide and "
        "with the same cost: derivatives in one input",
        "many_inputs_auc": "the same, the mean of derivatives in many inputs",
        "neuron_auc": "weights between the neurons that write most like the known features",
        "permuted_recovered": "a transcoder of the same width that learned shuffled outputs",
        "sae_recovered": "an autoencoder of the output, equally wide and with the same cost",
    },
    expects=[
        Expect(
            measure="link_auc",
            above="one_input_auc",
            by=0.2,
            says="Weights of transcoders tell the links; derivatives in one input do not",
            paper="an argument, not a number: features of autoencoders have no weights that hold "
            "for all inputs",
        ),
        Expect(
            measure="link_auc",
            above="neuron_auc",
            by=0.03,
            says="They tell the links better than the weights of neurons",
        ),
        Expect(measure="matched", above=0.9, says="The known features are found"),
        Expect(
            measure="recovered",
            above="permuted_recovered",
            by=0.6,
            says="In place of the perceptron a transcoder keeps what the model knows; "
            "one that learned shuffled outputs does not",
        ),
        Expect(
            measure="recovered",
            above=0.95,
            says="Of the loss of the model 95 % is recovered",
            paper="transcoders of GPT-2 and Pythia: cross-entropy close to that of autoencoders "
            "of as many active features",
        ),
        Expect(measure="active", below=0.1, says="With less than 10 % of the features on"),
    ],
    smoke={"n": 600, "epochs": 2, "net_epochs": 2, "n_prompts": 256, "prompt_epochs": 2},
    check={"n": 10000, "epochs": 10, "net_epochs": 20, "n_prompts": 8192, "prompt_epochs": 20},
    full={"n": 100000, "epochs": 20, "net_epochs": 20, "n_prompts": 65536, "prompt_epochs": 20},
    seeds=(1, 2, 3, 4),
    equations=[
        r"z = \mathrm{ReLU}(W x + c), \quad \mathrm{TC}(x) = \sum_i z_i d_i + b, \quad "
        r"L = \lVert \mathrm{MLP}(x) - \mathrm{TC}(x) \rVert^2 + \lambda \sum_i z_i",
        r"\text{feature } i \to j: \; \underbrace{z_i(x)}_{\text{input}} \; "
        r"\underbrace{d_i \cdot w_j}_{\text{weights alone}}",
    ],
    use="""
import torch
from bregma.mechanism import FeatureTrace, SparseAutoencoder, TopKCode
from bregma.mechanism import feature_circuit, feature_weights
from bregma.nn import CausalTransformer

model = CausalTransformer(20, 8, 16, heads=2, layers=2)  # yours, of transformers or timm as well
first, second = (SparseAutoencoder(16, 64, TopKCode(6), n_outputs=16, seed=i) for i in (0, 1))
# train them on what the perceptrons read and write, with fit_dictionary
weights = feature_weights(model, first, second, layer=1)  # (feature, feature), for any input
trace = FeatureTrace(model, {0: first, 1: second}, torch.arange(8))  # one prompt
feature = int(trace.active(1)[-1].argmax())
print(feature_circuit(trace, 1, -1, feature, width=6, depth=3).to_frame())
""",
)
def dunefsky_2024_transcoders(
    *, seed: int, n: int, epochs: int, net_epochs: int, n_prompts: int, prompt_epochs: int
) -> dict[str, float | Curve]:
    chain = planted_chain(n, seed=seed)
    first = imitate(chain.inputs, chain.first, net_epochs, seed)
    second = imitate(chain.inputs + chain.first, chain.second, net_epochs, seed + 1)
    written = first(chain.inputs)
    middle = chain.inputs + written
    answer = second(middle)
    a, b, c, d = (new(WIDTH, 128, 0.1, seed + i, transcodes=i < 2) for i in range(4))
    learners = {
        "first": Learner(a, "inputs", "written", rate=2e-3),
        "second": Learner(b, "middle", "answer", rate=2e-3),
        "first outputs": Learner(c, "written", rate=2e-3),
        "second outputs": Learner(d, "answer", rate=2e-3),
    }
    seen = {"inputs": chain.inputs, "written": written, "middle": middle, "answer": answer}
    fit_dictionary(learners, seen, epochs=epochs, batch_size=64, dead_after=5000, seed=seed)
    with torch.no_grad():
        link_auc = auc(a.decoder @ b.encoder.weight.T, a.decoder, b.decoder, chain)  # type: ignore[union-attr]
        w_out, w_in = first[2].weight.T, second[0].weight.T
        neuron_auc = auc(w_out @ w_in, w_out, second[2].weight.T, chain)  # type: ignore[operator, arg-type]
    changes = slopes(second, c, d, middle[:300])
    sizes = [1, 3, 10, 30, 100, 300]
    by_size = [
        float(
            np.mean(
                [auc(part.mean(0), c.decoder, d.decoder, chain) for part in changes.split(k)[:10]]
            )
        )
        for k in sizes
    ]

    pairs, test = greater_than(n_prompts, seed=seed), greater_than(500, seed=seed + 10_000)
    net = language_model(pairs, prompt_epochs, seed)
    x, y = at_the_end(net, pairs)
    order = torch.randperm(len(y), generator=spawn_torch(seed, "shuffled outputs"))
    good, shuffled, outputs = (new(32, 256, 0.15, seed + i, transcodes=i < 2) for i in range(3))
    learners = {
        "good": Learner(good, "x", "y", rate=2e-3),
        "shuffled": Learner(shuffled, "x", "z", rate=2e-3),
        "outputs": Learner(outputs, "y", rate=2e-3),
    }
    seen = {"x": x, "y": y, "z": y[order]}
    fit_dictionary(learners, seen, epochs=epochs, batch_size=64, dead_after=5000, seed=seed)
    wanted = later_years(test)

    def loss(out: Recording) -> np.ndarray:
        scores = torch.from_numpy(out.values).unflatten(1, (test.clean.shape[1], -1))[:, -1]
        rows = torch.from_numpy(out.stimuli.astype(int))
        return nn.functional.cross_entropy(scores, wanted[rows], reduction="none").numpy()

    def recovered(dictionary: SparseAutoencoder, inputs: str | None) -> float:
        system = TorchSystem(net, "unembed")
        found = loss_recovered(system, test.clean, dictionary, MLP, loss, inputs=inputs, size=250)
        return found.recovered

    axes = ("inputs whose derivatives are averaged", "links told (AUC)")
    return {
        "link_auc": link_auc,
        "one_input_auc": by_size[0],
        "many_inputs_auc": by_size[-1],
        "neuron_auc": neuron_auc,
        "matched": min(
            match_features(a.decoder, chain.writes).mean,
            match_features(b.decoder, chain.later_writes).mean,
        ),
        "sae_matched": min(
            match_features(c.decoder, chain.writes).mean,
            match_features(d.decoder, chain.later_writes).mean,
        ),
        "recovered": recovered(good, MLP_READS),
        "permuted_recovered": recovered(shuffled, MLP_READS),
        "sae_recovered": recovered(outputs, None),
        "active": score_dictionary(good, at_the_end(net, test)).l0 / 256,
        "sae_active": score_dictionary(outputs, at_the_end(net, test)[1]).l0 / 256,
        "autoencoders, by derivatives": Curve(sizes, by_size, *axes),
        "transcoders, by weights": Curve(sizes, [link_auc] * len(sizes), *axes),
    }

"""Codebooks in a transformer that has learned a finite-state machine: codes are its states."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor, nn

from bregma.claims import Curve, Expect, Paper, claim
from bregma.datasets import TokenMachine, token_machine
from bregma.mechanism import (
    ActivityStream,
    CodebookNetwork,
    Learner,
    SparseAutoencoder,
    TopKCode,
    code_usage,
    common_codes,
    concept_features,
    fit_dictionary,
    samples_of,
    thresholded,
)
from bregma.nn import CausalTransformer
from bregma.run import derive, fit, minibatches, spawn_torch
from bregma.system import TorchSystem

WIDTH, NEURONS, STEPS = 32, 32, 8  # fewer neurons than states; states of a walk
SITES = [f"blocks.{block}.{part}" for block in (0, 1) for part in ("project", "narrow")]
STATE, HERE = 3, 7  # the fourth state of a walk is complete at its eighth digit


def loss(net: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
    """Of the next digit; a codebook network is also to keep activity and codes together."""
    scores = net(batch[0]).flatten(0, 1)
    value = nn.functional.cross_entropy(scores, batch[1].flatten(), ignore_index=-1)
    return value + 0.1 * net.error if isinstance(net, CodebookNetwork) else value


def train(net: nn.Module, walks: TokenMachine, epochs: int, lr: float, seed: int) -> None:
    adam = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], lr=lr)
    batches = minibatches(walks.task.inputs, walks.task.targets, size=64)
    fit(net, loss, batches, optimizer=adam, epochs=epochs, seed=seed)


def continued(x: Tensor) -> Tensor:
    """The beginnings of walks, each with each of the ten digits behind it."""
    ten = torch.arange(10).view(1, 10, 1).expand(len(x), -1, -1)
    return torch.cat([x[:, None, : HERE + 1].expand(-1, 10, -1), ten], 2).flatten(0, 1)


@torch.no_grad()
def validity(net: nn.Module, walks: TokenMachine, states: Tensor) -> float:
    """Probability that what the network says next is a successor of the given states."""
    scores = net(continued(walks.task.inputs)).unflatten(0, (-1, 10))
    return float(walks.valid(states, scores[:, 0, HERE], scores[:, :, HERE + 1]).mean())


def forced_codes(
    net: CodebookNetwork, known: TokenMachine, wanted: Tensor
) -> dict[str, tuple[Tensor, Tensor]]:
    """Codes that stand for wanted states on known walks, and for them and a digit after it."""
    n, codes = len(known.digits), net.codes(known.task.inputs)
    states, digits = known.states[:, STATE], known.task.inputs[:, HERE + 1]
    ten = torch.arange(10)
    found = {}
    for site, code in codes.items():
        alone = common_codes(code[:, HERE, 0], states, n)
        after = common_codes(code[:, HERE + 1, 0], 10 * states + digits, 10 * n)
        found[site] = (
            alone[wanted].repeat_interleave(10),
            after[10 * wanted[:, None] + ten].flatten(),
        )
    return found


def at_places(codes: dict[str, tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    """Leave all places as they are but the last two."""
    return {
        site: torch.stack([torch.full_like(a, -1)] * HERE + [a, b], 1)[..., None]
        for site, (a, b) in codes.items()
    }


def any_codes(
    like: tuple[Tensor, Tensor], n_codes: int, rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    one, two = (torch.randint(n_codes, part.shape, generator=rng) for part in like)
    return one, two


def codes_on(net: CodebookNetwork, walks: TokenMachine, n_codes: int) -> Tensor:
    index = torch.stack([code[:, HERE, 0] for code in net.codes(walks.task.inputs).values()], 1)
    return nn.functional.one_hot(index, n_codes).bool().flatten(1)


def sae_on(net: nn.Module, known: TokenMachine, walks: TokenMachine, n: int, seed: int) -> Tensor:
    """Features of sparse autoencoders with one feature on, as many as codes, at the same sites."""
    system = TorchSystem(net, SITES)
    saes = {s: SparseAutoencoder(WIDTH, n, TopKCode(1), seed=derive(seed, s)) for s in SITES}
    learners = {site: Learner(sae, inputs=site, rate=3e-3) for site, sae in saes.items()}
    stream = ActivityStream(system, known.task.inputs)
    fit_dictionary(learners, stream, epochs=5, batch_size=256, dead_after=10_000, seed=seed)
    activity = samples_of(system.record(walks.task.inputs))
    here = {s: a.reshape(len(walks.states), 2 * STEPS, -1)[:, HERE] for s, a in activity.items()}
    return torch.cat([saes[s].encode(torch.from_numpy(here[s]).float()) > 0 for s in SITES], 1)


@claim(
    paper=Paper(
        title="Codebook Features: Sparse and Discrete Interpretability for Neural Networks",
        authors="Alex Tamkin, Mohammad Taufeeque, Noah D. Goodman",
        year=2023,
        arxiv="2310.17230",
    ),
    sentence="A transformer can work with one code of a codebook in place of each activity; in a "
    "finite-state machine with more states than neurons codes stand for states, and forcing the "
    "codes of a state makes the network go on from there.",
    systems="two-layer transformer of 32 neurons per layer on a machine of 50 states, each written "
    "as two digits",
    controls={
        "valid_dense": "the network without codebooks",
        "score_neuron": "the best of all neurons above or below 20 thresholds, chosen alike",
        "score_sae": "sparse autoencoders with one feature on, as many as codes, same sites",
        "score_clusters": "the clusters that training starts from: do they say states already?",
        "score_null": "the same codes with states exchanged among walks",
        "valid_clusters": "the codes that training starts from: clusters of the dense activity",
        "valid_frozen": "random codes that are not trained, in a network that is, as long",
        "steered_random": "random codes forced at the same places",
        "steered_not": "nothing forced",
    },
    expects=[
        Expect(
            measure="score_codes",
            above="score_neuron",
            by=0.3,
            says="On held-out walks a code says each state better than any neuron "
            "(median precision x recall)",
            paper="codes 97 % precision; 100 states, four layers of width 128",
        ),
        Expect(measure="score_codes", above=0.8, says="The median is above 0.8"),
        Expect(
            measure="score_codes", above="score_null", by=0.7, says="Exchanged states give far less"
        ),
        Expect(
            measure="valid_codes",
            above="valid_dense",
            times=0.9,
            says="With one code per place, 90 % of the dense network's validity or more remain",
            paper="a small loss of accuracy",
        ),
        Expect(
            measure="valid_codes",
            above="valid_clusters",
            by=0.15,
            says="It is training that makes the network work with codes, not clustering alone",
        ),
        Expect(
            measure="valid_codes",
            above="valid_frozen",
            by=0.3,
            says="And the codes have to learn as well",
        ),
        Expect(
            measure="steered",
            above="steered_random",
            by=0.7,
            says="Forced codes of another state bring the successors of that state",
            paper="high success of steering by the code of a state",
        ),
        Expect(measure="steered", above=0.8, says="With a probability above 0.8"),
    ],
    smoke={
        "n": 320,
        "n_test": 100,
        "states": 10,
        "successors": 3,
        "n_codes": 32,
        "epochs": 1,
        "tuning": 1,
        "lr": 2e-3,
    },
    check={
        "n": 16_000,
        "n_test": 1000,
        "states": 50,
        "successors": 5,
        "n_codes": 256,
        "epochs": 4,
        "tuning": 3,
        "lr": 2e-3,
    },
    full={
        "n": 256_000,
        "n_test": 4000,
        "states": 100,
        "successors": 10,
        "n_codes": 1000,
        "epochs": 10,
        "tuning": 10,
        "lr": 1e-3,
    },
    seeds=(1, 2, 3),
    equations=[
        r"f(x) = \frac{1}{k} \sum_{c \in S} E_c, \qquad "
        r"S: \text{the } k \text{ codes with the largest } \frac{E_c \cdot x}{|E_c|}",
        r"L = L_{\text{task}} + \lambda \left( |f(x) - \text{sg}(x)|^2 "
        r"+ \beta\, |\text{sg}(f(x)) - x|^2 \right), \qquad \frac{\partial f}{\partial x} := I",
    ],
    use="""
import torch
from bregma.mechanism import CodebookNetwork, code_usage
from bregma.nn import CausalTransformer

net = CausalTransformer(10, 16, 16, heads=2, layers=1)  # yours
tokens = torch.randint(10, (50, 16))
coded = CodebookNetwork(net, ["blocks.0.project", "blocks.0.narrow"], tokens, 32, seed=0)
adam = torch.optim.Adam(coded.parameters(), lr=1e-3)
for _ in range(5):
    adam.zero_grad()
    scores = coded(tokens)[:, :-1].flatten(0, 1)
    task = torch.nn.functional.cross_entropy(scores, tokens[:, 1:].flatten())
    (task + 0.1 * coded.error).backward()
    adam.step()
codes = coded.codes(tokens)["blocks.0.narrow"]  # (text, place, 1)
print(code_usage(codes, 32))
with coded.forced({"blocks.0.narrow": torch.tensor([3])}):  # steer
    steered = coded(tokens)
""",
)
def tamkin_2023_codebooks(
    *,
    seed: int,
    n: int,
    n_test: int,
    states: int,
    successors: int,
    n_codes: int,
    epochs: int,
    tuning: int,
    lr: float,
) -> dict[str, float | Curve]:
    walks, known, test = (
        token_machine(
            size,
            states=states,
            successors=successors,
            steps=STEPS,
            machine_seed=seed,
            seed=derive(seed, name),
        )
        for name, size in (("train", n), ("known", 3 * n_test), ("test", n_test))
    )
    state = test.states[:, STATE]
    dense = CausalTransformer(10, 2 * STEPS, WIDTH, heads=4, layers=2, neurons=NEURONS, seed=seed)
    train(dense, walks, epochs, lr, seed)
    clusters = CodebookNetwork(dense, SITES, known.task.inputs[:1000], n_codes, seed=seed)
    coded, frozen = copy.deepcopy(clusters), copy.deepcopy(clusters)
    rng = spawn_torch(seed, "random codes")
    for book in frozen.codebooks.values():
        scale = book.codes.detach().std()
        book.codes.data = scale * torch.randn(book.codes.shape, generator=rng)
        book.codes.requires_grad_(False)
    for net in (coded, frozen):
        train(net, walks, tuning, lr, seed)

    nets = {"dense": dense, "codes": coded, "clusters": clusters, "frozen": frozen}
    out: dict[str, float | Curve] = {
        f"valid_{name}": validity(net, test, state) for name, net in nets.items()
    }
    hidden = dense.neurons(test.task.inputs)[:, :, HERE].transpose(0, 1).flatten(1)
    on = {
        "codes": codes_on(coded, test, n_codes),
        "clusters": codes_on(clusters, test, n_codes),
        "sae": sae_on(dense, known, test, n_codes, seed),
        "neuron": thresholded(hidden, 20),
    }
    for name, features in on.items():
        found = concept_features(features, state, n=19, seed=seed)
        out[f"score_{name}"] = float(np.median(found.score))
        ranked = np.sort(found.score)[::-1]
        axes = ("states, best first", "precision x recall")
        out[name] = Curve(range(1, len(ranked) + 1), ranked, *axes)
        if name == "codes":
            out["score_null"] = float(np.median(found.null))
            out["worst_p"] = float(found.p_value.max())
    for site, code in coded.codes(test.task.inputs).items():
        out[f"perplexity_{site}"] = code_usage(code, n_codes)[1]

    away = torch.randint(1, states, state.shape, generator=rng)
    wanted = (state + away) % states
    right = forced_codes(coded, known, wanted)
    forced = {
        "steered": right,
        "steered_random": {s: any_codes(codes, n_codes, rng) for s, codes in right.items()},
        "steered_not": {},
        "steered_first_block": {site: right[site] for site in SITES[:2]},
    }
    for name, codes in forced.items():
        with coded.forced(at_places(codes)):
            out[name] = validity(coded, test, wanted)
    return out

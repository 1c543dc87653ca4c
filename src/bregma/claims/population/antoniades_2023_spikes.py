"""A generative Transformer over spikes: what it predicts, what its attention shows."""

from __future__ import annotations

import copy

import numpy as np
import torch
from sklearn.linear_model import RidgeCV
from sklearn.metrics import roc_auc_score

from bregma.claims import Curve, Expect, Measures, Paper, claim
from bregma.datasets import HubCircuit, hub_circuit
from bregma.population import (
    HMMGLM,
    BehaviourReadout,
    LinearTokens,
    PastAttention,
    SpikeDecoder,
    SpikeWindows,
    generate_spikes,
    past_attention,
    past_influence,
    signal_windows,
    spike_windows,
    unit_counts,
)
from bregma.recording import SpikeTrains
from bregma.run import derive, fit, minibatches, spawn, spawn_torch

PAST = 0.15  # seconds
N_LAGS = 5  # bins of the cross-correlogram and of the GLM
GLM_SHARE = 0.3  # of the training data: it needs no more
SHARES = (0.01, 0.05)  # of windows whose behaviour is known
READ = 4000  # windows that the wiring is read from

Inputs = tuple[torch.Tensor, torch.Tensor, torch.Tensor]  # tokens, past, stimulus


def loss(net: SpikeDecoder, batch: Inputs) -> torch.Tensor:
    """Nats per window."""
    return -net.log_likelihood(batch[0], batch[1], {"stimulus": batch[2]}).mean()


def learn(net: SpikeDecoder, data: Inputs, *, n_epochs: int, lr: float, seed: int) -> np.ndarray:
    """AdamW with a learning rate that rises for a tenth of the time and then falls."""
    optimizer = torch.optim.AdamW(net.parameters(), lr=lr, weight_decay=0.01, fused=True)
    n_steps = n_epochs * -(-len(data[0]) // 64)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, n_steps, pct_start=0.1)
    optimizer.register_step_post_hook(lambda *_: schedule.step())
    batches = minibatches(*data, size=64)
    return fit(
        net.eval(),
        lambda _, batch: loss(net, batch),
        batches,
        optimizer=optimizer,
        epochs=n_epochs,
        seed=seed,
    )


@torch.no_grad()
def bits(net: SpikeDecoder, data: Inputs, windows: SpikeWindows, rates: np.ndarray) -> float:
    """Per spike, over units that fire at constant rates."""
    parts = zip(*(x.split(256) for x in data), strict=True)
    nats = -sum(float(loss(net, part)) * len(part[0]) for part in parts)
    return in_bits(nats, windows, rates)


def in_bits(nats: float, windows: SpikeWindows, rates: np.ndarray) -> float:
    gain = nats - windows.log_likelihood_of_rates(rates).sum()
    return float(gain / windows.counts().sum() / np.log(2))


def edges_auc(found: np.ndarray, wiring: np.ndarray) -> float:
    """How well edges are told from pairs that are none."""
    pairs = ~np.eye(len(wiring), dtype=bool)
    return float(roc_auc_score(wiring[pairs], found[pairs]))


def targets_auc(found: np.ndarray, wiring: np.ndarray) -> float:
    """The same among the pairs of one sender, averaged over edges: hubs alone give 0.5."""
    scores, sizes = [], []
    for sender in np.flatnonzero(wiring.any(0)):
        others = np.arange(len(wiring)) != sender
        scores.append(roc_auc_score(wiring[others, sender], found[others, sender]))
        sizes.append(wiring[:, sender].sum())
    return float(np.average(scores, weights=sizes))


def right_direction(found: np.ndarray, wiring: np.ndarray) -> float:
    """Share of the one-way edges that are stronger than the way back."""
    to, of = np.nonzero(wiring & ~wiring.T)
    return float((found[to, of] > found[of, to]).mean())


def correlogram(spikes: SpikeTrains, bin: float) -> np.ndarray:
    """Mean correlation of each unit (row) with each unit some bins before (column)."""
    x = spikes.bin(bin).values[0].astype(float)
    x = (x - x.mean(0)) / x.std(0)
    return np.sum([x[lag:].T @ x[:-lag] / len(x) for lag in range(1, N_LAGS + 1)], 0)


def pair_correlations(counts: np.ndarray, together: int = 4) -> np.ndarray:
    """Of counts in some windows together, for all pairs."""
    blocks = counts[: len(counts) // together * together].reshape(-1, together, counts.shape[1])
    # Silent units correlate with nobody; without this they would have no number at all.
    noise = 1e-9 * spawn(0, "silent units").standard_normal((len(blocks), counts.shape[1]))
    return np.corrcoef((blocks.sum(1) + noise).T)[np.triu_indices(counts.shape[1], 1)]


def variance_explained(found: np.ndarray, true: np.ndarray) -> float:
    return float(1 - np.mean((found - true) ** 2) / true.var())


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a, b)[0, 1])


def inputs(circuit: HubCircuit, windows: SpikeWindows) -> Inputs:
    """The stimulus is seen from the beginning of the past on; a token is as long as a window."""
    span = (-PAST, windows.n_bins * windows.bin)
    signal = signal_windows(circuit.stimulus, circuit.bin, windows.start, span=span)
    stimulus = signal.unflatten(1, (-1, windows.n_bins)).flatten(2)
    return windows.tokens, windows.past, stimulus


def other_past(data: Inputs, seed: int) -> Inputs:
    """Each window with the past of another one."""
    order = torch.randperm(len(data[1]), generator=spawn_torch(seed, "past"))
    return data[0], data[1][order], data[2]


def other_units(circuit: HubCircuit, seed: int) -> SpikeTrains:
    """The same spike times, of units in random order."""
    spikes = circuit.spikes
    units = spawn(seed, "units").permutation(spikes.unit_index)
    return SpikeTrains(spikes.times, units, units=spikes.units, support=spikes.support)


def free_run(net: SpikeDecoder, data: Inputs, length: int, seed: int) -> np.ndarray:
    """Counts of spikes that it makes up, one stretch of that many windows after the other."""
    n = len(data[0]) // length * length
    stimulus = data[2][:n].unflatten(0, (-1, length))
    tokens = generate_spikes(net, data[1][:n:length], length, {"stimulus": stimulus}, seed=seed)
    return unit_counts(tokens.flatten(0, 1), net.n_units)


def decoded(
    decoder: SpikeDecoder,
    seen: Inputs,
    known: torch.Tensor,
    unseen: Inputs,
    truth: torch.Tensor,
    steps: tuple[int, ...],
    seed: int,
) -> float:
    """R2 of behaviour, by a decoder with a head that is trained where behaviour is known.

    After a short and after a long training, of which the better one counts.
    """
    readout = BehaviourReadout(copy.deepcopy(decoder), seed=seed).eval()
    optimizer = torch.optim.AdamW(readout.parameters(), lr=2e-3, weight_decay=0.01)
    batches = minibatches(*seen, known, size=64)

    def loss(_: torch.nn.Module, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
        return (readout(batch[0], batch[1], {"stimulus": batch[2]}) - batch[3]).square().mean()

    found = []
    for number, n_steps in enumerate(steps):
        n_epochs = -(-n_steps // -(-len(known) // 64))
        part = derive(seed, "fine-tuning", number)
        fit(readout, loss, batches, optimizer=optimizer, epochs=n_epochs, seed=part)
        with torch.no_grad():
            parts = zip(*(x.split(256) for x in unseen), strict=True)
            answer = torch.cat([readout(a, b, {"stimulus": c}) for a, b, c in parts])
        found.append(variance_explained(answer.numpy(), truth.numpy()))
    return max(found)


def by_ridge(
    seen: Inputs, known: torch.Tensor, unseen: Inputs, truth: torch.Tensor, n_units: int
) -> float:
    """The same from counts in the window, counts before it, and the stimulus."""
    a, b = (
        np.c_[unit_counts(x[0], n_units), unit_counts(x[1], n_units), x[2].flatten(1)]
        for x in (seen, unseen)
    )
    ridge = RidgeCV(np.logspace(-1, 4, 12)).fit(a, known[:, 0].numpy())
    return variance_explained(ridge.predict(b), truth[:, 0].numpy())


@claim(
    paper=Paper(
        title="Neuroformer: multimodal and multitask generative pretraining for brain data",
        authors="Antonis Antoniades, Yiyi Yu, Joseph Canzano, William Wang, Spencer LaVere Smith",
        year=2023,
        arxiv="2311.00136",
    ),
    sentence="A Transformer that generates a population's spikes one by one predicts them from "
    "the past of the population, shows in its attention who drives whom, and decodes behaviour "
    "from few labels.",
    systems="24 simulated units (Bernoulli GLM) with 3 hubs, 55 directed edges, two stimuli and a "
    "slow behaviour",
    controls={
        "bits, past permuted": "the same model, each window with the past of another one",
        "AUC, untrained": "attention of the same network before training",
        "AUC, units permuted": "the same model trained on spikes whose units were permuted",
        "AUC, cross-correlogram": f"mean correlation over lags of 1 to {N_LAGS} bins; may win",
        "AUC, GLM": "couplings of a Poisson GLM on 30 % of the data, the upper bound; may win",
        "targets AUC, attention by age": "attention over what spikes of the same age get: what is "
        "left when a pair no longer stands out by its timing",
        "generated correlations, past permuted": "free run of the model that knows no past",
        "R2 at 1 %, from scratch": "the same network and head, not pretrained; each one has the "
        "better of a short and a long training",
        "R2 at 5 %, from scratch": "the same with 5 % of the labels",
        "R2 at 5 %, ridge": "ridge regression on spike counts and the stimulus; may win",
    },
    expects=[
        Expect(
            measure="bits",
            above="bits, past permuted",
            by=0.05,
            says="later spikes are predicted better than without the population's past",
            paper="dropping the past state lowers the correlation of predicted responses",
        ),
        Expect(
            measure="bits",
            above="bits, attainable",
            times=0.45,
            says="and almost half as well as with the circuit and the hidden behaviour known",
        ),
        Expect(
            measure="AUC, attention",
            above=0.8,
            says="attention tells edges from pairs that are none",
            paper="attention shows the hubs of a simulated network of 300 units, and direction",
        ),
        Expect(
            measure="AUC, attention",
            above="AUC, untrained",
            by=0.25,
            says="by training, not by the architecture",
        ),
        Expect(
            measure="AUC, attention",
            above="AUC, units permuted",
            by=0.15,
            says="and not where spikes have lost their units",
        ),
        Expect(
            measure="right direction, attention",
            above=0.75,
            says="most edges are stronger in attention than the way back",
        ),
        Expect(
            measure="AUC, attention",
            above="AUC, cross-correlogram",
            says="attention finds edges at least as well as a lagged cross-correlogram",
            paper="not compared",
        ),
        Expect(
            measure="targets AUC, attention by age",
            above=0.6,
            says="attention tells the targets of a unit from other units, timing apart",
            paper="not separated from hubs and timing",
        ),
        Expect(
            measure="targets AUC, influence",
            above=0.7,
            says="the model itself knows the targets: it predicts them otherwise when the past "
            "spikes of a unit are taken away",
        ),
        Expect(
            measure="generated correlations",
            above=0.8,
            says="running free, it makes spikes with the pairwise correlations of the circuit",
        ),
        Expect(
            measure="generated correlations",
            above="generated correlations, past permuted",
            says="better than a model that knows the stimulus but no past",
        ),
        Expect(
            measure="R2 at 1 %, pretrained",
            above="R2 at 1 %, from scratch",
            by=0.02,
            says="pretraining helps to decode behaviour from 1 % of the labels",
            paper="few-shot decoding of running speed, above models without pretraining",
        ),
        Expect(
            measure="R2 at 5 %, pretrained",
            above="R2 at 5 %, from scratch",
            by=0.02,
            says="and from 5 %",
        ),
    ],
    smoke={"seconds": 30.0, "n_epochs": 1, "n_runs": 5, "fine_tuning": (2, 2)},
    check={"seconds": 480.0, "n_epochs": 3, "n_runs": 50, "fine_tuning": (50, 100)},
    full={
        "seconds": 3600.0,
        "n_epochs": 20,
        "n_runs": 200,
        "fine_tuning": (200, 800),
        "window": 0.05,
        "width": 256,
        "heads": 8,
        "layers": 6,
        "dropout": 0.2,
        "lr": 3e-4,
        "n_units": 300,
        "n_hubs": 10,
    },
    equations=[
        r"p(\mathrm{window}) = p(\mathrm{end} \mid \ldots) \prod_k "
        r"p(n_k, t_k \mid (n, t)_{<k}, \mathrm{past}, \mathrm{stimulus})",
        r"p(n, t \mid \ldots) \propto e^{a_n + b_t} \ \text{for}\ (t, n) > (t_{k-1}, n_{k-1})",
        r"\hat W_{i \leftarrow j} = \sum_{q \to i} \sum_{\kappa \in j} \alpha_{q \kappa} \Big/ "
        r"\sum_{q \to i} \sum_{\kappa \in j} 1 / |\kappa|_q",
    ],
    use="""
import numpy as np, torch
from bregma import SpikeTrains
from bregma.population import SpikeDecoder, generate_spikes, past_attention, spike_windows

rng = np.random.default_rng(0)  # yours: bregma.read("session.nwb")
spikes = SpikeTrains.from_dict({u: rng.uniform(0, 20, 150) for u in "abcd"}, support=[(0, 20)])
windows = spike_windows(spikes, bin=0.01, window=0.05, past=0.15)
net = SpikeDecoder(windows.n_units, windows.n_bins, windows.n_past, width=16, heads=2)
optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3)
for _ in range(10):
    optimizer.zero_grad()
    (-net.log_likelihood(windows.tokens, windows.past).mean()).backward()
    optimizer.step()
wiring = past_attention(net, windows.tokens, windows.past).per_pair_and_age()  # (to, from)
made_up = generate_spikes(net, windows.past[:1], 20, seed=0)  # one second
""",
)
def antoniades_2023_spikes(
    *,
    seed: int,
    seconds: float,
    n_epochs: int,
    n_runs: int,
    fine_tuning: tuple[int, ...],
    window: float = 0.03,
    width: int = 32,
    heads: int = 4,
    layers: int = 1,
    dropout: float = 0.1,
    lr: float = 8e-3,
    n_units: int = 24,
    n_hubs: int = 3,
) -> Measures:
    """Train on the first four fifths of a recording, and test on the rest."""
    circuit = hub_circuit(n_units=n_units, n_hubs=n_hubs, seconds=seconds, seed=seed)
    wiring, bin = circuit.wiring, circuit.bin
    windows = spike_windows(circuit.spikes, bin=bin, window=window, past=PAST)
    permuted = spike_windows(other_units(circuit, seed), bin=bin, window=window, past=PAST)
    n = len(windows) * 4 // 5
    train, test = windows[:n], windows[n:]
    seen, unseen, confusing = (inputs(circuit, w) for w in (train, test, permuted[:n]))

    def network() -> SpikeDecoder:
        n_tokens, n_features = seen[2].shape[1:]
        return SpikeDecoder(
            n_units,
            train.n_bins,
            train.n_past,
            width,
            heads=heads,
            layers=layers,
            modalities={"stimulus": LinearTokens(n_features, n_tokens, width, seed=seed)},
            dropout=dropout,
            seed=seed,
        ).eval()

    untrained, net, pastless, confused = (network() for _ in range(4))
    losses = learn(net, seen, n_epochs=n_epochs, lr=lr, seed=seed)
    learn(pastless, other_past(seen, seed), n_epochs=n_epochs, lr=lr, seed=seed)
    learn(confused, confusing, n_epochs=n_epochs, lr=lr, seed=seed)

    # What is predicted
    rates = train.counts().mean(0) / train.n_bins
    bins = round(test.start[0] / bin), round(test.start[-1] / bin) + test.n_bins
    measures: dict[str, float | Curve] = {
        "bits": bits(net, unseen, test, rates),
        "bits, past permuted": bits(pastless, other_past(unseen, seed), test, rates),
        "bits, attainable": in_bits(circuit.log_likelihood(*bins), test, rates),
        "loss over training": Curve(
            range(1, len(losses) + 1), losses, "step", "loss (nats per window)"
        ),
    }

    # Who drives whom
    def attention(net: SpikeDecoder, data: Inputs) -> PastAttention:
        tokens, past, stimulus = (x[:READ] for x in data)
        return past_attention(net, tokens, past, {"stimulus": stimulus})

    found, stop = attention(net, seen), float(test.start[0])
    tokens, past, stimulus = (x[:READ] for x in seen)
    glm = HMMGLM(1, n_lags=N_LAGS, n_restarts=1, n_iter=1, steps=12, learning_rate=0.2, seed=seed)
    glm.fit(circuit.spikes.bin(bin).values[0, : round(GLM_SHARE * stop / bin)])
    readings = {
        "attention": found.per_pair().numpy(),
        "attention by age": found.per_pair_and_age().numpy(),
        "influence": past_influence(net, tokens, past, {"stimulus": stimulus}).numpy(),
        "untrained": attention(untrained, seen).per_pair().numpy(),
        "units permuted": attention(confused, confusing).per_pair().numpy(),
        "cross-correlogram": correlogram(circuit.spikes.restrict((0.0, stop)), bin),
        "GLM": glm.weights_[0],
    }
    for name, matrix in readings.items():
        measures[f"AUC, {name}"] = edges_auc(matrix, wiring)
        measures[f"targets AUC, {name}"] = targets_auc(matrix, wiring)
        measures[f"right direction, {name}"] = right_direction(matrix, wiring)
    strongest = np.argsort(readings["attention by age"].mean(0))[-n_hubs:]
    measures["hubs found"] = float(np.isin(circuit.hubs, strongest).mean())

    # What is made up
    length = len(test) // n_runs
    real = test[: n_runs * length].counts()
    for name, model in (("", net), (", past permuted", pastless)):
        made = free_run(model, unseen, length, seed)[: len(real)]
        measures[f"generated rates{name}"] = correlation(made.mean(0), real.mean(0))
        measures[f"generated correlations{name}"] = correlation(
            pair_correlations(made), pair_correlations(real)
        )
    measures["correlations, training data"] = correlation(
        pair_correlations(train.counts()), pair_correlations(real)
    )

    # Behaviour from few labels
    behaviour, truth = (
        signal_windows(circuit.behaviour[:, None], bin, w.start, span=(0.0, window)).mean(1)
        for w in (train, test)
    )
    order = spawn(seed, "labels").permutation(n)
    scores: dict[str, list[float]] = {"pretrained": [], "from scratch": [], "ridge": []}
    for share in SHARES:
        few = np.sort(order[: max(2, round(share * n))])
        labelled, known = (seen[0][few], seen[1][few], seen[2][few]), behaviour[few]
        for name, decoder in (("pretrained", net), ("from scratch", untrained)):
            scores[name].append(decoded(decoder, labelled, known, unseen, truth, fine_tuning, seed))
        scores["ridge"].append(by_ridge(labelled, known, unseen, truth, n_units))
        measures |= {f"R2 at {100 * share:g} %, {name}": r2[-1] for name, r2 in scores.items()}
    for name, values in scores.items():
        measures[f"R2, {name}"] = Curve(SHARES, values, "share of labels", "R2 of behaviour")
    return measures

"""A wiring that the hidden states of a circuit share makes their couplings easier to find."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import poisson
from sklearn.metrics import f1_score

from bregma.claims import Curve, Expect, Measures, Paper, claim
from bregma.datasets import SwitchingCircuit, switching_circuit
from bregma.population import (
    HMMGLM,
    CouplingPrior,
    FlatPrior,
    GaussianPrior,
    OneHotPrior,
    forward_backward,
    match_states,
)
from bregma.run import spawn

N_STATES = 3
SPREAD = 0.4  # SD of a weight over states in this circuit: what suits the Gaussian prior best


def signs_f1(found: np.ndarray, true: np.ndarray) -> float:
    """Macro-F1 of inhibition, nothing and excitation, over all pairs of different units."""
    pairs = ~np.eye(true.shape[-1], dtype=bool)
    return float(f1_score(true[:, pairs].ravel(), found[:, pairs].ravel(), average="macro"))


def by_threshold(weights: Float[np.ndarray, "state unit unit"], true: np.ndarray) -> Curve:
    """F1 of the signs of weights above each threshold; choosing the best one takes the truth."""
    thresholds = np.quantile(np.abs(weights), np.linspace(0, 0.98, 50))
    scores = [signs_f1(np.sign(weights) * (np.abs(weights) > h), true) for h in thresholds]
    return Curve(thresholds, scores, "threshold of the weights", "macro-F1 of the signs")


def in_order(
    model: HMMGLM, counts: np.ndarray, states: Int[np.ndarray, " bin"]
) -> tuple[Float[np.ndarray, "state unit unit"], float]:
    """Weights in the order of the true states, and the accuracy of decoding these."""
    found = model.predict_proba(counts)[0].argmax(-1)
    order, accuracy = match_states(found, states, N_STATES)
    return model.weights_[order], accuracy


def bayes_accuracy(circuit: SwitchingCircuit, test: slice) -> float:
    """Accuracy of decoding the states with all parameters known."""
    log_emission = poisson.logpmf(circuit.recording.values[0][:, None], circuit.rates).sum(-1)
    start = np.full(N_STATES, 1 / N_STATES)
    found = forward_backward(log_emission[None, test], start, circuit.transition).states
    return float((found[0].argmax(-1) == circuit.states[test]).mean())


@claim(
    paper=Paper(
        "One-hot generalized linear model for switching brain state discovery",
        "Chengrui Li, Soon Ho Kim, Chris Rodgers, Hannah Choi, Anqi Wu",
        2024,
        arxiv="2310.15263",
    ),
    sentence="A learned wiring that all hidden states share makes the couplings of a switching "
    "circuit easier to recover and its spikes easier to predict.",
    systems="12 simulated units in 3 hidden states: one signed wiring, other strengths in each "
    "state, a quarter of the couplings silenced there",
    controls={
        "F1, flat prior, best threshold": "the plain HMM-GLM from the same restarts, its "
        "weights cut at the threshold that is best for the truth",
        "F1, Gaussian prior, best threshold": "the same, weights scatter around common ones",
        "F1, own wiring": "the same choices without sharing: each state learns its own wiring",
        "gain of sharing, other circuit": "one-hot minus own wiring where states share nothing",
        "state accuracy, shuffled bins": "fitted to and tested on bins in random order",
        "pooled F1, flat prior, best threshold": "mean weights over states, cut at the "
        "threshold that is best for the truth; may win",
    },
    expects=[
        Expect(
            measure="weight error, one-hot",
            below="weight error, flat prior",
            times=0.6,
            says="the shared wiring brings weights much nearer to the true ones than a flat prior",
            paper="recovers interactions of simulated circuits better than all baselines",
        ),
        Expect(
            measure="weight error, one-hot",
            below="weight error, Gaussian prior",
            times=0.8,
            says="and nearer than common weights do",
        ),
        Expect(
            measure="log-likelihood per spike, one-hot",
            above="log-likelihood per spike, flat prior",
            by=0.002,
            says="later spikes are predicted better than without a shared wiring",
            paper="the highest test log-likelihood, on simulated and two real data sets",
        ),
        Expect(
            measure="log-likelihood per spike, one-hot",
            above="log-likelihood per spike, Gaussian prior",
            says="and better than with common weights",
        ),
        Expect(
            measure="log-likelihood per spike, one-hot",
            above="log-likelihood per spike, single state",
            by=0.004,
            says="and better than by a GLM without states",
        ),
        Expect(
            measure="state accuracy, one-hot",
            above="state accuracy, Bayes",
            times=0.93,
            says="states are decoded almost as well as with all parameters known",
        ),
        Expect(
            measure="F1, one-hot",
            above="F1, flat prior, best threshold",
            says="signs are found at least as well as by the best threshold, which takes the truth",
        ),
        Expect(
            measure="gain of sharing",
            above=0.02,
            says="it is sharing that helps: with a wiring for each state, signs are lost",
        ),
        Expect(
            measure="gain of sharing",
            above="gain of sharing, other circuit",
            says="sharing helps less where the states of the circuit share nothing",
        ),
        Expect(
            measure="state accuracy, shuffled bins",
            below="state accuracy, chance",
            times=1.1,
            says="in bins of random order there are no states to be found",
        ),
    ],
    smoke={"n_train": 800, "n_test": 400, "n_iter": 3, "n_restarts": 1},
    check={"n_train": 6000, "n_test": 3000, "n_iter": 20, "n_restarts": 5},
    full={"n_train": 60000, "n_test": 30000, "n_iter": 60, "n_restarts": 10},
    equations=[
        r"\lambda_{t,n} = \mathrm{softplus}\Big(b^s_n + \sum_{m \neq n} w^s_{nm} \sum_k \varphi_k "
        r"y_{t-k,m} + \sum_k h^s_{nk} y_{t-k,n}\Big), \quad s = z_t",
        r"w^s_{nm} = (a^s_{nm,\mathrm{exc}} - a^s_{nm,\mathrm{inh}})\, g^s_{nm}, \quad "
        r"a^s_{nm} \sim \mathrm{Cat}(a^0_{nm})",
        r"p(z_t = r \mid z_{t-1} = s) = A_{sr}",
    ],
    use="""
import numpy as np
from bregma.population import HMMGLM, OneHotPrior

counts = np.random.default_rng(0).poisson(0.4, (400, 6))  # yours: (bin, unit), or a Recording
model = HMMGLM(n_states=2, prior=OneHotPrior(), n_restarts=2, n_iter=6, seed=0).fit(counts)
states = model.predict_proba(counts)  # (presentation, bin, state)
signs = model.glm_.coupling.adjacency()  # (state, to, from): -1, 0, 1
backbone = model.glm_.coupling.wiring_probability()
""",
)
def onehot(*, seed: int, n_train: int, n_test: int, n_iter: int, n_restarts: int) -> Measures:
    def fitted(
        counts: np.ndarray, prior: CouplingPrior, start: HMMGLM | None = None, n: int = N_STATES
    ) -> HMMGLM:
        model = HMMGLM(n, prior=prior, n_iter=n_iter, n_restarts=n_restarts, seed=seed)
        return model.fit(counts, start=start)

    circuit = switching_circuit(n_bins=n_train + n_test, seed=seed)
    counts, test = circuit.recording.values[0], slice(n_train, None)
    working = np.sign(circuit.weights)  # what each state's couplings do
    flat = fitted(counts[:n_train], FlatPrior())
    priors: dict[str, CouplingPrior] = {
        "Gaussian prior": GaussianPrior(SPREAD),
        "one-hot": OneHotPrior(),
        "own wiring": OneHotPrior(shared=False),
    }
    models = {name: fitted(counts[:n_train], prior, flat) for name, prior in priors.items()}
    models |= {"flat prior": flat, "single state": fitted(counts[:n_train], FlatPrior(), n=1)}
    measures: dict[str, float | Curve] = {
        f"log-likelihood per spike, {name}": model.score(counts[test])
        for name, model in models.items()
    }
    weights = {}
    for name in ("flat prior", "Gaussian prior", "one-hot", "own wiring"):
        weights[name], accuracy = in_order(models[name], counts[test], circuit.states[test])
        measures[f"state accuracy, {name}"] = accuracy
        measures[f"weight error, {name}"] = float(np.abs(weights[name] - circuit.weights).mean())
    for name in ("flat prior", "Gaussian prior"):
        curve = by_threshold(weights[name], working)
        measures[f"signs by threshold, {name}"] = curve
        measures[f"F1, {name}, best threshold"] = max(curve.y)
    scores = {name: signs_f1(np.sign(weights[name]), working) for name in ("one-hot", "own wiring")}
    measures |= {f"F1, {name}": score for name, score in scores.items()}
    pooled = by_threshold(weights["flat prior"].mean(0, keepdims=True), circuit.wiring[:1])
    majority = np.sign(np.sign(weights["one-hot"]).sum(0, keepdims=True))
    measures["pooled F1, one-hot"] = signs_f1(majority, circuit.wiring[:1])
    measures["pooled F1, flat prior, best threshold"] = max(pooled.y)

    other = switching_circuit(n_bins=n_train + n_test, shared_wiring=False, seed=seed)
    counts = other.recording.values[0]
    start = fitted(counts[:n_train], FlatPrior())
    f1 = {}
    for shared in (True, False):
        model = fitted(counts[:n_train], OneHotPrior(shared=shared), start)
        found, _ = in_order(model, counts[test], other.states[test])
        f1[shared] = signs_f1(np.sign(found), np.sign(other.weights))
    order = spawn(seed, "shuffled bins").permutation(n_train + n_test)
    counts = circuit.recording.values[0][order]
    model = fitted(counts[:n_train], OneHotPrior())
    _, shuffled = in_order(model, counts[test], circuit.states[order][test])
    return measures | {
        "gain of sharing": scores["one-hot"] - scores["own wiring"],
        "gain of sharing, other circuit": f1[True] - f1[False],
        "state accuracy, shuffled bins": shuffled,
        "state accuracy, Bayes": bayes_accuracy(circuit, test),
        "state accuracy, chance": circuit.chance,
    }

"""Switching GLMs against brute force, finite differences and circuits of known wiring."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from itertools import pairwise, product

import numpy as np
import pytest
import torch
from scipy.optimize import approx_fprime, minimize
from scipy.stats import poisson
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, KFold

import bregma
from bregma.datasets import switching_circuit
from bregma.errors import InvalidArgument
from bregma.population import (
    HMMGLM,
    FlatPrior,
    GaussianPrior,
    OneHotCoupling,
    OneHotPrior,
    SwitchingGLM,
    _expectation_maximisation,
    forward_backward,
    match_states,
)

PRIORS = [FlatPrior(), GaussianPrior(), OneHotPrior(), OneHotPrior(shared=False)]
N = 10  # units
QUICK = {"n_restarts": 1, "n_iter": 3, "steps": 2, "device": "cpu"}


@pytest.fixture(scope="module")
def circuit():
    """Two states that differ much: few bins are enough."""
    return switching_circuit(n_units=N, n_states=2, n_bins=3000, stay=0.98, seed=3)


@pytest.fixture(scope="module")
def fitted(circuit):
    model = HMMGLM(2, prior=OneHotPrior(), n_restarts=3, n_iter=12, seed=0, device="cpu")
    return model.fit(circuit.recording)


def random_module(prior, n_states=2, n_units=3, n_lags=2):
    rng = torch.Generator().manual_seed(0)
    start = torch.randn(n_states, n_units, n_units, generator=rng, dtype=torch.float64)
    bias = torch.randn(n_states, n_units, generator=rng, dtype=torch.float64)
    module = SwitchingGLM(prior.coupling(start), bias, n_lags).double()
    with torch.no_grad():
        for value in module.parameters():
            value.copy_(torch.randn(value.shape, generator=rng, dtype=torch.float64) / 2)
    return module


def written_out_rate(module, y, t, s, n):
    """The equation with loops, the past before the first bin being silent."""
    weight, kernel = module.weight()[s].detach().numpy(), module.kernel.detach().numpy()
    own = module.own[s].detach().numpy()
    drive = module.bias[s, n].item()
    for k in range(1, len(kernel) + 1):
        if t - k >= 0:
            drive += own[n, k - 1] * y[t - k, n]
            drive += sum(
                weight[n, m] * kernel[k - 1] * y[t - k, m] for m in range(y.shape[1]) if m != n
            )
    return np.log1p(np.exp(drive))


@pytest.mark.parametrize("prior", PRIORS)
def test_the_likelihood_is_the_sum_over_all_paths(prior):
    model = HMMGLM(2, n_lags=2, prior=prior, **QUICK)
    counts = np.random.default_rng(0).poisson(0.7, (2, 6, 3))
    model.fit(counts)
    module, initial, transition = model.glm_, model.initial_, model.transition_
    total = 0.0
    for number, y in enumerate(counts):
        rate = np.array(
            [[[written_out_rate(module, y, t, s, n) for n in range(3)] for s in range(2)]
             for t in range(6)]
        )  # fmt: skip
        emission = poisson.logpmf(y[:, None], rate).sum(-1)
        likelihood, first = 0.0, np.zeros(2)
        for path in product(range(2), repeat=6):
            value = initial[path[0]] * np.exp(sum(emission[t, s] for t, s in enumerate(path)))
            value *= np.prod([transition[a, b] for a, b in pairwise(path)])
            likelihood += value
            first[path[0]] += value
        total += np.log(likelihood)
        np.testing.assert_allclose(
            model.predict_proba(counts)[number, 0], first / likelihood, atol=1e-5
        )
    assert model.score(counts) == pytest.approx(total / counts.sum(), abs=1e-5)


@pytest.mark.parametrize("prior", PRIORS)
def test_gradients_are_those_of_finite_differences(prior):
    module = random_module(prior)
    rng = np.random.default_rng(1)
    history = torch.as_tensor(rng.poisson(1.0, (20, 3, 2)).astype(float))
    counts = torch.as_tensor(rng.poisson(1.0, (20, 3)).astype(float))

    def objective(flat):
        torch.nn.utils.vector_to_parameters(torch.as_tensor(flat), module.parameters())
        weight = module.weight(torch.Generator().manual_seed(5))  # the same Gumbel noise each time
        return module.log_likelihood(history, counts, weight).sum() + module.coupling.log_prior()

    at = torch.nn.utils.parameters_to_vector(module.parameters()).detach().numpy().copy()
    module.zero_grad()
    objective(at).backward()
    found = np.concatenate([p.grad.numpy().ravel() for p in module.parameters()])
    numeric = approx_fprime(at, lambda flat: objective(flat).item(), 1e-6)
    np.testing.assert_allclose(found, numeric, atol=2e-3, rtol=1e-4)


def test_one_state_is_the_glm_that_a_plain_optimiser_finds():
    rng = np.random.default_rng(0)
    y = rng.poisson(0.8, (300, 2)).astype(float)
    past = np.vstack([np.zeros((1, 2)), y[:-1]])  # one lag: the kernel is 1

    def loss(p):  # bias, from the other, from itself of each unit
        b, w, own = p.reshape(3, 2)
        rate = np.log1p(np.exp(b + w * past[:, ::-1] + own * past))
        return -poisson.logpmf(y, rate).sum()

    best = minimize(loss, np.zeros(6), method="BFGS")
    model = HMMGLM(1, n_lags=1, n_iter=40, device="cpu").fit(y)
    _, w, own = best.x.reshape(3, 2)
    assert model.score(y) * y.sum() == pytest.approx(-best.fun, abs=0.01)
    np.testing.assert_allclose(model.weights_[0], [[0, w[0]], [w[1], 0]], atol=0.02)
    np.testing.assert_allclose(model.glm_.own[0, :, 0].detach(), own, atol=0.02)


def test_planted_states_and_signs_are_recovered(circuit, fitted):
    order, accuracy = match_states(fitted.predict(circuit.recording)[0], circuit.states, 2)
    emission = poisson.logpmf(circuit.recording.values[0][:, None], circuit.rates).sum(-1)
    known = forward_backward(emission[None], np.array([0.5, 0.5]), circuit.transition)
    bayes = (known.states[0].argmax(-1) == circuit.states).mean()
    assert accuracy > bayes - 0.04
    assert bayes - 0.04 > circuit.chance + 0.2
    pairs = ~np.eye(N, dtype=bool)
    found = fitted.glm_.coupling.adjacency().numpy()[order][:, pairs]
    right = found == np.sign(circuit.weights)[:, pairs]
    assert right.mean() > (circuit.weights[:, pairs] == 0).mean() + 0.1  # than 'nothing' always
    np.testing.assert_allclose(np.diag(fitted.transition_), 0.98, atol=0.03)


def test_each_iteration_raises_the_likelihood(circuit):
    counts = circuit.recording.values[0, :1000]
    model = HMMGLM(2, n_restarts=1, n_iter=15, learning_rate=0.01, device="cpu").fit(counts)
    # Of the likelihood with its imagined observations of the chain, which weigh little here.
    assert np.diff(model.log_likelihoods_).min() > -0.05
    assert model.log_likelihoods_[-1] > model.log_likelihoods_[0]


def test_same_seed_same_fit_and_the_global_generators_do_not_count(circuit):
    counts = circuit.recording.values[0, :300]
    fits = []
    for poison in (1, 2):
        torch.manual_seed(poison)
        np.random.seed(poison)  # noqa: NPY002 (a poisoned global generator)
        fits.append(HMMGLM(2, prior=OneHotPrior(), seed=4, **QUICK).fit(counts).weights_)
    np.testing.assert_array_equal(*fits)
    other = HMMGLM(2, prior=OneHotPrior(), seed=5, **QUICK).fit(counts).weights_
    assert (other != fits[0]).any()


def test_slices_change_nothing(circuit, fitted, monkeypatch):
    counts = circuit.recording.values[0, :400].reshape(4, 100, N).astype(np.float32)
    states = torch.rand(400, 2, generator=torch.Generator().manual_seed(0))
    found = []
    for size in (2**24, 70 * N * 5):  # one slice, or six of them across presentations
        monkeypatch.setattr(_expectation_maximisation, "SLICE", size)
        em = _expectation_maximisation.EM(counts, 5, torch.device("cpu"), 1, 0.0)
        em.begin(copy.deepcopy(fitted.glm_))
        em.generator = torch.Generator().manual_seed(1)
        em.step(states)
        gradients = torch.cat([p.grad.flatten() for p in em.module.parameters()])
        found.append((len(em.parts), em.emissions(), gradients))
    assert [n for n, _, _ in found] == [1, 6]
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-5)
    np.testing.assert_allclose(found[0][2], found[1][2], atol=1e-3, rtol=1e-4)


def test_presentations_do_not_see_each_other(fitted, circuit):
    parts = circuit.recording.values[0, :200].reshape(2, 100, N)
    together = fitted.predict_proba(parts)
    for part, found in zip(parts, together, strict=True):
        np.testing.assert_allclose(found, fitted.predict_proba(part)[0], atol=1e-5)


def test_a_gaussian_prior_draws_the_states_together(circuit):
    counts = circuit.recording.values[0, :1000]
    start = HMMGLM(2, n_restarts=2, n_iter=6, device="cpu").fit(counts)

    def apart(scale):
        model = HMMGLM(2, prior=GaussianPrior(scale), n_iter=20, device="cpu")
        weights = model.fit(counts, start=start).weights_
        return np.abs(weights[0] - weights[1]).mean()

    assert apart(0.01) < 0.05 * apart(100.0)


def test_choices_are_one_hot_and_their_prior_is_written_out():
    coupling = OneHotCoupling(torch.ones(2, 3, 3), 0.5)
    with torch.no_grad():
        coupling.choice.copy_(torch.randn(2, 3, 3, 3, generator=torch.Generator().manual_seed(0)))
        coupling.wiring.copy_(torch.randn(1, 3, 3, 3, generator=torch.Generator().manual_seed(1)))
    coupling.eval()
    strength, signs = coupling.strength, coupling.adjacency()
    off = ~torch.eye(3, dtype=torch.bool)
    assert torch.equal(coupling.weight()[:, off], (signs * strength)[:, off])
    assert not signs[:, ~off].any()
    a0, choice = coupling.wiring_probability()[0], coupling.choice.detach().softmax(-1)
    common = a0[off].mean(0)
    expected = 0.0
    for n, m in [(n, m) for n in range(3) for m in range(3) if n != m]:
        for c in range(3):
            expected += (a0[n, m, c] * common[c].log()).item()
            expected += sum((choice[s, n, m, c] * a0[n, m, c].log()).item() for s in range(2))
    assert coupling.log_prior().item() == pytest.approx(expected, rel=1e-5)


def test_choices_are_final_in_evaluation_mode(fitted):
    coupling = copy.deepcopy(fitted.glm_.coupling).eval()
    (coupling.weight().sum() + coupling.log_prior()).backward()
    assert coupling.choice.grad is None
    assert coupling.raw_strength.grad is not None
    coupling.train()
    coupling.log_prior().backward()
    assert coupling.choice.grad is not None


def test_gumbel_samples_choose_as_often_as_their_probability():
    coupling = OneHotCoupling(torch.ones(1, 2, 2), 0.01)  # nearly one-hot
    logits = torch.tensor([0.2, 0.3, 0.5]).log()
    with torch.no_grad():
        coupling.choice.copy_(logits.expand(1, 2, 2, 3))
    generator = torch.Generator().manual_seed(0)
    drawn = torch.stack([coupling.weight(generator)[0, 0, 1] for _ in range(4000)]).detach()
    signs = (drawn / coupling.strength[0, 0, 1].detach()).round()
    shares = [(signs == kind).float().mean().item() for kind in (-1, 0, 1)]
    np.testing.assert_allclose(shares, [0.2, 0.3, 0.5], atol=0.03)


def test_from_an_nwb_file_to_states(tmp_path, circuit):
    pynwb = pytest.importorskip("pynwb", reason="pynwb reads NWB files")
    file = pynwb.NWBFile("a session", "id", datetime(2024, 1, 1, tzinfo=UTC))
    counts = circuit.recording.values[0, :400]
    for unit in range(N):
        times = np.repeat(np.arange(400) * 0.02 + 0.01, counts[:, unit])
        file.add_unit(spike_times=times, obs_intervals=[[0.0, 8.0]])
    with pynwb.NWBHDF5IO(str(tmp_path / "a.nwb"), "w") as io:
        io.write(file)
    recording = bregma.read(tmp_path / "a.nwb").bin(0.02)
    np.testing.assert_array_equal(recording.values[0], counts)
    model = HMMGLM(2, **QUICK).fit(recording)
    np.testing.assert_array_equal(model.predict(recording), model.predict(counts))


def test_works_with_scikit_learn(circuit):
    trials = circuit.recording.values[0, :200].reshape(4, 50, N)
    search = GridSearchCV(HMMGLM(**QUICK), {"n_states": [1, 2]}, cv=KFold(2)).fit(trials)
    assert search.best_params_["n_states"] in (1, 2)
    model = HMMGLM(2, prior=OneHotPrior(0.5), seed=3)
    assert clone(model).get_params() == model.get_params()


@pytest.mark.usefixtures("unchecked_types")
def test_what_is_wrong_is_said(fitted, circuit):
    counts = np.ones((20, N))
    for wrong, word in [
        (np.where(np.arange(N) == 2, np.nan, counts), "bin 0, unit 2"),
        (counts - 2, "whole numbers"),
        (counts / 2, "whole numbers"),
        (counts[:0], "none of them 0"),
        (counts[0], "shape"),
        (counts.astype(str), "numbers"),
        (circuit.recording.mean_time(), "no time"),
    ]:
        with pytest.raises(InvalidArgument, match=word):
            HMMGLM(2).fit(wrong)
    with pytest.raises(InvalidArgument, match="1 or more"):
        HMMGLM(0).fit(counts)
    with pytest.raises(InvalidArgument, match="2 units, the model was fitted to 10"):
        fitted.predict(counts[:, :2])
    with pytest.raises(InvalidArgument, match="no spikes"):
        fitted.score(0 * counts)
    with pytest.raises(InvalidArgument, match="start has"):
        HMMGLM(3).fit(counts, start=fitted)
    with pytest.raises(InvalidArgument, match="temperature"):
        OneHotPrior(0)
    with pytest.raises(InvalidArgument, match="scale"):
        GaussianPrior(-1)


def test_silent_units_and_short_recordings_do_no_harm():
    counts = np.zeros((7, 3))
    counts[3, 0] = 1
    model = HMMGLM(3, prior=OneHotPrior(), **QUICK).fit(counts)
    assert np.isfinite(model.score(counts))
    assert np.isfinite(model.weights_).all()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_gives_what_the_cpu_gives(circuit):
    counts = circuit.recording.values[0, :1000]
    start = HMMGLM(2, **QUICK).fit(counts)
    settings = {**QUICK, "prior": GaussianPrior()}
    cpu = HMMGLM(2, **settings).fit(counts, start=start)
    gpu = HMMGLM(2, **{**settings, "device": "cuda"}).fit(counts, start=start)
    assert gpu.glm_.bias.is_cuda
    np.testing.assert_allclose(gpu.weights_, cpu.weights_, atol=1e-2)
    assert gpu.score(counts) == pytest.approx(cpu.score(counts), abs=1e-3)

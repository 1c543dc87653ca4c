"""Penalties against brute force, codes against optimality, dictionaries against the truth."""

from __future__ import annotations

import itertools
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.linear_model import Lasso
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bregma.datasets import planted_codes, sample_images
from bregma.errors import InvalidArgument
from bregma.vision import (
    CEL0Penalty,
    HalfPenalty,
    HardPenalty,
    SoftPenalty,
    SparseCoding,
    competitive_code,
    debias,
    fit_gabor,
    random_patches,
    sparse_code,
    step_length,
    warm_code,
    whitened,
)

PENALTIES = [SoftPenalty, HardPenalty, HalfPenalty, CEL0Penalty]
GRID = torch.linspace(-4, 4, 80_001, dtype=torch.float64)


@pytest.mark.parametrize("penalty", PENALTIES)
@settings(max_examples=25)
@given(
    value=st.floats(-3, 3),
    step=st.floats(0.05, 1.5),
    strength=st.floats(0.01, 2),
)
def test_prox_by_trying_every_number(penalty, value, step, strength):
    """No number on a fine grid does better than the proximal operator."""
    penalty = penalty(strength)

    def objective(z):
        return (z - value) ** 2 / (2 * step) + penalty.cost(z)

    found = penalty.prox(torch.tensor([value], dtype=torch.float64), step)
    assert float(objective(found)) <= float(objective(GRID).min()) + 1e-9
    assert abs(float(found)) <= abs(value) + 1e-9
    assert float(found) * value >= 0


def test_prox_of_cel0_with_long_atoms():
    penalty = CEL0Penalty(0.5, length=1.7)
    for value in (-2.0, 0.3, 0.9, 1.4):
        for step in (0.1, 0.3, 0.6):
            found = penalty.prox(torch.tensor([value], dtype=torch.float64), step)
            costs = (GRID - value) ** 2 / (2 * step) + penalty.cost(GRID)
            here = (found - value) ** 2 / (2 * step) + penalty.cost(found)
            assert float(here) <= float(costs.min()) + 1e-9


@pytest.fixture(scope="module")
def planted():
    return planted_codes(60, pixels=32, atoms=48, active=3, seed=0)


def objective(data, code, penalty):
    error = data.signals - code @ data.dictionary.T
    return 0.5 * error.square().sum(1) + penalty.cost(code).sum(1)


def test_soft_codes_satisfy_the_optimality_conditions_and_equal_scikit_learn(planted):
    strength = 0.1
    code = sparse_code(planted.signals, planted.dictionary, SoftPenalty(strength), steps=5000)
    slope = (planted.signals - code @ planted.dictionary.T) @ planted.dictionary
    active = code != 0
    assert torch.allclose(slope[active], strength * code.sign()[active], atol=2e-3)
    assert (slope[~active].abs() <= strength + 2e-3).all()
    lasso = Lasso(alpha=strength / 32, fit_intercept=False, tol=1e-8, max_iter=10_000)
    peer = lasso.fit(planted.dictionary.double().numpy(), planted.signals.double().numpy().T).coef_
    assert np.abs(peer - code.numpy()).max() < 5e-3


@pytest.mark.parametrize("penalty", PENALTIES)
def test_every_step_lowers_the_objective(planted, penalty):
    penalty = penalty(0.1)
    start = sparse_code(planted.signals, planted.dictionary, SoftPenalty(0.05))
    before = objective(planted, start, penalty)
    for _ in range(20):
        code = sparse_code(planted.signals, planted.dictionary, penalty, start=start, steps=1)
        after = objective(planted, code, penalty)
        assert (after <= before + 1e-5).all()
        start, before = code, after


def test_hard_codes_reach_the_best_of_all_supports():
    """Small enough to try every set of atoms: most codes are the global minimum."""
    data = planted_codes(30, pixels=10, atoms=12, active=2, noise=0.02, seed=1)
    strength = 0.05
    best = torch.full((30,), torch.inf)
    for k in range(4):
        for atoms in itertools.combinations(range(12), k):
            part = data.dictionary[:, atoms]
            rest = data.signals.T - part @ torch.linalg.pinv(part) @ data.signals.T
            best = torch.minimum(best, 0.5 * rest.square().sum(0) + strength * k)
    code = warm_code(data.signals, data.dictionary, HardPenalty, strength, steps=2000)
    found = objective(data, code, HardPenalty(strength))
    assert (found >= best - 1e-4).all()
    assert float((found <= best + 1e-3).float().mean()) > 0.6


def test_competition_settles_on_the_lasso(planted):
    penalty = SoftPenalty(0.1)
    settled = competitive_code(planted.signals, planted.dictionary, penalty, steps=3000)
    descended = sparse_code(planted.signals, planted.dictionary, penalty, steps=5000)
    assert torch.allclose(settled, descended, atol=5e-3)


@pytest.mark.parametrize("penalty", [HardPenalty, HalfPenalty, CEL0Penalty])
def test_competition_ends_where_nothing_moves(planted, penalty):
    penalty = penalty(0.1)
    code = competitive_code(planted.signals, planted.dictionary, penalty, steps=2000)
    error = planted.signals - code @ planted.dictionary.T
    again = penalty.prox(code + error @ planted.dictionary, 1.0)
    settled = (again - code).abs().amax(1) < 1e-2
    assert settled.float().mean() > 0.9
    assert planted.f1(code) > 0.8


def test_orthogonal_dictionaries_in_closed_form():
    torch.manual_seed(0)
    basis = torch.linalg.qr(torch.randn(6, 6)).Q
    signals = torch.randn(5, 6)
    for penalty in (SoftPenalty(0.2), HalfPenalty(0.2)):
        code = sparse_code(signals, basis, penalty, steps=3000, tolerance=0.0)
        assert torch.allclose(code, penalty.prox(signals @ basis, 1.0), atol=1e-3)


def test_debias_is_least_squares(planted):
    soft = sparse_code(planted.signals, planted.dictionary, SoftPenalty(0.2))
    fitted = debias(planted.signals, planted.dictionary, soft)
    assert ((fitted != 0) <= (soft != 0)).all()
    rest = (planted.signals - fitted @ planted.dictionary.T) @ planted.dictionary
    assert rest[soft != 0].abs().max() < 1e-4  # what is left is orthogonal to the active atoms


def test_a_planted_dictionary_is_recovered():
    data = planted_codes(1500, pixels=16, atoms=20, active=2, noise=0.02, seed=2)
    model = SparseCoding(20, HardPenalty(0.1), epochs=10, batch_size=50, steps=10, seed=0)
    model.fit(data.signals.numpy())
    overlap = np.abs(model.dictionary_ @ data.dictionary.numpy()).max(axis=0)
    assert (overlap > 0.95).mean() >= 0.6  # some pairs of atoms share a local optimum
    chance = np.abs(SparseCoding(20, epochs=1, rate=1e-9).fit(
        data.signals.numpy()
    ).dictionary_ @ data.dictionary.numpy()).max(axis=0)  # fmt: skip
    assert (chance > 0.95).mean() == 0


def test_a_penalty_keeps_its_own_settings(planted):
    signals = planted.signals.numpy()
    model = SparseCoding(40, CEL0Penalty(0.1, length=0.5), epochs=1, steps=20).fit(signals)
    atoms = torch.as_tensor(model.dictionary_.T)
    long, short = (
        warm_code(planted.signals, atoms, partial(CEL0Penalty, length=length), 0.1, steps=20)
        for length in (1.0, 0.5)
    )
    assert np.allclose(model.transform(signals), short)
    assert not torch.allclose(short, long)


def test_in_a_pipeline():
    patches = random_patches(np.random.default_rng(0).random((3, 32, 32)), 60, 6, seed=0)
    model = make_pipeline(StandardScaler(), SparseCoding(40, SoftPenalty(0.2), epochs=1, seed=3))
    code = model.fit_transform(patches)
    assert code.shape == (60, 40)
    assert np.array_equal(code, clone(model).fit_transform(patches))
    coder = model[-1]
    rebuilt = coder.inverse_transform(code)
    scaled = model[0].transform(patches)
    assert ((rebuilt - scaled) ** 2).mean() < (scaled**2).mean()
    assert np.allclose(np.linalg.norm(coder.dictionary_, axis=1), 1, atol=1e-5)


def test_whitening_flattens_the_spectrum_of_photographs():
    images = sample_images(20, seed=0, photographs=1.0).array()

    def slope(pictures):
        power = (np.abs(np.fft.fft2(pictures - pictures.mean((1, 2), keepdims=True))) ** 2).mean(0)
        f = np.hypot(np.fft.fftfreq(64)[:, None], np.fft.fftfreq(64))
        band = (f > 0.05) & (f < 0.2)
        return np.polyfit(np.log(f[band]), np.log(power[band]), 1)[0]

    assert slope(images.astype(float)) < -2
    assert abs(slope(whitened(images))) < 1
    patches = random_patches(whitened(images), 50, 8, seed=0)
    assert patches.shape == (50, 64)
    assert np.allclose(patches.mean(1), 0)


def gabor(size, row, column, across, along, frequency, angle, phase):
    y, x = np.mgrid[:size, :size]
    u = (x - column) * np.cos(angle) + (y - row) * np.sin(angle)
    v = (y - row) * np.cos(angle) - (x - column) * np.sin(angle)
    wave = np.cos(2 * np.pi * frequency * u + phase)
    return np.exp(-0.5 * ((u / across) ** 2 + (v / along) ** 2)) * wave


def test_gabors_are_found_again():
    rng = np.random.default_rng(0)
    truth = [
        (5 + rng.random(), 5 + rng.random(), 1.8, 2.5, 0.15 + 0.1 * rng.random(), a, p)
        for a, p in zip(np.linspace(0, 3, 8), np.linspace(0, 6, 8), strict=True)
    ]
    fields = torch.tensor(np.stack([gabor(12, *t) for t in truth]))
    found = fit_gabor(fields)
    assert (found.r2 > 0.98).all()
    assert torch.allclose(found.frequency, torch.tensor([t[4] for t in truth]).double(), atol=0.02)
    gap = (found.orientation - torch.tensor([t[5] for t in truth])).remainder(np.pi)
    assert (torch.minimum(gap, np.pi - gap) < 0.15).all()
    assert torch.allclose(found.centre, torch.tensor([t[:2] for t in truth]).double(), atol=0.6)
    noise = fit_gabor(torch.tensor(rng.standard_normal((8, 12, 12))))
    assert (noise.r2 < 0.5).all()


@pytest.mark.parametrize(
    "wish",
    [
        lambda: SoftPenalty(-1.0),
        lambda: CEL0Penalty(1.0, length=0.0),
        lambda: sparse_code(torch.zeros(0, 2), torch.eye(2), SoftPenalty(1.0)),
        lambda: sparse_code(torch.full((1, 2), torch.nan), torch.eye(2), SoftPenalty(1.0)),
        lambda: sparse_code(torch.ones(1, 2), torch.zeros(2, 2), SoftPenalty(1.0)),
        lambda: sparse_code(torch.ones(1, 2), torch.eye(2), SoftPenalty(1.0), steps=0),
        lambda: competitive_code(torch.ones(1, 2), 2 * torch.eye(2), SoftPenalty(1.0)),
        lambda: competitive_code(torch.ones(1, 2), torch.eye(2), SoftPenalty(1.0), rate=2.0),
        lambda: SparseCoding(0).fit(np.ones((3, 2))),
        lambda: fit_gabor(torch.zeros(1, 4, 4)),
        lambda: fit_gabor(torch.ones(1, 4, 4), steps=0),
        lambda: whitened(np.ones((1, 8, 8))),
        lambda: whitened(np.full((1, 8, 8), np.nan)),
        lambda: random_patches(np.ones((1, 8, 8)), 1, 9, seed=0),
        lambda: planted_codes(1, active=0, seed=0),
    ],
)
def test_impossible_wishes(wish):
    with pytest.raises(InvalidArgument):
        wish()


def test_shapes_that_do_not_fit(unchecked_types):
    with pytest.raises(InvalidArgument):
        sparse_code(torch.ones(1, 3), torch.eye(2), SoftPenalty(1.0))
    with pytest.raises(InvalidArgument):
        sparse_code(torch.ones(1, 2), torch.eye(2), SoftPenalty(1.0), start=torch.ones(2, 2))


def test_step_length_by_hand():
    assert step_length(torch.diag(torch.tensor([1.0, 3.0]))) == pytest.approx(0.99 / 9)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_same_on_a_gpu(planted):
    here = sparse_code(planted.signals, planted.dictionary, HalfPenalty(0.1))
    there = sparse_code(planted.signals.cuda(), planted.dictionary.cuda(), HalfPenalty(0.1))
    assert torch.allclose(here, there.cpu(), atol=1e-3)

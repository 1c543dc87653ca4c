"""Voxels that share a basis: the posterior mean is that of a Gaussian process, and the best."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import DotProduct

from bregma.datasets import shared_voxels
from bregma.errors import InvalidArgument


@pytest.fixture(scope="module")
def world():
    return shared_voxels(2, 200, seed=3)


def test_signals_are_linear_in_white_embeddings(world):
    np.testing.assert_allclose(np.cov(world.train.T), np.eye(16), atol=1e-9)
    for subject in world.subjects:
        np.testing.assert_allclose(subject.signal, world.test @ subject.weights.T)
        outside = subject.weights - subject.weights @ world.basis @ world.basis.T
        assert np.abs(outside).max() < 1e-12


def test_noise_and_reliability_are_what_they_say(world):
    for subject in world.subjects:
        noise = subject.responses - world.train @ subject.weights.T
        assert noise.std() == pytest.approx(world.noise, rel=0.01)
        signal = (world.train @ subject.weights.T).var(axis=0)
        np.testing.assert_allclose(
            subject.reliability, signal / (signal + world.noise**2), rtol=0.01
        )
    average = 4 / (4 + world.noise**2)  # a voxel whose squared weights sum to the rank
    assert average == pytest.approx(0.49)


@pytest.mark.parametrize("n", [1, 3, 20, 200])
def test_the_posterior_mean_is_that_of_a_gaussian_process(world, n):
    """The same prior over functions: their covariance is x B B' x'."""
    x, y = world.train[:n], world.subjects[0].responses[:n, :5]
    process = GaussianProcessRegressor(
        DotProduct(sigma_0=1e-9), alpha=world.noise**2, optimizer=None
    ).fit(x @ world.basis, y)
    expected = process.predict(world.test @ world.basis)
    predicted = world.test @ world.posterior_mean(x, y).T
    np.testing.assert_allclose(predicted, expected.reshape(predicted.shape), rtol=1e-6, atol=1e-6)


def test_nothing_is_better_than_the_posterior_mean(world):
    """Neither other penalties in the basis nor ridge regression without it; and it is unbiased."""
    new = world.subjects[1]
    x, y = world.train[:20], new.responses[:20]
    best = world.posterior_mean(x, y)
    error = ((best - new.weights) ** 2).mean()
    z = x @ world.basis
    for penalty in (0.2, 5.0):
        inner = z.T @ z + penalty * world.noise**2 * np.eye(4)
        other = (world.basis @ np.linalg.solve(inner, z.T @ y)).T
        assert ((other - new.weights) ** 2).mean() > error
    for penalty in (1.0, 10.0, 100.0):
        other = np.linalg.solve(x.T @ x + penalty * np.eye(16), x.T @ y).T
        assert ((other - new.weights) ** 2).mean() > 1.5 * error


def test_the_same_seed_gives_the_same_and_subjects_differ(world):
    again, other = (shared_voxels(2, 200, seed=s) for s in (3, 4))
    assert (again.subjects[1].responses == world.subjects[1].responses).all()
    assert (other.subjects[1].responses != world.subjects[1].responses).all()
    assert (world.subjects[0].weights != world.subjects[1].weights).all()


@pytest.mark.parametrize(
    "wrong",
    [
        {"n_subjects": 0},
        {"n_voxels": 0},
        {"rank": 17},
        {"rank": 0},
        {"features": 62},
        {"ceiling": 1.0},
        {"n_test": 1797},
    ],
)
def test_numbers_out_of_range_are_refused(wrong):
    with pytest.raises(InvalidArgument):
        shared_voxels(**{"n_subjects": 1, "n_voxels": 1, "seed": 0, **wrong})


def test_contexts_that_do_not_fit_are_refused(world, unchecked_types):
    with pytest.raises(InvalidArgument, match="3 embeddings"):
        world.posterior_mean(world.train[:3], world.subjects[0].responses[:4])

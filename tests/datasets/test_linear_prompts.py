"""Prompts of regression: their best guess and its error."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from bregma.datasets import linear_prompts
from bregma.errors import InvalidArgument


def test_the_best_guess_is_ridge_regression_of_scikit_learn():
    prompts = linear_prompts(6, n_features=3, length=10, noise=0.2, seed=1)
    for z, best in zip(prompts.inputs.double().numpy(), prompts.best, strict=True):
        ridge = Ridge(alpha=0.2 * 3, fit_intercept=False).fit(z[:-1, :3], z[:-1, 3])
        assert ridge.predict(z[-1:, :3])[0] == pytest.approx(best.item(), abs=1e-5)
        assert z[-1, 3] == 0


def test_errors_are_those_that_are_expected():
    prompts = linear_prompts(20000, seed=0)
    assert prompts.error(prompts.best) == pytest.approx(prompts.best_error, rel=0.05)
    nothing = torch.zeros(len(prompts))
    assert prompts.error(nothing) == pytest.approx(prompts.chance, rel=0.05)
    assert linear_prompts(2000, length=80, seed=0).best_error < 0.6 * prompts.best_error


def test_the_worlds_are_as_they_say():
    prompts = linear_prompts(5000, n_features=4, length=30, noise=0.3, seed=2)
    x, y = prompts.inputs[:, :-1, :4], prompts.inputs[:, :-1, 4]
    np.testing.assert_allclose(torch.cov(x.flatten(0, 1).T), np.eye(4), atol=0.02)
    assert y.var().item() == pytest.approx(1.3, rel=0.03)
    slope = torch.linalg.lstsq(x, y[..., None]).solution
    left = (y - (x @ slope)[..., 0]).square().sum(1) / (30 - 4)
    assert left.mean().item() == pytest.approx(0.3, rel=0.03)


def test_the_same_seed_gives_the_same():
    one, same, other = (linear_prompts(3, seed=s).inputs for s in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("bad", [{"n": 0}, {"n_features": 0}, {"length": 0}, {"noise": 0.0}])
def test_bad_numbers(bad):
    with pytest.raises(InvalidArgument, match="noise above 0"):
        linear_prompts(**bad, seed=0)


def test_as_many_guesses_as_questions():
    with pytest.raises(InvalidArgument, match="3 questions"):
        linear_prompts(3, seed=0).error(torch.zeros(2))

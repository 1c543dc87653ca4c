"""Fitting readouts: a planted readout is found, and scikit-learn's tools work on it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from bregma.encoding import AttentionReadout, FactorisedReadout, TokenRegressor, blend
from bregma.errors import InvalidArgument

WIDTH, GRID = 6, (2, 2)


def planted(n=240, seed=0):
    """One unit reads place 2; two others the token with the largest first feature."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 4, WIDTH))
    lit = rng.integers(4, size=n)
    x[:, :, 0] = -2
    x[np.arange(n), lit, 0] = 2
    chosen = x[np.arange(n), lit]
    return x, np.stack([x[:, 2, 1], chosen[:, 1], chosen[:, 2] - chosen[:, 3]], axis=1)


def readout():
    return AttentionReadout(WIDTH, ["place", "what", "what"], grid=GRID, seed=0)


SETTINGS = {"epochs": 40, "lr": 2e-2, "batch_size": 32, "seed": 0, "device": "cpu"}


@pytest.fixture(scope="module")
def fitted():
    x, y = planted()
    return TokenRegressor(readout(), **SETTINGS).fit(x, 100 + 5 * y)


def test_a_planted_readout_is_found_with_its_routes(fitted):
    x, y = planted(100, seed=1)
    r = [np.corrcoef(a, b)[0, 1] for a, b in zip(fitted.predict(x).T, y.T, strict=True)]
    assert min(r) > 0.95
    assert fitted.score(x, 100 + 5 * y) > 0.9
    maps = fitted.readout_.attention(fitted.standardised(x)).detach().numpy()
    assert (maps[:, 0].argmax(1) == 2).mean() > 0.95
    assert (maps[:, 1].argmax(1) == x[:, :, 0].argmax(1)).mean() > 0.95


def test_a_fixed_map_finds_the_place_and_not_the_moving_token():
    x, y = planted()
    model = TokenRegressor(FactorisedReadout(WIDTH, range(3), n_tokens=4, seed=0), **SETTINGS)
    x_test, y_test = planted(1000, seed=1)
    predicted = model.fit(x, y).predict(x_test)
    r = [np.corrcoef(a, b)[0, 1] for a, b in zip(predicted.T, y_test.T, strict=True)]
    assert r[0] > 0.95
    assert max(r[1:]) < 0.6  # 1/2 is what the sum of four tokens tells of one


def test_predictions_come_in_the_unit_of_the_responses(fitted):
    x, y = planted(100, seed=1)
    assert np.abs(fitted.predict(x) - (100 + 5 * y)).mean() < 2


def test_the_same_seed_gives_the_same_bits_and_the_module_stays_as_it_was():
    x, y = planted(60)
    module = readout()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    torch.manual_seed(1)
    one = TokenRegressor(module, **{**SETTINGS, "epochs": 2}).fit(x, y).predict(x)
    torch.manual_seed(2)
    same = TokenRegressor(module, **{**SETTINGS, "epochs": 2}).fit(x, y).predict(x)
    other = TokenRegressor(module, **{**SETTINGS, "epochs": 2, "seed": 1}).fit(x, y).predict(x)
    assert (one == same).all()
    assert (one != other).any()
    assert all((before[name] == value).all() for name, value in module.state_dict().items())


def test_what_is_kept_is_the_best_epoch():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((60, 4, WIDTH)), rng.standard_normal((60, 3))  # nothing to learn
    model = TokenRegressor(readout(), **{**SETTINGS, "patience": 3}).fit(x, y)
    assert model.n_epochs_ < 40
    assert model.validation_scores_.shape == (3,)
    shorter = TokenRegressor(readout(), **{**SETTINGS, "epochs": model.n_epochs_}).fit(x, y)
    assert (shorter.predict(x) == model.predict(x)).all()


def test_units_that_never_vary_do_no_harm():
    x, y = planted(60)
    y[:, 1] = 7
    model = TokenRegressor(readout(), **{**SETTINGS, "epochs": 3}).fit(x, y)
    np.testing.assert_allclose(model.predict(x)[:, 1], 7, atol=1)
    assert np.isfinite(model.validation_scores_).all()


def test_tools_of_scikit_learn_work():
    x, y = planted(80)
    model = TokenRegressor(readout(), **{**SETTINGS, "epochs": 2})
    assert clone(model).get_params()["lr"] == 2e-2
    search = GridSearchCV(model, {"lr": [1e-6, 2e-2]}, cv=2).fit(x, y)
    assert search.best_params_ == {"lr": 2e-2}
    assert make_pipeline(model).fit(x, y).predict(x).shape == (80, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y: (x[:, :, 0], y), "stimulus, token, width"),
        (lambda x, y: (x, y[:, 0]), "stimulus, unit"),
        (lambda x, y: (x[:50], y), "50 tokens"),
        (lambda x, y: (x[:10], y[:10]), "held out"),
        (lambda x, y: (np.where(x > 2, np.nan, x), y), "finite"),
        (lambda x, y: (x, y[:, :2]), "predicts"),
        (lambda x, y: (x[:, :3], y), "do not fill the grid"),
        (lambda x, y: (x[:0], y[:0]), "finite"),
    ],
)
def test_data_that_do_not_fit_are_refused(change, message, unchecked_types):
    with pytest.raises(InvalidArgument, match=message):
        TokenRegressor(readout(), epochs=1).fit(*change(*planted(60)))


def test_wrong_use_is_refused(fitted):
    with pytest.raises(NotFittedError):
        TokenRegressor(readout()).predict(planted(5)[0])
    with pytest.raises(InvalidArgument, match="features"):
        fitted.predict(np.zeros((2, 4, WIDTH + 1)))
    with pytest.raises(InvalidArgument, match="1 or more"):
        TokenRegressor(readout(), epochs=0).fit(*planted(60))


def test_blending_is_the_weighted_mean_by_hand():
    rng = np.random.default_rng(0)
    predictions, scores = rng.standard_normal((3, 5, 2)), rng.random((3, 2))
    blended = blend(predictions, scores, sharpness=3.0)
    for unit in range(2):
        weights = np.exp(3 * scores[:, unit])
        weights /= weights.sum()
        for stimulus in range(5):
            expected = sum(weights[m] * predictions[m, stimulus, unit] for m in range(3))
            assert blended[stimulus, unit] == pytest.approx(expected)
    np.testing.assert_allclose(blend(predictions, scores, sharpness=0.0), predictions.mean(0))
    best = predictions[scores.argmax(0), :, np.arange(2)].T
    np.testing.assert_allclose(blend(predictions, scores, sharpness=1e4), best)


def test_blends_that_do_not_fit_are_refused():
    with pytest.raises(InvalidArgument):
        blend(np.full((2, 3, 1), np.nan), np.zeros((2, 1)))
    with pytest.raises(InvalidArgument):
        blend(np.zeros((2, 3, 1)), np.zeros((2, 1)), sharpness=-1.0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_learns_what_the_cpu_learns():
    x, y = planted()
    scores = [
        TokenRegressor(readout(), **{**SETTINGS, "device": name}).fit(x, y).score(x, y)
        for name in ("cpu", "cuda")
    ]
    assert scores[0] == pytest.approx(scores[1], abs=0.02)

"""CKA against its definitions."""

from __future__ import annotations

import numpy as np
import pytest

from bregma.errors import InvalidArgument
from bregma.geometry import CKA


def sides(seed=0, n=14):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 5)) + 2
    return x, x[:, :3] @ rng.standard_normal((3, 8)) + rng.standard_normal((n, 8))


def hsic_biased(k, m):
    centring = np.eye(len(k)) - 1 / len(k)
    return np.trace(k @ centring @ m @ centring)


def hsic_unbiased(k, m):
    """Song et al. (2012), equation 5."""
    n, one = len(k), np.ones(len(k))
    k, m = k - np.diag(np.diag(k)), m - np.diag(np.diag(m))
    total = np.trace(k @ m) + (one @ k @ one) * (one @ m @ one) / ((n - 1) * (n - 2))
    return (total - 2 / (n - 2) * one @ k @ m @ one) / (n * (n - 3))


def rbf(x, bandwidth):
    squared = ((x[:, None] - x) ** 2).sum(-1)
    median = np.median(np.sqrt(squared[np.triu_indices(len(x), 1)]))
    return np.exp(-squared / (2 * (bandwidth * median) ** 2))


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
@pytest.mark.parametrize("debiased", [True, False])
def test_equals_the_definition(kernel, debiased):
    x, y = sides()
    hsic = hsic_unbiased if debiased else hsic_biased
    k, m = (part @ part.T if kernel == "linear" else rbf(part, 0.7) for part in (x, y))
    expected = hsic(k, m) / np.sqrt(hsic(k, k) * hsic(m, m))
    found = CKA(kernel, debiased, 0.7).compare(x, y)
    assert found == pytest.approx(expected, rel=1e-8)


def test_linear_and_biased_is_the_alignment_of_cross_products():
    x, y = sides(1)
    x, y = x - x.mean(0), y - y.mean(0)
    expected = np.linalg.norm(x.T @ y) ** 2 / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y))
    assert CKA(debiased=False).compare(x, y) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_independent_data_score_zero_on_average_only_when_debiased(kernel):
    rng = np.random.default_rng(2)
    pairs = [(rng.standard_normal((12, 60)), rng.standard_normal((12, 50))) for _ in range(400)]
    debiased = np.array([CKA(kernel).compare(x, y) for x, y in pairs])
    biased = np.array([CKA(kernel, debiased=False).compare(x, y) for x, y in pairs])
    assert abs(debiased.mean()) < 4 * debiased.std() / 20
    assert biased.mean() > 0.5


def test_the_bandwidth_stays_when_stimuli_are_left_out():
    x, y = sides(3)
    kept = np.ones((1, 14), dtype=bool)
    kept[0, [2, 5]] = False
    k, m = (rbf(part, 1)[np.ix_(kept[0], kept[0])] for part in (x, y))
    expected = hsic_unbiased(k, m) / np.sqrt(hsic_unbiased(k, k) * hsic_unbiased(m, m))
    assert CKA("rbf").without(x, [y], kept)[0, 0] == pytest.approx(expected, rel=1e-8)


def test_a_large_mean_response_costs_no_digits():
    x, y = sides(4)
    assert CKA().compare(x + 1e6, y) == pytest.approx(CKA().compare(x, y), abs=1e-8)


def test_wide_single_precision_is_summed_in_double(monkeypatch):
    rng = np.random.default_rng(5)
    x, y = rng.standard_normal((10, 300)).astype(np.float32), rng.standard_normal((10, 200))
    whole = CKA().compare(x, y)
    monkeypatch.setattr("bregma.geometry._response_comparison.BLOCK", 70)
    assert CKA().compare(x, y) == pytest.approx(whole, rel=1e-9)
    assert whole == pytest.approx(CKA().compare(x.astype(float), y), rel=1e-9)


def test_messages_say_what_to_do():
    _, y = sides(6)
    with pytest.raises(InvalidArgument, match="bandwidth"):
        CKA("rbf", bandwidth=0.0)
    half = np.zeros((14, 3))
    half[:3] = np.random.default_rng(7).standard_normal((3, 3))
    with pytest.raises(InvalidArgument, match="use the linear kernel"):
        CKA("rbf").compare(half, y)
    odd = object.__new__(CKA)
    object.__setattr__(odd, "kernel", "cubic")  # past the type checker
    with pytest.raises(InvalidArgument, match="neither"):
        CKA.__post_init__(odd)

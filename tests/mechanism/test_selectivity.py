"""What units tell apart: against scikit-learn, brute force, and labels that mean nothing."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from bregma import Recording, TorchSystem
from bregma.errors import InvalidArgument, NotIdentifiable, UnknownName
from bregma.mechanism import lifetime_sparseness, population_sparseness, selectivity


@given(seed=st.integers(0, 10_000), n_classes=st.integers(2, 4))
@settings(max_examples=10)
def test_indices_by_their_definitions(seed, n_classes):
    rng = np.random.default_rng(seed)
    codes = rng.permutation(np.arange(24) % n_classes)
    values = rng.poisson(2 + codes[:, None] * rng.random(5), (24, 5)).astype(float)
    found = selectivity(Recording.from_array(values), codes, n=9, seed=0)
    for u, r in enumerate(values.T):
        means = [r[codes == c].mean() for c in range(n_classes)]
        for c in range(n_classes):
            a, b = r[codes == c], r[codes != c]
            assert found.auroc[u, c] == pytest.approx(roc_auc_score(codes == c, r), abs=1e-12)
            spread = np.sqrt((a.var(ddof=1) + b.var(ddof=1)) / 2)
            if spread > 0:
                assert found.d_prime[u, c] == pytest.approx((a.mean() - b.mean()) / spread)
        top = int(np.argmax(means))
        others = np.mean(means[:top] + means[top + 1 :])
        csi = 0 if means[top] + others == 0 else (means[top] - others) / (means[top] + others)
        assert found.class_selectivity[u] == pytest.approx(csi, abs=1e-12)


def test_p_values_by_brute_force():
    rng = np.random.default_rng(0)
    codes = np.repeat([0, 1], [3, 4])
    values = rng.gamma(2, 1, (7, 3))
    found = selectivity(Recording.from_array(values), codes, n=6000, seed=0)  # all 5040 orders

    def auroc(rows: tuple[int, ...], r: np.ndarray) -> float:
        return abs(roc_auc_score(np.isin(np.arange(7), rows), r) - 0.5)

    nulls = np.array([[auroc(rows, r) for r in values.T] for rows in combinations(range(7), 3)])
    seen = np.array([auroc((0, 1, 2), r) for r in values.T])
    expected = (nulls >= seen - 1e-12).mean(axis=0)
    np.testing.assert_allclose(found.p_values["auroc"], expected)
    family = (nulls.max(axis=1)[:, None] >= seen - 1e-12).mean(axis=0)
    np.testing.assert_allclose(found.p_family["auroc"], family)
    # For two classes this is the exact two-sided test of Mann and Whitney.
    exact = stats.mannwhitneyu(values[:3], values[3:], method="exact").pvalue
    np.testing.assert_allclose(expected, exact)


def test_p_is_uniform_where_labels_mean_nothing():
    rng = np.random.default_rng(1)
    values = rng.standard_normal((30, 400))
    found = selectivity(Recording.from_array(values), np.arange(30) % 3, n=199, seed=0)
    assert found.class_selectivity is None  # negative responses
    for p in found.p_values.values():
        assert stats.kstest(p, "uniform").pvalue > 1e-3
    assert found.to_frame()["p_fdr"].min() > 0.05


def test_a_planted_unit_is_found():
    rng = np.random.default_rng(2)
    category = np.array(["face", "house", "tool"])[np.arange(60) % 3]
    rates = np.full((60, 50), 4.0)
    rates[category == "face", 7] = 14
    session = Recording.from_array(
        rng.poisson(rates).astype(float), presentation={"category": category}
    )
    table = selectivity(session, "category", n=499, seed=0).to_frame("d_prime")
    assert table["p_fwe"].to_numpy().argmin() == 7
    assert table["p_fwe"].iloc[7] < 0.01
    assert table["preferred"].iloc[7] == "face"
    assert (table["p_fwe"].drop(table.index[7]) > 0.01).all()


def test_repeats_are_exchanged_together():
    # 6 stimuli, 20 presentations each: noise of the stimuli is not noise of the presentations.
    rng = np.random.default_rng(3)
    alarms = []
    for seed in range(40):
        of_stimulus = rng.normal(0, 1, (6, 1)).repeat(20, axis=0)
        values = of_stimulus + 0.3 * rng.normal(0, 1, (120, 1))
        stimuli = np.arange(6).repeat(20)
        session = Recording.from_array(values, presentation={"stimulus": stimuli})
        found = selectivity(session, stimuli % 2, n=99, seed=seed)
        assert found.exchanged.startswith("labels of stimuli")
        alarms.append(found.p_values["auroc"][0] < 0.1)
    assert np.mean(alarms) < 0.25
    mixed = selectivity(session, np.arange(120) % 2, n=99, seed=0)
    assert mixed.exchanged.startswith("labels of presentations")


def test_a_stimulus_may_be_a_class_with_all_its_repeats():
    # One stimulus shown twice and eight shown once: exchanged, a class is often one presentation.
    values = np.random.default_rng(4).random((10, 5))
    session = Recording.from_array(values, presentation={"stimulus": [0, 0, *range(1, 9)]})
    codes = np.r_[0, 0, np.ones(8, dtype=int)]
    found = selectivity(session, codes, n=199, seed=0)
    assert found.exchanged.startswith("labels of stimuli")
    arrangements = [np.flatnonzero(session.stimuli == s) for s in range(9)]

    def d_prime(rows: np.ndarray) -> np.ndarray:
        one, other = values[rows], np.delete(values, rows, axis=0)
        spread = one.var(axis=0, ddof=1) if len(one) > 1 else 0
        return abs(one.mean(0) - other.mean(0)) / ((spread + other.var(axis=0, ddof=1)) / 2) ** 0.5

    nulls = np.array([d_prime(rows) for rows in arrangements])  # all that differ, as likely
    expected = (nulls >= nulls[0] - 1e-12).mean(axis=0)
    np.testing.assert_allclose(found.p_values["d_prime"], expected, atol=0.12)
    family = (nulls.max(axis=1)[:, None] >= nulls[0] - 1e-12).mean(axis=0)
    np.testing.assert_allclose(found.p_family["d_prime"], family, atol=0.12)


def test_units_in_pieces(monkeypatch):
    values = np.random.default_rng(5).random((20, 30))
    one = selectivity(Recording.from_array(values), np.arange(20) % 2, n=49, seed=0)
    monkeypatch.setattr("bregma.mechanism.units._selectivity.NUMBERS", 300)  # 3 units at a time
    other = selectivity(Recording.from_array(values), np.arange(20) % 2, n=49, seed=0)
    for name in one.p_values:
        np.testing.assert_array_equal(one.p_values[name], other.p_values[name])
        np.testing.assert_array_equal(one.p_family[name], other.p_family[name])
    np.testing.assert_allclose(one.d_prime, other.d_prime)


def test_units_of_a_network():
    import torch

    from bregma.datasets import digits

    _, test = digits(seed=0)
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(64, 6), torch.nn.ReLU())
    found = selectivity(
        TorchSystem(net, "1").record(test.inputs), test.targets.numpy(), n=99, seed=0
    )
    assert list(found.to_frame().columns[:3]) == ["preferred", "auroc", "d_prime"]
    assert (found.p_family["auroc"] <= 0.01).sum() >= 4  # random units tell digits apart, too


def test_silent_and_steady_units():
    codes = np.arange(8) % 2
    values = np.c_[np.zeros(8), np.full(8, 3.0), codes * 2.0]
    found = selectivity(Recording.from_array(values), codes, n=20, seed=0)
    np.testing.assert_array_equal(found.d_prime[:2], 0)
    np.testing.assert_array_equal(found.auroc[:2], 0.5)
    assert found.class_selectivity.tolist() == [0, 0, 1]
    assert np.isfinite(found.d_prime).all()
    np.testing.assert_array_equal(found.p_values["d_prime"][:2], 1)


@given(st.integers(2, 20), st.integers(1, 20))
def test_sparseness_of_k_equal_answers(n, k):
    k = min(k, n)
    rates = np.zeros((n, 1))
    rates[:k] = 2.5
    assert lifetime_sparseness(rates)[0] == pytest.approx((1 - k / n) / (1 - 1 / n))
    assert population_sparseness(rates.T)[0] == pytest.approx((1 - k / n) / (1 - 1 / n))
    noise = np.random.default_rng(n).random((n, 3))
    np.testing.assert_allclose(lifetime_sparseness(noise), lifetime_sparseness(7 * noise))


def test_what_is_wrong_is_said():
    values = np.random.default_rng(0).random((6, 2))
    plain = Recording.from_array(values)
    with pytest.raises(InvalidArgument, match="labels of shape"):
        selectivity(plain, [0, 1], seed=0)
    with pytest.raises(UnknownName, match="category"):
        selectivity(plain, "category", seed=0)
    with pytest.raises(NotIdentifiable, match="two classes"):
        selectivity(plain, np.zeros(6), seed=0)
    with pytest.raises(NotIdentifiable, match="1 of 1"):
        selectivity(plain, [0, 0, 0, 0, 0, 1], seed=0)
    with pytest.raises(InvalidArgument, match="n must be"):
        selectivity(plain, [0, 1] * 3, n=0, seed=0)
    timed = Recording.from_array(values[:, None], time=[0.0])
    with pytest.raises(InvalidArgument, match="time axis"):
        selectivity(timed, [0, 1] * 3, seed=0)
    with pytest.raises(InvalidArgument, match="time axis"):
        lifetime_sparseness(timed)
    with pytest.raises(InvalidArgument, match="0 or more"):
        lifetime_sparseness(-values)
    with pytest.raises(InvalidArgument, match="finite"):
        population_sparseness(np.full((2, 2), np.nan))
    with pytest.raises(NotIdentifiable, match="at least 2"):
        population_sparseness(values[:, :1])
    found = selectivity(plain, [0, 1] * 3, n=5, seed=0)
    with pytest.raises(UnknownName, match="auroc"):
        found.to_frame("aurok")

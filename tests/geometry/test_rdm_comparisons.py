"""Comparisons of RDMs against rsatoolbox, the definition, and what must hold for each."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bregma.errors import InvalidArgument, NotIdentifiable
from bregma.evidence import source_keys
from bregma.geometry import (
    RDMCosine,
    RDMPearson,
    RDMRhoA,
    RDMSpearman,
    RDMTauA,
    RDMWhitenedCorrelation,
    RDMWhitenedCosine,
)
from bregma.geometry._rdm_comparison import RDMComparison

PEER = {
    "cosine": RDMCosine(),
    "corr": RDMPearson(),
    "spearman": RDMSpearman(),
    "rho-a": RDMRhoA(),
    "tau-a": RDMTauA(),
    "cosine_cov": RDMWhitenedCosine(),
    "corr_cov": RDMWhitenedCorrelation(),
}
ALL = list(PEER.values())
CENTRED = [c for c in ALL if c.name not in ("cosine", "whitened cosine")]
RANKS = [c for c in ALL if c.name in ("Spearman", "rho-a", "tau-a")]


def some_rdms(n_rdms, n_stimuli, seed, *, ties=False):
    """RDMs of random patterns; with ties: rounded, and one of two categories."""
    rng = np.random.default_rng(seed)
    i, j = np.triu_indices(n_stimuli, 1)
    x = rng.normal(size=(n_rdms, n_stimuli, 5))
    rdms = ((x[:, i] - x[:, j]) ** 2).sum(-1)
    if ties:
        rdms = np.round(rdms)
        rdms[0] = rng.permutation(n_stimuli)[i] % 2 != rng.permutation(n_stimuli)[j] % 2
    return rdms


def covariance_of_distances(n):
    """The matrix V that the whitened comparisons never form."""
    i, j = np.triu_indices(n, 1)
    contrast = np.zeros((len(i), n))
    contrast[np.arange(len(i)), i], contrast[np.arange(len(i)), j] = 1, -1
    return (contrast @ contrast.T) ** 2


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("n_stimuli", [4, 5, 13, 92])
@pytest.mark.parametrize("method", PEER)
def test_every_number_equals_rsatoolbox(method, n_stimuli, ties):
    rsatoolbox = pytest.importorskip("rsatoolbox", reason="rsatoolbox is the peer")
    a, b = some_rdms(3, n_stimuli, 1, ties=ties), some_rdms(4, n_stimuli, 2, ties=ties)
    peer = rsatoolbox.rdm.compare(rsatoolbox.rdm.RDMs(a), rsatoolbox.rdm.RDMs(b), method)
    ours = PEER[method].compare(a, b)
    assert ours.shape == (3, 4)
    np.testing.assert_allclose(ours, peer, atol=1e-10)


@pytest.mark.parametrize("n_stimuli", [3, 4, 11])
def test_whitened_cosine_is_that_of_the_full_covariance(n_stimuli):
    a, b = some_rdms(2, n_stimuli, 1), some_rdms(3, n_stimuli, 2)
    inverse = np.linalg.inv(covariance_of_distances(n_stimuli))
    for centre, comparison in ((0, RDMWhitenedCosine()), (1, RDMWhitenedCorrelation())):
        x, y = (z - centre * z.mean(1, keepdims=True) for z in (a, b))
        expected = x @ inverse @ y.T
        expected /= np.sqrt(np.einsum("ip,pq,iq->i", x, inverse, x))[:, None]
        expected /= np.sqrt(np.einsum("ip,pq,iq->i", y, inverse, y))
        np.testing.assert_allclose(comparison.compare(a, b), expected, atol=1e-12)


def test_ranks_equal_scipy_and_the_definition():
    a, b = some_rdms(2, 9, 1, ties=True), some_rdms(3, 9, 2, ties=True)
    spearman = [[stats.spearmanr(x, y).statistic for y in b] for x in a]
    np.testing.assert_allclose(RDMSpearman().compare(a, b), spearman, atol=1e-12)
    sign_a, sign_b = (np.sign(z[:, :, None] - z[:, None, :]) for z in (a, b))
    n = a.shape[1]
    tau = np.einsum("apq,bpq->ab", sign_a, sign_b) / (n * (n - 1))
    np.testing.assert_allclose(RDMTauA().compare(a, b), tau, atol=1e-12)


def test_rho_a_is_spearman_with_ties_broken_at_random():
    a, b = some_rdms(1, 6, 1, ties=True), some_rdms(1, 6, 2)
    rng = np.random.default_rng(0)
    broken = [
        stats.spearmanr(np.lexsort((rng.random(15), a[0])).argsort(), b[0]).statistic
        for _ in range(4000)
    ]
    expected, error = np.mean(broken), np.std(broken) / np.sqrt(len(broken))
    assert abs(RDMRhoA().compare(a, b)[0, 0] - expected) < 4 * error


@pytest.mark.parametrize("comparison", ALL, ids=lambda c: c.name)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), n_stimuli=st.integers(4, 9), scale=st.floats(1e-6, 1e6))
def test_what_holds_for_each(comparison, seed, n_stimuli, scale):
    a, b = some_rdms(2, n_stimuli, seed), some_rdms(2, n_stimuli, seed + 1)
    s = comparison.compare(a, b)
    assert (np.abs(s) <= 1 + 1e-12).all()
    np.testing.assert_allclose(comparison.compare(b, a), s.T, atol=1e-9)  # symmetric
    np.testing.assert_allclose(np.diag(comparison.compare(a, a)), 1, atol=1e-9)
    np.testing.assert_allclose(comparison.compare(a * scale, b), s, atol=1e-8)
    if comparison in CENTRED:
        np.testing.assert_allclose(comparison.compare(a + 3.0, b), s, atol=1e-8)
    if comparison in RANKS:
        np.testing.assert_allclose(comparison.compare(np.exp(a / 50), b), s, atol=1e-9)
    # names of the stimuli do not matter
    i, j = np.triu_indices(n_stimuli, 1)
    square = np.zeros((2, 2, n_stimuli, n_stimuli))
    square[:, :, i, j] = square[:, :, j, i] = np.stack([a, b])
    order = np.random.default_rng(seed).permutation(n_stimuli)
    x, y = square[:, :, order][:, :, :, order][:, :, i, j]
    np.testing.assert_allclose(comparison.compare(x, y), s, atol=1e-9)


@pytest.mark.parametrize("comparison", ALL, ids=lambda c: c.name)
def test_each_is_a_comparison_that_cites_known_sources(comparison):
    assert isinstance(comparison, RDMComparison)
    assert comparison.citations
    assert set(comparison.citations) <= set(source_keys())
    assert comparison == type(comparison)()  # frozen, equal by value
    assert hash(comparison) == hash(type(comparison)())


@pytest.mark.parametrize("comparison", ALL, ids=lambda c: c.name)
def test_the_pool_is_the_best_single_rdm(comparison):
    """No mixture of the RDMs has a higher mean similarity to all (tau-a: up to its heuristic)."""
    rdms = some_rdms(5, 10, 3)
    best = comparison.compare(comparison.pool(rdms)[None], rdms).mean()
    rng = np.random.default_rng(0)
    unit = stats.rankdata(rdms, axis=1) if comparison in RANKS else rdms
    for _ in range(200):
        mixture = comparison.pool(rdms) + 0.3 * rng.normal(size=5) @ unit / np.abs(unit).mean()
        other = comparison.compare(mixture[None], rdms).mean()
        assert other <= best + (0.01 if comparison.name == "tau-a" else 1e-12)


def test_the_pool_of_whitened_comparisons_is_better_than_that_of_rsatoolbox():
    """The peer scales RDMs to equal plain norm before it averages; the optimum is whitened."""
    inference_util = pytest.importorskip("rsatoolbox.util.inference_util")
    from rsatoolbox.rdm import RDMs

    rdms = some_rdms(4, 12, 5)
    rdms[0] = 1 + 0.05 * rdms[0]  # much of its plain norm is a constant
    for method in ("cosine_cov", "corr_cov"):
        theirs = inference_util.pool_rdm(RDMs(rdms), method).get_vectors()
        ours = PEER[method].pool(rdms)[None]
        peer = PEER[method].compare(theirs, rdms).mean()
        assert PEER[method].compare(ours, rdms).mean() > peer + 1e-4


@pytest.mark.parametrize("comparison", CENTRED, ids=lambda c: c.name)
def test_a_constant_rdm_is_named(comparison):
    a, b = some_rdms(3, 6, 0), some_rdms(2, 6, 1)
    b[1] = 2.5
    with pytest.raises(NotIdentifiable, match="RDM 1 of the second set .* are equal"):
        comparison.compare(a, b)
    with pytest.raises(NotIdentifiable, match="RDM 1 of the pool"):
        comparison.pool(b)


def test_zeros_have_no_direction_but_a_constant_has():
    a, b = some_rdms(1, 6, 0), np.full((1, 15), 2.0)
    for comparison in (RDMCosine(), RDMWhitenedCosine()):
        assert 0 < comparison.compare(a, b)[0, 0] < 1
        with pytest.raises(NotIdentifiable, match="RDM 0 of the first set .* zero"):
            comparison.compare(a * 0, b)


@pytest.mark.parametrize("comparison", ALL, ids=lambda c: c.name)
def test_what_does_not_fit_is_refused(comparison):
    with pytest.raises(InvalidArgument, match="10 and 15 pairs"):
        comparison.compare(some_rdms(1, 5, 0), some_rdms(1, 6, 0))
    with pytest.raises(InvalidArgument, match="7 pairs belong to no number"):
        comparison.compare(np.arange(7.0)[None], np.arange(7.0)[None])
    broken = some_rdms(2, 5, 0)
    broken[1, 3] = np.nan
    with pytest.raises(InvalidArgument, match="RDM 1 of the first set holds NaN"):
        comparison.compare(broken, some_rdms(1, 5, 0))

"""Intervals of RDM inference cover the truth and p is uniform under planted nulls.

Larger runs (benchmarks/calibration_rdms.py) are in docs/inference.md. Here, the limits are those
that a procedure covering 93 to 97 % stays within 998 times in 1000; procedures that are not
corrected do not.
"""

from __future__ import annotations

import numpy as np
import pytest
from rdm_population import N_MODELS, Population, fixed, intervals, truth
from scipy import stats

from bregma.geometry import RDMPearson, RDMRhoA, Resamples, bootstrap_rdms, infer_rdms

N_STUDIES = 300
N_STIMULI, N_SUBJECTS = 20, 6
# Scores of the four models and the lower ceiling, from `truth` with 6,000 subjects (minutes).
TRUTH = {
    ("Pearson", "both"): np.array([0.5822, 0.6259, 0.4844, 0.2907, 0.5465]),
    ("rho-a", "both"): np.array([0.5657, 0.6041, 0.4791, 0.2722, 0.5216]),
    ("Pearson", "subject"): np.array([0.5811, 0.6153, 0.4797, 0.3346, 0.5337]),
    ("Pearson", "stimulus"): np.array([0.5773, 0.6251, 0.4802, 0.2844, 0.5441]),
}
BOTH = ("subject", "stimulus")
CEILING, TRUE_MODEL = N_MODELS, 1
TESTS = {
    "score": [(k, None) for k in range(N_MODELS)],
    "model against model": [(0, 1), (0, 2), (0, 3)],
    "ceiling": [(CEILING, None)],
    "model against ceiling": [(0, CEILING), (2, CEILING), (3, CEILING)],
}


def drawn(over="both", n=N_STUDIES):
    held = dict(
        zip(("stimuli", "subjects"), fixed(Population(), over, N_STIMULI, N_SUBJECTS), strict=True)
    )
    return [Population().draw_rdms(seed, N_STIMULI, N_SUBJECTS, **held) for seed in range(n)]


def inferred(studies, comparison, over):
    return [
        intervals(
            infer_rdms(comparison, *study, over=over, n_permutations=19, n_bootstrap=150, seed=seed)
        )
        for seed, study in enumerate(studies)
    ]


def coverage(found, true, test):
    """Share of the studies whose 95 % interval of an estimate, or a difference, holds the truth."""
    i, j = test
    target = true[i] - (0 if j is None else true[j])
    return np.mean([ends[test][0] <= target <= ends[test][1] for ends in found])


def calibrated(rate, n=N_STUDIES, low=0.93, high=0.97):
    return stats.binom.ppf(0.001, n, low) / n <= rate <= stats.binom.ppf(0.999, n, high) / n


@pytest.mark.parametrize(("measure", "over"), TRUTH)
def test_what_is_taken_for_the_truth(measure, over):
    comparison = {"Pearson": RDMPearson(), "rho-a": RDMRhoA()}[measure]
    few = truth(Population(), comparison, N_SUBJECTS, over=over, n_stimuli=N_STIMULI, n_groups=30)
    np.testing.assert_allclose(few, TRUTH[measure, over], atol=0.03)


@pytest.fixture(scope="module")
def studies():
    return drawn()


@pytest.fixture(scope="module")
def found(studies):
    return {c.name: inferred(studies, c, BOTH) for c in (RDMPearson(), RDMRhoA())}


@pytest.mark.parametrize("comparison", [RDMPearson(), RDMRhoA()], ids=lambda c: c.name)
@pytest.mark.parametrize("question", TESTS)
def test_intervals_over_stimuli_and_subjects_cover(found, question, comparison):
    true = TRUTH[comparison.name, "both"]
    rates = [coverage(found[comparison.name], true, test) for test in TESTS[question]]
    assert all(map(calibrated, rates)), rates


def test_intervals_of_the_true_model_below_its_ceiling_are_cautious(found):
    """The noise of subjects and stimuli cancels there; what is left is overestimated."""
    true = TRUTH["Pearson", "both"]
    assert coverage(found["Pearson"], true, (TRUE_MODEL, CEILING)) >= 0.93


@pytest.mark.parametrize("over", ["subject", "stimulus"])
@pytest.mark.parametrize("question", TESTS)
def test_intervals_over_one_factor_cover(over, question, one_factor):
    true = TRUTH["Pearson", over]
    rates = [coverage(one_factor[over], true, test) for test in TESTS[question]]
    assert all(map(calibrated, rates)), rates


@pytest.fixture(scope="module")
def one_factor():
    return {o: inferred(drawn(o), RDMPearson(), (o,)) for o in ("subject", "stimulus")}


def test_a_standard_error_over_subjects_alone_does_not_cover_new_stimuli(studies):
    """The usual t-test over subjects, taken to speak about stimuli too."""
    true = TRUTH["Pearson", "both"]
    naive = inferred(studies[:200], RDMPearson(), ("subject",))
    rates = [coverage(naive, true, test) for test in TESTS["score"]]
    assert not any(calibrated(rate, 200) for rate in rates)
    assert max(rates) < 0.88


def test_an_uncorrected_bootstrap_of_both_covers_too_much(studies):
    """Variance between samples of subjects and stimuli at once, t with the smaller n - 1."""
    true = TRUTH["Pearson", "both"]
    limit = stats.t.ppf(0.975, min(N_STIMULI, N_SUBJECTS) - 1)
    hits = []
    for seed, (data, models) in enumerate(studies):
        values = np.concatenate([m.values for m in models])
        resamples = Resamples.draw(200, n_stimuli=N_STIMULI, n_subjects=N_SUBJECTS, seed=seed)
        got = bootstrap_rdms(RDMPearson(), data.values, values, resamples)
        score = RDMPearson().compare(data.values, values).mean(0)
        against_ceiling = got.scores[0] - got.lower[0][:, None]
        lower = RDMPearson().resample(
            data.values[None], values, subject=np.arange(N_SUBJECTS),
            stimulus=np.ones((1, N_STIMULI), np.int64),
            multiplicity=np.ones((1, 1, N_SUBJECTS), np.int64),
        ).lower.mean()  # fmt: skip
        error = np.append(score, score - lower) - np.append(true[:-1], true[:-1] - true[-1])
        spread = np.append(got.scores[0].std(0), against_ceiling.std(0))
        hits.append(np.abs(error) <= limit * spread)
    rates = np.mean(hits, 0)
    assert not all(map(calibrated, rates[N_MODELS:]))
    assert rates.mean() > 0.98


def test_p_is_uniform_where_nothing_corresponds():
    """Scores of models, and the ceiling: exact whatever the distribution of the data."""
    p, p_ceiling = [], []
    for seed in range(300):
        study = Population().draw_rdms(seed, 10, 4, related=False)
        one = infer_rdms(RDMPearson(), *study, n_permutations=99, n_bootstrap=10, seed=seed)
        p.append((1 + (one.null >= one.scores).sum(0)) / 100)
        p_ceiling.append(one.ceiling.p_value)
    for values in (*np.transpose(p), p_ceiling):
        # multiples of 1/100: spread within their step before they are compared with uniform
        jitter = np.random.default_rng(0).random(300) / 100
        assert stats.kstest(np.asarray(values) - jitter, "uniform").pvalue > 1e-3
        assert calibrated(1 - np.mean(np.asarray(values) <= 0.05), 300)


def test_p_is_small_where_something_corresponds():
    p, p_ceiling = [], []
    for seed in range(40):
        one = infer_rdms(RDMPearson(), *Population().draw_rdms(seed, 16, 4), n_permutations=99,
                         n_bootstrap=10, seed=seed)  # fmt: skip
        p.append((1 + (one.null >= one.scores).sum(0)) / 100)
        p_ceiling.append(one.ceiling.p_value)
    assert np.mean(np.array(p)[:, TRUE_MODEL] <= 0.05) > 0.95
    assert np.mean(np.array(p_ceiling) <= 0.05) > 0.95


def test_near_the_ceiling_the_usual_t_covers_too_rarely():
    """Two good models of 5 features; cube roots of the gap bring back half of what is missing."""
    people, good = Population(n_features=5, spread=0.6), (0, 2)
    true = {0: 0.7353 - 0.7833, 2: 0.7542 - 0.7833}  # from `truth` with 3,000 subjects
    plain, ours = [], []
    for seed in range(N_STUDIES):
        found = infer_rdms(RDMPearson(), *people.draw_rdms(seed, 40, 8), n_permutations=19,
                           n_bootstrap=100, seed=seed)  # fmt: skip
        ends, v = intervals(found), found.covariance
        for k in good:
            half = stats.t.ppf(0.975, found.dof_of(k, -1)) * np.sqrt(
                v[k, k] + v[-1, -1] - 2 * v[k, -1]
            )
            plain.append(abs(found.scores[k] - found.ceiling.lower - true[k]) <= half)
            ours.append(ends[k, CEILING][0] <= true[k] <= ends[k, CEILING][1])
    assert np.mean(plain) < 0.89
    assert np.mean(ours) > max(np.mean(plain) + 0.02, 0.89)

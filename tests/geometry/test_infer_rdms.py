"""Inference of RDMs: what it gives, what it refuses, and its parts by brute force."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from rdm_population import Population

import bregma
from bregma.errors import InvalidArgument, NotIdentifiable, UnknownName
from bregma.evidence import assemble
from bregma.geometry import (
    RDMCosine,
    RDMPearson,
    RDMRhoA,
    RDMSpearman,
    RDMTauA,
    RDMWhitenedCorrelation,
    RDMWhitenedCosine,
    infer_rdms,
    score_rdms,
)
from bregma.recording import Dissimilarity

ALL = [
    RDMCosine(),
    RDMPearson(),
    RDMSpearman(),
    RDMRhoA(),
    RDMTauA(),
    RDMWhitenedCosine(),
    RDMWhitenedCorrelation(),
]
FEW = {"n_permutations": 30, "n_bootstrap": 40, "seed": 0}
named = pytest.mark.parametrize("comparison", ALL, ids=lambda c: c.name)


def study(n_stimuli=12, n_subjects=4, seed=0):
    return Population().draw_rdms(seed, n_stimuli, n_subjects)


def evidence(inferred, level=0.95):
    models = [str(k) for k in range(len(inferred.scores))]
    return assemble(inferred, brain="b", models=models, method="m", settings={}, seed=0,
                    level=level)  # fmt: skip


def in_order(rdms, order):
    square = Dissimilarity(rdms).square()[:, order][:, :, order]
    return square[:, *np.triu_indices(len(order), 1)]


@named
def test_scores_ceiling_and_null_by_definition(comparison):
    data, models = study()
    found = infer_rdms(comparison, data, models, **FEW)
    values = np.concatenate([m.values for m in models])
    similar = comparison.compare(data.values, values)
    np.testing.assert_allclose(found.per_subject, similar, atol=1e-12)
    np.testing.assert_allclose(found.scores, similar.mean(0), atol=1e-12)
    np.testing.assert_allclose(score_rdms(comparison, data, models), found.scores, atol=1e-12)
    left_out = [
        comparison.compare(data.values[[r]], comparison.pool(np.delete(data.values, r, 0))[None])
        for r in range(4)
    ]
    pool = comparison.pool(data.values)[None]
    assert found.ceiling.lower == pytest.approx(np.mean(left_out), abs=1e-12)
    upper = comparison.compare(data.values, pool).mean()
    assert found.ceiling.upper == pytest.approx(upper, abs=1e-12)
    assert found.null.shape == (30, 4)
    again = infer_rdms(comparison, data, models, **FEW)
    for name in ("covariance", "dof", "null"):
        assert np.array_equal(getattr(found, name), getattr(again, name))


@named
def test_null_is_the_score_of_relabelled_models(comparison):
    data, models = study(n_stimuli=4, n_subjects=3)
    found = infer_rdms(comparison, data, models[:2], over=("subject",), n_permutations=24,
                       n_bootstrap=20, seed=0)  # fmt: skip
    assert found.exact
    assert found.n_arrangements == 24
    values = np.concatenate([m.values for m in models[:2]])
    expected = [
        comparison.compare(data.values, in_order(values, list(order))).mean(0)
        for order in permutations(range(4))
    ]
    np.testing.assert_allclose(found.null, expected, atol=1e-10)
    np.testing.assert_allclose(found.null[0], found.scores, atol=1e-12)


@named
def test_variance_is_the_jackknife_of_smaller_studies(comparison):
    data, models = study(n_stimuli=10, n_subjects=4)
    found = infer_rdms(comparison, data, models[:2], **FEW)
    stimuli = data.stimuli

    def score(keep_stimuli, keep_subjects):
        fewer = Dissimilarity(data.values[keep_subjects], stimuli=stimuli)
        fewer = fewer.select_stimuli(stimuli[keep_stimuli])
        small = [m.select_stimuli(stimuli[keep_stimuli]) for m in models[:2]]
        return score_rdms(comparison, fewer, small)

    n, r = np.arange(10), np.arange(4)
    no_stimulus = np.array([score(n != i, r >= 0) for i in n])
    no_subject = np.array([score(n >= 0, r != s) for s in r])
    neither = np.array([[score(n != i, r != s) for s in r] for i in n])
    both = neither - neither.mean(0) - neither.mean(1)[:, None] + neither.mean((0, 1))
    over_stimuli = 9 * no_stimulus.var(0)
    over_subjects = 3 * no_subject.var(0)
    shared = 9 * 3 / 40 * (both**2).sum((0, 1))
    variance = np.maximum(over_stimuli + over_subjects - shared,
                          np.maximum(over_stimuli, over_subjects))  # fmt: skip
    np.testing.assert_allclose(np.diag(found.covariance)[:2], variance, rtol=1e-6)
    alone = infer_rdms(comparison, data, models[:2], over=("stimulus",), **FEW)
    np.testing.assert_allclose(np.diag(alone.covariance)[:2], over_stimuli, rtol=1e-6)
    alone = infer_rdms(comparison, data, models[:2], over=("subject",), **FEW)
    np.testing.assert_allclose(np.diag(alone.covariance)[:2], over_subjects, rtol=1e-6)
    assert (np.diag(alone.dof) == 3).all()


def test_sessions_of_a_subject_come_and_go_together():
    data, models = study(n_subjects=6)
    table = {"subject": ["a", "a", "b", "b", "b", "c"], "session": [1, 2, 1, 2, 3, 1]}
    nested = Dissimilarity(data.values, rdms=table)
    found = infer_rdms(RDMPearson(), nested, models, **FEW)
    similar = RDMPearson().compare(data.values, np.concatenate([m.values for m in models]))
    per_subject = [similar[:2].mean(0), similar[2:5].mean(0), similar[5]]
    np.testing.assert_allclose(found.per_subject, per_subject)
    np.testing.assert_allclose(found.scores, np.mean(per_subject, 0))
    assert found.n == {"stimuli": 12, "subjects": 3, "rdms": 6}
    subjects_only = infer_rdms(RDMPearson(), nested, models, over=("subject",), **FEW)
    spread = np.var(per_subject, axis=0, ddof=1) / 3
    np.testing.assert_allclose(np.diag(subjects_only.covariance)[:4], spread)
    each = infer_rdms(RDMPearson(), nested, models, subject="session", **FEW)
    assert each.n["subjects"] == 3
    flat = infer_rdms(RDMPearson(), data, models, **FEW)
    assert flat.n["subjects"] == 6


@named
def test_nothing_depends_on_the_order_of_stimuli_models_or_subjects(comparison):
    data, models = study(seed=3)
    found = infer_rdms(comparison, data, models, **FEW)
    order = np.random.default_rng(0).permutation(data.stimuli)
    mixed = infer_rdms(
        comparison,
        Dissimilarity(data.values[::-1], stimuli=data.stimuli).select_stimuli(order),
        models[::-1],
        **FEW,
    )
    back = [3, 2, 1, 0, 4]
    np.testing.assert_allclose(mixed.scores[::-1], found.scores, atol=1e-12)
    assert mixed.ceiling.lower == pytest.approx(found.ceiling.lower, abs=1e-12)
    scores = np.ix_(back[:4], back[:4])
    np.testing.assert_allclose(mixed.covariance[scores], found.covariance[:4, :4], atol=1e-12)


@named
@pytest.mark.parametrize(("n_stimuli", "n_subjects"), [(6, 2), (6, 8), (7, 1), (30, 2)])
def test_small_problems_give_finite_numbers(comparison, n_stimuli, n_subjects):
    data, models = study(n_stimuli, n_subjects)
    found = evidence(infer_rdms(comparison, data, models, **FEW))
    for one in found:
        assert np.isfinite([one.score, one.interval.low, one.interval.high, one.p_value]).all()
    assert len(found.pairwise) == 6


def test_one_subject_has_an_interval_over_stimuli_and_no_ceiling():
    data, models = study(n_subjects=1)
    found = infer_rdms(RDMPearson(), data, models, **FEW)
    assert found.ceiling is None
    assert found.ceiling_reason == "one subject has no other to be predicted from"
    with pytest.raises(NotIdentifiable, match=r"1 subject: .* over=\('stimulus',\)"):
        infer_rdms(RDMPearson(), data, models, over=("subject",), **FEW)
    twice = Dissimilarity(np.repeat(data.values, 2, 0), rdms={"subject": ["a", "a"]})
    found = infer_rdms(RDMPearson(), twice, models, **FEW)
    assert "(of 2 RDMs)" in found.ceiling_reason


def test_two_subjects_have_a_ceiling_that_cannot_vary():
    data, models = study(n_subjects=2)
    found = infer_rdms(RDMPearson(), data, models, **FEW)
    between = RDMPearson().compare(data.values, data.values)[0, 1]
    assert found.ceiling.lower == pytest.approx(between)
    assert not found.ceiling_varies
    first = evidence(found)[0]
    assert first.ceiling.p_value == found.ceiling.p_value
    assert first.ceiling.interval is None
    assert first.normalised is None
    assert "2 subjects have a single similarity" in first.ceiling_reason
    over_stimuli = infer_rdms(RDMPearson(), data, models, over=("stimulus",), **FEW)
    assert over_stimuli.ceiling_varies


def test_few_stimuli_are_refused_with_what_can_be_reached():
    data, models = study(n_stimuli=5)
    reason = r"not identifiable with 5 stimuli: .* at least 6.* can be reached is 1/120"
    with pytest.raises(NotIdentifiable, match=reason):
        infer_rdms(RDMPearson(), data, models, **FEW)
    found = evidence(infer_rdms(RDMPearson(), data, models, over=("subject",),
                                n_permutations=1000, n_bootstrap=20, seed=0))  # fmt: skip
    assert found[0].p_value >= 1 / 120 - 1e-12
    data, models = study(n_stimuli=3)
    three = infer_rdms(RDMSpearman(), data, models, over=("subject",), **FEW)
    with pytest.raises(NotIdentifiable, match=r"smallest p that can be reached is 0\.167"):
        evidence(three)
    data, models = study(n_stimuli=5, n_subjects=1)
    with pytest.raises(NotIdentifiable, match=r"Use more stimuli\. Exchanging 5 labels"):
        infer_rdms(RDMPearson(), data, models, **FEW)


def test_what_does_not_fit_is_refused():
    data, models = study()
    with pytest.raises(UnknownName, match="no factor to generalise over 'voxel'"):
        infer_rdms(RDMPearson(), data, models, over=("voxel",), **FEW)
    with pytest.raises(InvalidArgument, match="at least one model"):
        infer_rdms(RDMPearson(), data, [], **FEW)
    with pytest.raises(InvalidArgument, match="model number 0 has 4 RDMs"):
        infer_rdms(RDMPearson(), data, [data], **FEW)
    other = Dissimilarity(models[0].values, stimuli=[f"x{i}" for i in range(12)], name="far")
    with pytest.raises(InvalidArgument, match="model 'far' is not over the stimuli"):
        infer_rdms(RDMPearson(), data, [other], **FEW)
    flat = Dissimilarity(np.ones(66))
    with pytest.raises(NotIdentifiable, match="RDM 1 of the second set"):
        infer_rdms(RDMPearson(), data, [models[0], flat], **FEW)


def test_a_model_of_one_odd_stimulus_is_constant_without_it_and_still_finite():
    data, _ = study()
    odd = (np.arange(12) == 3)[np.triu_indices(12, 1)[0]] | (np.arange(12) == 3)[
        np.triu_indices(12, 1)[1]
    ]
    found = infer_rdms(RDMPearson(), data, [Dissimilarity(odd.astype(float))], **FEW)
    assert np.isfinite(found.covariance).all()


def test_identical_models_do_not_differ():
    data, models = study()
    found = evidence(infer_rdms(RDMPearson(), data, [models[0], models[0]], **FEW))
    assert found.pairwise["difference"].iloc[0] == 0
    assert found.pairwise["p"].iloc[0] == 1


def test_human_and_monkey_inferotemporal_cortex_correspond(shared_data):
    """The mean RDMs correlate with 0.49 (Kriegeskorte et al., 2008); 4 subjects, 2 sessions."""
    folder = shared_data / "inferotemporal92"
    human = bregma.read(folder / "92_brainRDMs.mat")
    both = bregma.read(folder / "Kriegeskorte_Neuron2008_supplementalData.mat")
    monkey = Dissimilarity(both.select(name="mIT_674neurons").values, stimuli=human.stimuli)
    found = infer_rdms(RDMSpearman(), human, [monkey], n_permutations=200, seed=0)
    assert found.n == {"stimuli": 92, "subjects": 4, "rdms": 8}
    one = evidence(found)[0]
    assert one.interval.low > 0
    assert one.p_value == pytest.approx(1 / 201)
    assert one.ceiling.p_value == pytest.approx(1 / 201)
    assert one.ceiling.interval.low > 0
    published = RDMPearson().compare(human.mean().values, monkey.values)[0, 0]
    assert published == pytest.approx(0.49, abs=0.01)

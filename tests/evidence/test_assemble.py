"""From raw numbers to evidence, against formulas written out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from example_evidence import evidence_set, inferred
from jaxtyping import TypeCheckError
from scipy import stats

from bregma.errors import InvalidArgument, NotIdentifiable, UnknownName
from bregma.evidence import Ceiling, Null

COV = np.array(
    [
        [0.010, 0.004, 0.002, 0.003],
        [0.004, 0.012, 0.005, 0.004],
        [0.002, 0.005, 0.008, 0.002],
        [0.003, 0.004, 0.002, 0.006],
    ]
)


def test_intervals_are_score_plus_minus_t_standard_errors():
    e = evidence_set(covariance=COV, level=0.9)["V1"]
    half = stats.t.ppf(0.95, 19) * math.sqrt(0.012)
    assert e.interval.low == pytest.approx(0.5 - half)
    assert e.interval.high == pytest.approx(0.5 + half)
    assert e.interval.level == 0.9
    assert e.n == {"stimuli": 20, "subjects": 4}
    assert e.seed == 7
    assert len(e.per_subject) == 4


def test_pairwise_tests_use_the_covariance():
    row = (
        evidence_set(covariance=COV).pairwise.set_index(["model_a", "model_b"]).loc["pixels", "V1"]
    )
    error = math.sqrt(0.010 + 0.012 - 2 * 0.004)
    assert row["difference"] == pytest.approx(-0.3)
    assert row["t"] == pytest.approx(-0.3 / error)
    assert row["p"] == pytest.approx(2 * stats.t.sf(0.3 / error, 19))
    assert row["low"] == pytest.approx(-0.3 - stats.t.ppf(0.975, 19) * error)


def test_the_ceiling_gets_its_own_uncertainty_and_test():
    evidences = evidence_set(covariance=COV)
    ceiling = evidences[0].ceiling
    error = math.sqrt(0.006)
    assert ceiling.interval.high == pytest.approx(0.6 + stats.t.ppf(0.975, 19) * error)
    assert ceiling.p_value == pytest.approx(stats.t.sf(0.6 / error, 19))


def against(model, **changes):
    table = evidence_set(covariance=COV, **changes).against_ceiling
    return table.set_index("model").loc[model]


def test_the_gap_to_the_upper_ceiling_is_tested_on_cube_roots():
    """An end of the interval is a gap whose cube root is t standard errors from the observed."""
    upper, error, t = 0.8, math.sqrt(0.012 + 0.006 - 2 * 0.004), stats.t.ppf(0.975, 19)
    row = against("V1")
    root, root_error = np.cbrt(upper - 0.5), error / 3 * (upper - 0.5) ** (-2 / 3)
    for end, sign in ((row["low"], 1), (row["high"], -1)):
        gap = upper - (0.6 + end)  # of a model at this end
        assert np.cbrt(gap) == pytest.approx(root + sign * t * root_error)
    assert row["t"] == pytest.approx((np.cbrt(upper - 0.6) - root) / root_error)  # at the lower one
    assert row["p"] == pytest.approx(2 * stats.t.sf(abs(row["t"]), 19))
    assert row["low"] < row["difference"] < row["high"]


def test_far_below_the_upper_ceiling_it_is_the_usual_t_test():
    row = against("V1", ceiling=Ceiling(0.6, 1000.0, "reliability", "leave one out"))
    error = math.sqrt(0.012 + 0.006 - 2 * 0.004)
    assert row["t"] == pytest.approx(-0.1 / error, rel=1e-3)
    assert row["low"] == pytest.approx(-0.1 - stats.t.ppf(0.975, 19) * error, rel=1e-3)
    assert row["high"] == pytest.approx(-0.1 + stats.t.ppf(0.975, 19) * error, rel=1e-3)


@pytest.mark.parametrize("upper", [0.6, 0.66, 0.66 + 1e-9])
def test_a_model_at_the_upper_ceiling_has_a_bounded_interval(upper):
    row = against("cnn", ceiling=Ceiling(0.6, upper, "reliability", "leave one out"))
    error = math.sqrt(0.008 + 0.006 - 2 * 0.002)
    assert row["high"] == pytest.approx(0.06 + error / math.sqrt(2), rel=1e-4)  # no gap is left
    assert 0.06 - 6 * error < row["low"] < 0.06 - 2 * error
    assert 0 < row["t"] < 0.06 / error


def test_the_test_against_the_ceiling_and_its_interval_agree():
    decided = set()
    for score in np.linspace(0.1, 0.78, 35):
        row = against("cnn", scores=np.array([0.2, 0.5, score]))
        assert (row["p"] < 0.05) == (not row["low"] <= 0 <= row["high"])
        decided.add(bool(row["p"] < 0.05))
    assert decided == {True, False}


def test_fieller_solves_its_quadratic():
    # the interval is where (score - r * ceiling)^2 = t^2 * var(score - r * ceiling)
    e = evidence_set(covariance=COV)["V1"]
    for r in (e.normalised_interval.low, e.normalised_interval.high):
        variance = COV[1, 1] - 2 * r * COV[1, 3] + r**2 * COV[3, 3]
        assert (0.5 - r * 0.6) ** 2 == pytest.approx(stats.t.ppf(0.975, 19) ** 2 * variance)
    assert e.normalised == pytest.approx(0.5 / 0.6)
    assert e.normalised in e.normalised_interval


def test_fieller_becomes_the_delta_method_for_a_precise_ceiling():
    tight = COV * 1e-4
    e = evidence_set(covariance=tight)["V1"]
    r = 0.5 / 0.6
    delta = math.sqrt(tight[1, 1] - 2 * r * tight[1, 3] + r**2 * tight[3, 3]) / 0.6
    half = (e.normalised_interval.high - e.normalised_interval.low) / 2
    assert half == pytest.approx(stats.t.ppf(0.975, 19) * delta, rel=1e-3)


def test_the_ceilings_uncertainty_widens_the_share():
    sharp = np.diag([0.01, 0.01, 0.01, 1e-12])
    noisy = np.diag([0.01, 0.01, 0.01, 0.01])
    width = [
        e.normalised_interval.high - e.normalised_interval.low
        for e in (evidence_set(covariance=c)["V1"] for c in (sharp, noisy))
    ]
    assert width[1] > 1.1 * width[0]


@pytest.mark.parametrize("lower", [-0.1, 0.0, 0.05])
def test_no_share_of_a_ceiling_that_may_be_zero(lower):
    ceiling = Ceiling(lower, 0.8, "reliability", "leave one out")
    e = evidence_set(ceiling=ceiling)["V1"]
    assert e.normalised is None
    assert e.ceiling is not None
    assert "cannot be told from zero" in e.ceiling_reason


def test_without_a_ceiling_the_reason_is_kept():
    changes = {"ceiling": None, "covariance": COV[:3, :3]}
    with pytest.raises(InvalidArgument, match="ceiling_reason"):
        inferred(**changes)
    evidences = evidence_set(**changes, ceiling_reason="a single subject has no ceiling")
    assert evidences[0].ceiling is None
    assert evidences[0].ceiling_reason == "a single subject has no ceiling"
    assert evidences.against_ceiling.empty
    assert len(evidences.pairwise) == 3
    # a covariance with an unused last row is as good
    again = evidence_set(**{**changes, "covariance": COV}, ceiling_reason="a single subject")
    assert again.pairwise.equals(evidences.pairwise)


def test_a_ceiling_that_brings_its_p_value_keeps_it():
    ceiling = Ceiling(0.6, 0.8, "reliability", "leave one out", p_value=0.004)
    assert evidence_set(ceiling=ceiling)[0].ceiling.p_value == 0.004


def test_a_ceiling_without_variance_has_no_test():
    e = evidence_set(covariance=np.diag([0.01, 0.01, 0.01, 0.0]))[0]
    assert e.ceiling.p_value is None
    assert e.normalised_interval.high - e.normalised == pytest.approx(
        stats.t.ppf(0.975, 19) * 0.1 / 0.6
    )


@pytest.mark.parametrize(("count", "smallest"), [(6.0, "0.167"), (1.0, "1"), (19.0, "0.0526")])
def test_too_few_arrangements_name_the_smallest_p(count, smallest):
    with pytest.raises(NotIdentifiable, match=f"smallest p that can be reached is {smallest};"):
        evidence_set(n_arrangements=count)


def test_twenty_arrangements_reach_five_per_cent():
    assert evidence_set(n_arrangements=20.0)


def test_too_few_draws_say_how_many():
    with pytest.raises(NotIdentifiable, match="at least 19"):
        evidence_set(null=np.zeros((18, 3)))
    assert evidence_set(null=np.zeros((19, 3)))
    with pytest.raises(InvalidArgument, match="no draws"):
        evidence_set(null=np.zeros((0, 3)))


def test_an_exact_null_counts_without_adding_one():
    null = np.linspace(-1, 0.66, 24)[:, None] * np.ones(3)  # its largest is the score of cnn
    null[-1] = [0.2, 0.5, 0.66]
    e = evidence_set(null=null, n_arrangements=24.0, exact=True)["cnn"]
    assert e.p_value == 1 / 24


def test_p_is_never_zero_nor_nan_for_overwhelming_differences():
    sharp = evidence_set(covariance=np.diag([1e-16, 1e-16, 1e-16, 1e-16]), dof=400)
    assert (sharp.pairwise["p"] > 0).all()
    assert np.isfinite(sharp.pairwise["t"]).all()


def test_twins_of_one_model_are_equal_and_not_a_division_by_zero():
    same = np.full((4, 4), 0.01)
    same[3] = same[:, 3] = [0, 0, 0, 0.004]
    row = evidence_set(scores=np.array([0.5, 0.5, 0.5]), covariance=same).pairwise.iloc[0]
    assert (row["t"], row["p"], row["low"], row["high"]) == (0.0, 1.0, 0.0, 0.0)


def test_a_difference_that_does_not_vary_is_refused():
    with pytest.raises(NotIdentifiable, match="does not vary"):
        evidence_set(covariance=np.full((4, 4), 0.01))


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"covariance": np.eye(3)}, InvalidArgument),
        ({"covariance": np.full((4, 4), np.nan)}, InvalidArgument),
        ({"covariance": -np.eye(4)}, InvalidArgument),
        ({"scores": np.array([0.1, np.nan, 0.2])}, InvalidArgument),
        ({"dof": 0}, NotIdentifiable),
        ({"models": ["a", "b"]}, InvalidArgument),
        ({"models": ["a", "a", "b"]}, InvalidArgument),
        ({"level": 1.0}, InvalidArgument),
        ({"system_nulls": {"cmm": Null.of(1.0, [0.0], exchanged="x")}}, UnknownName),
        ({"citations": ["nobody1900"]}, UnknownName),
        ({"settings": {"bad": {1, 2}}}, InvalidArgument),
    ],
)
def test_what_does_not_fit_is_refused(changes, error):
    with pytest.raises(error):
        evidence_set(**changes)


def test_each_test_has_its_own_degrees_of_freedom():
    dof = np.array([[5.0, 6, 7, 8], [6, 9, 10, 11], [7, 10, 12, 13], [8, 11, 13, 14]])
    evidences = evidence_set(covariance=COV, dof=dof)
    e = evidences["V1"]
    assert e.interval.high - e.score == pytest.approx(stats.t.ppf(0.975, 9) * math.sqrt(0.012))
    assert "9 degrees of freedom" in e.interval.kind
    assert "11 degrees" in e.normalised_interval.kind
    assert "14 degrees" in e.ceiling.interval.kind
    assert evidences.pairwise["dof"].tolist() == [6, 7, 10]
    assert evidences.against_ceiling["dof"].tolist() == [8, 11, 13]
    with pytest.raises((InvalidArgument, TypeCheckError), match="dof|degrees"):
        evidence_set(dof=dof[:3, :3])


def test_a_single_model_has_no_pairs():
    evidences = evidence_set(
        scores=np.array([0.5]),
        per_subject=np.zeros((0, 1)),
        covariance=np.diag([0.01, 0.004]),
        null=np.random.default_rng(0).normal(0, 0.1, (99, 1)),
        models=["one"],
        system_nulls=None,
    )
    assert evidences.pairwise.empty
    assert evidences[0].per_subject == ()
    assert evidences.to_frame()["p_fdr"][0] == evidences[0].p_value

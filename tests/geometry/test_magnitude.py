"""Accounts of magnitudes are compared with brute force, and with raters whose account is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import lsq_linear

from bregma.errors import InvalidArgument, NotIdentifiable, UnknownName
from bregma.geometry import fit_magnitude, magnitude_distances, reference_scale
from bregma.recording import Dissimilarity
from pages import run_page

ACCOUNTS = ("linear", "log", "near", "digits", "reference")
ASKED = np.arange(1500.0, 2501.0, 5.0)


def years(n=40, seed=0):
    rng = np.random.default_rng(seed)
    return np.sort(rng.choice(np.arange(1500.0, 2501.0), n, replace=False))


def rated(y, account, noise=0.1, seed=0):
    d = magnitude_distances(y, account, reference=2025)
    return d / d.max() + noise * np.random.default_rng(seed).standard_normal(len(d))


def test_distances_by_hand():
    y = np.array([1999.0, 2000.0, 2026.0])
    np.testing.assert_allclose(magnitude_distances(y, "linear"), [1, 27, 26])
    np.testing.assert_allclose(
        magnitude_distances(y, "log"), np.log([2000 / 1999, 2026 / 1999, 2026 / 2000])
    )
    np.testing.assert_allclose(magnitude_distances(y, "near"), np.log([2, 28, 27]))
    np.testing.assert_allclose(magnitude_distances(y, "digits"), [4, 4, 2])
    side = np.log([27, 26, 2])  # below, below, above
    wanted = [side[0] - side[1], side[0] + side[2], side[1] + side[2]]
    np.testing.assert_allclose(magnitude_distances(y, "reference", reference=2025), wanted)


@given(st.text("01289", max_size=5), st.text("01289", max_size=5))
def test_edits_as_by_recursion(a, b):
    from bregma.geometry._magnitude_distances import edit_distances

    def slow(a, b):
        if not a or not b:
            return len(a) + len(b)
        return min(slow(a[1:], b) + 1, slow(a, b[1:]) + 1, slow(a[1:], b[1:]) + (a[0] != b[0]))

    assert edit_distances([a, b])[0] == slow(a, b)


@given(st.floats(-1e3, 1e3), st.floats(0, 1e3))
def test_the_scale_is_odd_about_its_reference(reference, away):
    above, below = reference_scale(np.array([reference + away, reference - away]), reference)
    assert above == pytest.approx(-below, abs=1e-6)
    assert above == pytest.approx(np.log1p(away), abs=1e-6)


def test_scores_by_brute_force():
    y, references = years(12), np.array([1700.0, 2000.0, 2025.0, 2300.0])
    d = rated(y, "reference", noise=0.2)
    found = fit_magnitude(d, y, references=references, folds=3, seed=4)
    i, j = np.triu_indices(12, 1)

    def line(x, z):  # slope of 0 or more
        a = np.stack([np.ones_like(x), x], 1)
        fit = lsq_linear(a, z, ([-np.inf, 0], np.inf), method="bvls", tol=1e-14)
        return fit.x, ((a @ fit.x - z) ** 2).sum()

    for name in ACCOUNTS:
        tried = references if name == "reference" else [None]
        left, base = 0.0, 0.0
        scans = np.zeros(len(tried))
        for train, test in found._parts():
            fits = []
            for reference in tried:
                x = magnitude_distances(y, name, reference=reference)
                (level, slope), error = line(x[train], d[train])
                miss = ((d[test] - level - slope * x[test]) ** 2).sum()
                fits.append((error, miss))
            scans += [miss for _, miss in fits]
            left += min(fits)[1]
            base += ((d[test] - d[train].mean()) ** 2).sum()
        assert found.score[name] == pytest.approx(1 - left / base, abs=1e-7)
        errors = [
            line(magnitude_distances(y, name, reference=reference), d)[1] for reference in tried
        ]
        free = 3 if name == "reference" else 2
        wanted = 66 * np.log(min(errors) / 66) + free * np.log(66)
        assert found.bic[name] == pytest.approx(wanted, abs=1e-5)
    np.testing.assert_allclose(found.scan, 1 - scans / base, atol=1e-7)
    assert found.reference == references[int(np.argmin(errors))]
    for train, test in found._parts():  # no item of a tested pair's fold is learned from
        held = set(i[test]) & set(j[test])
        assert not (train & test).any()
        assert held


@pytest.mark.parametrize("account", ACCOUNTS)
def test_raters_are_assigned_to_their_account(account):
    found = fit_magnitude(rated(years(), account), years(), references=ASKED, seed=0)
    assert found.best == account
    assert found.to_frame()["account"][0] == account
    assert min(found.bic, key=found.bic.get) == account
    if account == "reference":
        assert abs(found.reference - 2025) <= 10
        assert found.advantage > 0.1
        assert found.p_value(n=19, seed=0) == 0.05
        assert 2025.0 in found.interval(n=100, seed=0)
    else:
        assert found.advantage < 0


def test_nothing_to_find():
    y = years(24)
    d = np.random.default_rng(0).standard_normal(276)
    found = fit_magnitude(d, y, references=ASKED, seed=0)
    assert max(found.score.values()) < 0.05
    assert found.p_value(n=19, seed=0) > 0.05


def test_the_level_and_the_size_do_not_matter():
    y = years(20)
    d = rated(y, "log")
    one, other = (fit_magnitude(x, y, references=ASKED, seed=0) for x in (d, 1000 + 7 * d))
    for name in ACCOUNTS:
        assert one.score[name] == pytest.approx(other.score[name], abs=1e-6)
    turned = fit_magnitude(-d, y, references=ASKED, seed=0)
    assert turned.score["linear"] < 0.05  # nearer is never farther apart


def test_intervals_of_items_are_wider_where_items_have_noise():
    y = years(40)
    i, j = np.triu_indices(40, 1)
    own = 0.15 * np.random.default_rng(3).standard_normal(40)
    found = fit_magnitude(rated(y, "reference") + own[i] + own[j], y, references=ASKED, seed=0)
    wide, narrow = (found.interval(n=200, over=o, seed=0) for o in ("items and pairs", "pairs"))
    assert wide.high - wide.low > narrow.high - narrow.low
    assert found.interval(n=50, seed=1) == found.interval(n=50, seed=1)


def test_resamples_that_say_nothing_are_left_out():
    y = np.array([1500.0, 1700, 1900, 2000, 2100, 2400])  # a quarter has three items or fewer
    found = fit_magnitude(rated(y, "reference", noise=0), y, references=ASKED, folds=3, seed=0)
    with np.errstate(all="raise"):
        interval = found.interval(n=200, seed=0)
    assert interval.low == interval.high == 2025  # any four pairs without noise say it
    assert "over 200" not in interval.kind
    assert "over 200" in found.interval(n=200, over="pairs", seed=0).kind


def test_an_rdm_and_other_magnitudes():
    numbers = np.arange(0.0, 10.0)  # no logarithm of 0
    d = np.stack([rated(numbers, "linear", seed=s) for s in range(3)])
    found = fit_magnitude(Dissimilarity(d), numbers, seed=0)
    assert "log" not in found.score
    assert found.references.shape == (201,)
    np.testing.assert_allclose(found.dissimilarity, d.mean(0) - d.mean())
    assert found.best == "linear"
    assert len(found.plot().data) == 1


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda y, d: fit_magnitude(d[:5], y, seed=0), InvalidArgument, "pairs"),
        (lambda y, d: fit_magnitude(d * np.nan, y, seed=0), InvalidArgument, "finite"),
        (lambda y, d: fit_magnitude(d, y, folds=1, seed=0), InvalidArgument, "folds"),
        (lambda y, d: fit_magnitude(d, y, references=[], seed=0), InvalidArgument, "references"),
        (lambda y, d: fit_magnitude(0 * d, y, seed=0), NotIdentifiable, "range of 0"),
        (lambda y, d: fit_magnitude(d, y // 1000, seed=0), NotIdentifiable, "different values"),
        (lambda y, d: fit_magnitude(d, y, seed=0).interval(n=3, seed=0), InvalidArgument, "10"),
        (lambda y, d: fit_magnitude(d, y, seed=0).interval(over="x", seed=0), InvalidArgument, "x"),
        (lambda y, d: magnitude_distances(y, "lin"), UnknownName, "linear"),
        (lambda y, d: magnitude_distances(y, "reference"), InvalidArgument, "from where"),
        (lambda y, d: magnitude_distances(-y, "log"), InvalidArgument, "logarithm"),
    ],
)
def test_bad_magnitudes(call, error, message):
    with pytest.raises(error, match=message):
        call(years(20), rated(years(20), "linear"))


def test_the_page_runs():
    names = run_page("magnitude.md")
    assert names["found"].best == "reference"
    assert abs(names["found"].reference - 2025) <= 10

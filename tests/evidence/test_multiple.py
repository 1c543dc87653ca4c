"""Corrections against SciPy and against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bregma.errors import InvalidArgument
from bregma.evidence import benjamini_hochberg, holm

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=12)


@given(P_VALUES)
def test_benjamini_hochberg_is_scipys(p):
    np.testing.assert_allclose(benjamini_hochberg(p), stats.false_discovery_control(p), rtol=1e-12)


def rejected_by_holm(p: list[float], alpha: float) -> set[int]:
    """The step-down procedure as it is told: stop at the first that is too large."""
    out: set[int] = set()
    for step, i in enumerate(np.argsort(p, kind="stable")):
        if p[i] * (len(p) - step) > alpha:
            break
        out.add(int(i))
    return out


@given(P_VALUES, st.floats(0.001, 0.999))
def test_holm_rejects_what_the_procedure_rejects(p, alpha):
    assert set(np.flatnonzero(holm(p) <= alpha).tolist()) == rejected_by_holm(p, alpha)


@given(P_VALUES)
def test_order_of_strictness(p):
    p = np.array(p)
    assert (holm(p) >= benjamini_hochberg(p) * (1 - 1e-12)).all()
    assert (benjamini_hochberg(p) >= p * (1 - 1e-12)).all()
    assert (holm(p) <= 1).all()


def test_no_tests_are_no_trouble():
    assert holm([]).size == benjamini_hochberg([]).size == 0


@pytest.mark.parametrize("bad", [[np.nan], [-0.1], [1.1]])
@pytest.mark.parametrize("correct", [holm, benjamini_hochberg])
def test_what_is_no_probability_is_refused(bad, correct):
    with pytest.raises(InvalidArgument):
        correct(bad)


def test_holm_keeps_the_family_wise_error_rate():
    rng = np.random.default_rng(0)
    any_false = [(holm(rng.uniform(size=6)) <= 0.05).any() for _ in range(4000)]
    assert np.mean(any_false) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 4000)

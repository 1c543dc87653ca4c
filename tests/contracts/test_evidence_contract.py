"""The contract of evidence: whatever compares gives a whole, calibrated, repeatable answer."""

from __future__ import annotations

import inspect
import math
from functools import cache

import numpy as np
import pytest
from scipy import stats

import bregma
from bregma import geometry
from bregma.errors import NotIdentifiable
from bregma.evidence import EvidenceSet, source_keys
from bregma.recording import Recording

N_STIMULI, N_UNITS = 16, 12
NOT_BY_DEFAULT = {"SVCCA": {"components": 3}}  # its default refuses so few stimuli


def comparisons() -> list[object]:
    """Every comparison that the package exports."""
    found = []
    for name in geometry.__all__:
        thing = getattr(geometry, name)
        compares = inspect.isclass(thing) and hasattr(thing, "compare")
        if compares and not inspect.isabstract(thing) and not getattr(thing, "_is_protocol", False):
            found.append(thing(**NOT_BY_DEFAULT.get(name, {})))
    return found


COMPARISONS = comparisons()
each_comparison = pytest.mark.parametrize("by", COMPARISONS, ids=lambda c: type(c).__name__)


def brain(seed: int, n: int = N_STIMULI, signal: float = 1.0) -> tuple[Recording, Recording]:
    """Three subjects that see the same few features through noise, and those features."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, 3))
    subjects = [
        signal * features @ rng.normal(size=(3, N_UNITS)) + 0.7 * rng.normal(size=(n, N_UNITS))
        for _ in range(3)
    ]
    recording = Recording.from_array(
        np.concatenate(subjects, axis=1),
        unit={
            "unit": [f"u{i}" for i in range(3 * N_UNITS)],
            "subject": np.repeat(["a", "b", "c"], N_UNITS),
        },
        name="brain",
    )
    return recording, Recording.from_array(features, name="right")


def other(seed: int, n: int = N_STIMULI) -> Recording:
    values = np.random.default_rng(1000 + seed).normal(size=(n, 3))
    return Recording.from_array(values, name="wrong")


def compared(by: object, seed: int = 0, **changes: object) -> EvidenceSet:
    data, right = brain(seed)
    settings = {"n_bootstrap": 100, "n_permutations": 99, "seed": 3}
    return bregma.compare(data, [right, other(seed)], by=by, **{**settings, **changes})


@cache
def answer(by: object) -> EvidenceSet:
    return compared(by)


def test_there_is_something_to_test():
    assert len(COMPARISONS) >= 11


@each_comparison
def test_evidence_is_whole(by):
    for e in answer(by):
        assert math.isfinite(e.score)
        assert 0 < e.p_value <= 1
        assert e.interval.low <= e.score <= e.interval.high
        assert e.null.exchanged
        assert e.null.n_arrangements >= 20
        assert e.null.values.size == 99
        assert e.ceiling is not None or e.ceiling_reason
        assert e.n
        assert e.seed == 3


@each_comparison
def test_the_right_model_wins(by):
    found = answer(by)
    assert found["right"].score > found["wrong"].score
    assert found["right"].p_value <= 0.05


@each_comparison
def test_json_is_exact(by):
    found = answer(by)
    assert EvidenceSet.from_json(found.to_json()) == found


@each_comparison
def test_sources_are_known(by):
    assert by.citations
    assert set(by.citations) <= set(source_keys())
    for key in by.citations:
        assert f"{{{key}," in answer(by).cite()


@each_comparison
def test_the_seed_is_all_there_is(by):
    # the global generators are poisoned on purpose
    np.random.seed(99)  # noqa: NPY002
    assert compared(by) == answer(by)


@each_comparison
def test_too_little_is_said_and_not_computed(by):
    data, right = brain(0, n=3)
    with pytest.raises(NotIdentifiable):
        bregma.compare(data, [right, other(0, n=3)], by=by, n_bootstrap=50, n_permutations=99)


def test_p_is_uniform_where_there_is_nothing():
    p = []
    for seed in range(120):
        data, right = brain(seed, signal=0.0)
        found = bregma.compare(data, [right], n_bootstrap=20, n_permutations=19, seed=seed)
        p.append(found[0].p_value - np.random.default_rng(seed).uniform(0, 1 / 20))
    assert stats.kstest(p, "uniform").pvalue > 1e-3

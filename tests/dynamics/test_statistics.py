"""Rates, intervals and pairs of the balanced networks against what Brian2 gave, within sampling.

`benchmarks/dynamics_statistics.py` says what is compared, and how; it ran Brian2 and stored that.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).resolve()
STORED = json.loads(HERE.with_name("brian2_statistics.json").read_text(encoding="utf-8"))
SEEDS = 8  # of those that are stored


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(HERE.parents[2] / "benchmarks"))
    return importlib.import_module("dynamics_statistics")


def stored(kind):
    return [run for run in STORED if run["network"]["kind"] == kind][:SEEDS]


def networks(benchmark, kind, **changed):
    """The networks that Brian2 ran."""
    runs = [benchmark.s.Network(**{**run["network"], **changed}) for run in stored(kind)]
    assert [run.seed for run in runs] == list(range(SEEDS))
    return runs


@pytest.mark.parametrize("kind", ["cuba", "coba"])
def test_statistics_are_those_of_brian2_and_need_what_pairs_share(benchmark, kind):
    same, turned = zip(*map(benchmark.ours, networks(benchmark, kind)), strict=True)
    compared = benchmark.compare(same, stored(kind))
    assert len(compared) == 12
    assert not [c.name for c in compared if c.differs]
    # what could have gone unseen is small
    half = {c.name: c.half / c.theirs for c in compared}
    assert half["rate (Hz)"] < 0.03
    assert half["r in 5 ms, mean"] < 0.2
    assert half["r in 5 ms, SD"] < 0.03
    assert half["r at lag 0 ms"] < 0.2
    # the same trains, each turned in time: only pairs tell
    different = {c.name: c.differs for c in benchmark.compare(turned, stored(kind))}
    assert not different["rate (Hz)"]
    assert not different["CV of intervals"]
    assert different["r in 5 ms, mean"]
    assert different["r in 5 ms, SD"]
    assert different["r at lag 0 ms"]


def test_a_sparser_network_differs(benchmark):
    sparser = networks(benchmark, "cuba", kept=0.8)
    runs = [benchmark.ours(each)[0] for each in sparser]
    different = {c.name for c in benchmark.compare(runs, stored("cuba")) if c.differs}
    assert {"rate (Hz)", "CV of intervals"} <= different


def test_statistics_of_pairs_by_brute_force(benchmark):
    pairs = importlib.import_module("dynamics_pairs")
    rng, n, seconds = np.random.default_rng(0), 12, 4.0
    common = rng.uniform(0, 4000, 200)
    trains = [
        np.concatenate([rng.choice(common, 30) + rng.uniform(0, 3), rng.uniform(0, 4000, 40)])
        for _ in range(n)
    ]
    trains = [np.unique(np.round(train[train < 3999], 1)) for train in trains]
    units = np.repeat(np.arange(n), [len(train) for train in trains])
    found = pairs.pair_statistics(n - 2, seconds, units, np.concatenate(trains))

    def correlations(width, lag=0):
        edges = 2000 - 0.5 + np.arange(38000 // (10 * width) + 1) * 10 * width
        counts = [np.histogram(np.rint(train * 10), edges)[0] for train in trains[: n - 2]]
        z = [(c - c.mean()) / c.std() for c in counts]
        return np.array([
            np.mean(a[: len(a) - lag] * b[lag:])
            for i, a in enumerate(z) for j, b in enumerate(z) if i != j
        ])  # fmt: skip

    for width in (5, 50):
        wanted = correlations(width)
        assert found[f"correlation_mean_{width}_ms"] == pytest.approx(wanted.mean(), rel=1e-5)
        assert found[f"correlation_sd_{width}_ms"] == pytest.approx(wanted.std(), rel=1e-5)
    lags = [correlations(2, lag).mean() for lag in range(6)]
    np.testing.assert_allclose(found["correlogram"], lags, rtol=1e-4, atol=1e-7)
    assert found["pairs"] == 45

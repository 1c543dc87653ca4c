"""The mean reciprocal rank against scikit-learn's ranking score, its chance, and its bounds."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import label_ranking_average_precision_score
from sklearn.metrics.pairwise import cosine_similarity

from bregma.errors import InvalidArgument
from bregma.geometry import _retrieval, reciprocal_rank


def pair(seed, n=40, noise=2.0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 5))
    return x, x + noise * rng.standard_normal((n, 5))


@pytest.mark.parametrize("seed", range(3))
def test_equals_scikit_learn(seed):
    x, y = pair(seed)
    # with one right answer for each, the average precision is the reciprocal rank
    expected = label_ranking_average_precision_score(np.eye(len(x)), cosine_similarity(x, y))
    assert reciprocal_rank(x, y) == pytest.approx(expected, abs=1e-12)


def test_blocks_change_nothing(monkeypatch):
    x, y = pair(0)
    expected = reciprocal_rank(x, y)
    monkeypatch.setattr(_retrieval, "BLOCK", 7 * len(x))
    assert reciprocal_rank(x, y) == expected


def test_chance_and_bounds():
    harmonic = (1 / np.arange(1, 41)).mean()
    rng = np.random.default_rng(0)
    unrelated = [reciprocal_rank(*rng.standard_normal((2, 40, 5))) for _ in range(100)]
    assert np.mean(unrelated) == pytest.approx(harmonic, abs=4 * np.std(unrelated) / 10)
    x, _ = pair(0)
    assert reciprocal_rank(x, 3 * x) == 1
    assert reciprocal_rank(x, np.ones_like(x)) == pytest.approx(2 / 41)  # all tied


def test_errors():
    x, y = pair(0)
    with pytest.raises(InvalidArgument, match=r"not \(40, 5\) and \(39, 5\)"):
        reciprocal_rank(x, y[:-1])
    with pytest.raises(InvalidArgument, match="at least 2"):
        reciprocal_rank(x[:1], y[:1])
    for value in (0, np.nan, np.inf):
        y[3] = value
        with pytest.raises(InvalidArgument, match="row 3 of the keys"):
            reciprocal_rank(x, y)

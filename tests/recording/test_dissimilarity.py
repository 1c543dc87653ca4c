"""Dissimilarity: RDMs with their labels."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bregma import Dissimilarity
from bregma.errors import InvalidArgument, InvalidRecording, UnknownName


def make(n_rdms=3, n=5, seed=0, **kwargs) -> Dissimilarity:
    values = np.random.default_rng(seed).random((n_rdms, n * (n - 1) // 2))
    kwargs.setdefault("stimuli", list("abcdefghij")[:n])
    kwargs.setdefault("rdms", {"subject": ["s1", "s2", "s1"][:n_rdms], "run": [1, 1, 2][:n_rdms]})
    return Dissimilarity(values, **kwargs)


@given(st.integers(2, 9), st.integers(0, 99))
def test_square_and_back(n, seed):
    d = make(2, n, seed)
    assert Dissimilarity.from_square(
        d.square(), stimuli=d.stimuli, rdms=d.rdms
    ).identical(d)  # fmt: skip
    np.testing.assert_array_equal(d.square()[0].diagonal(), 0)


@given(st.permutations(range(6)), st.integers(2, 6))
def test_stimuli_are_reordered_as_in_the_matrix(order, keep):
    d = make(2, 6)
    rows = order[:keep]
    part = d.select_stimuli(d.stimuli[rows])
    np.testing.assert_array_equal(part.square(), d.square()[:, rows][:, :, rows])


def test_defaults():
    d = Dissimilarity([1.0, 2, 3])
    assert (d.n_rdms, d.n_stimuli, d.n_pairs) == (1, 3, 3)
    assert d.stimuli.tolist() == ["0", "1", "2"]
    assert Dissimilarity(np.ones((2, 3)), rdms=["p", "q"]).rdms["label"].tolist() == ["p", "q"]


@pytest.mark.parametrize(
    ("make_it", "match"),
    [
        (lambda: Dissimilarity(np.zeros(4)), "4 pairs belong to no number"),
        (lambda: Dissimilarity(np.zeros((1, 0))), "must be"),
        (lambda: Dissimilarity(np.zeros((1, 2, 3))), "must be"),
        (lambda: Dissimilarity(np.zeros(3), stimuli=["a", "a", "b"]), "more than once"),
        (lambda: Dissimilarity(np.zeros(3), stimuli=["a", "b"]), "2 stimuli, but 3 pairs"),
        (lambda: Dissimilarity([0, np.nan, 1], stimuli=list("abc")), "RDM 0 between 'a', 'c'"),
        (lambda: Dissimilarity.from_square([[0, 1], [2, 0]]), "not symmetric"),
        (lambda: Dissimilarity.from_square(np.zeros((2, 3))), "square"),
        (lambda: Dissimilarity(np.zeros((2, 3)), rdms={"s": [1]}), "1 entries"),
        (lambda: make().align(make(stimuli=list("vwxyz"))), "share 0 stimuli"),
        (lambda: make().concat(make(stimuli=list("vwxyz"))), "not over the same"),
        (lambda: make().concat(make(measure="cosine")), "one set is"),
    ],
)
def test_refuses(make_it, match):
    with pytest.raises(InvalidRecording, match=match):
        make_it()


def test_select():
    d = make()
    assert d.select(subject="s1").rdms["run"].tolist() == [1, 2]
    with pytest.raises(UnknownName, match="subject"):
        d.select(subjekt="s1")
    with pytest.raises(InvalidArgument, match="'s1', 's2'"):
        d.select(subject="s9")
    with pytest.raises(InvalidArgument, match="at once"):
        d.select(subject="s2", run=2)
    with pytest.raises(UnknownName, match="stimulus"):
        d.select_stimuli(["zz"])
    with pytest.raises(UnknownName, match="column"):
        d.column("nope")


def test_mean():
    d = make()
    np.testing.assert_allclose(d.mean().values[0], d.values.mean(0))
    by = d.mean(by="subject")
    np.testing.assert_allclose(by.values[0], d.values[[0, 2]].mean(0))
    assert by.rdms["subject"].tolist() == ["s1", "s2"]
    assert "run" not in by.rdms


def test_align_and_concat():
    d = make()
    other = make(seed=1).select_stimuli(["e", "c", "a"])
    left, right = d.align(other)
    assert left.stimuli.tolist() == right.stimuli.tolist() == ["a", "c", "e"]
    same, again = d.align(d)
    assert same is d
    assert again is d
    both = d.concat(d.select_stimuli(list("edcba")))
    np.testing.assert_array_equal(both.values, np.concatenate([d.values, d.values]))


def test_it_is_never_changed():
    values = np.ones((1, 3))
    d = Dissimilarity(values)
    with pytest.raises(ValueError, match="read-only"):
        d.values[0, 0] = 2
    values[0, 0] = 1  # the caller's array stays theirs
    with pytest.raises(AttributeError, match="never changed"):
        d.measure = "x"


def test_identity_and_looks():
    d = make(rdms={"subject": ["<script>", "b", "c"]})
    assert pickle.loads(pickle.dumps(d)).identical(d)
    assert not d.identical(d.named("n"))
    assert d.named("n").name == "n"
    assert "<script>" not in d._repr_html_()
    assert "3 RDMs of 5 stimuli" in repr(d)

"""Text with topics: what its grammar promises, and Bayes counted by brute force."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from bregma.datasets import concept_text
from bregma.errors import InvalidArgument


@pytest.fixture(scope="module")
def documents():
    return concept_text(n_train=400, n_test=60, n_segments=2, seed=0)


def vocabulary(documents):
    words = [set() for _ in range(8)]
    for d in range(len(documents)):
        run = documents.text(d).split(".")[1].split("!")[0]
        words[int(documents.concepts[d])] |= set(run.split())
    return words


def test_every_concept_has_its_own_words_of_all_letters(documents):
    words = vocabulary(documents[0])
    for own in words:
        assert len(own) == 4
        assert sorted("".join(own)) == list("abcdefghijklmnop")
    assert len(set.union(*words)) == 32
    assert vocabulary(documents[1])[3] <= words[3]  # the test speaks the same language


def test_strings_are_repeated_and_said_where(documents):
    train, _ = documents
    for d in range(40):
        text = train.text(d)
        start = text.index("!")
        string, again = text[start + 1 : start + 8], text[start + 9 : start + 16]
        assert text[start + 8] == "="
        assert string == again
        assert len(set(string)) == 7
        places = train.repeated[d].nonzero().flatten() + 1  # of targets
        assert places.tolist() == list(range(start + 10, start + 16))
        assert (train.inputs[d, 1:] == train.targets[d, :-1]).all()


def test_what_can_be_known_is_counted_by_brute_force(documents):
    """Every run that the grammar allows, weighted alike, against the filter of the generator."""
    _, test = documents
    words = [sorted(own) for own in vocabulary(documents[0])]
    runs = [
        "".join(f"{w} " for w in run) for own in words for run in itertools.product(own, repeat=3)
    ]
    surprise, best, n = 0.0, 0.0, 0
    for d in range(len(test)):
        text = test.text(d)
        first = text[0]
        for t in range(1, 32):
            start, body = (0, text[1:t]) if t < 16 else (16, text[17:t])
            kind = text[start]
            if t == 16:
                options = {"!" if first == "." else ".": 1.0}
            elif kind == "!":
                k = t - start - 1
                unused = sorted(set("abcdefghijklmnop") - set(body))
                if k < 7:
                    options = {letter: 1 / len(unused) for letter in unused}
                else:
                    options = {"=" if k == 7 else body[k - 8]: 1.0}
            else:
                fitting = [run for run in runs if run.startswith(body)]
                after = [run[len(body)] for run in fitting]
                options = {s: after.count(s) / len(after) for s in set(after)}
            surprise -= math.log(options[text[t]])
            best += max(options.values())
            n += 1
    assert test.surprise == pytest.approx(surprise / n)
    assert test.best == pytest.approx(best / n)


def test_letters_alone_say_nothing_about_the_topic():
    train, _ = concept_text(n_train=4000, n_test=1, n_segments=2, seed=1)
    counts = torch.nn.functional.one_hot(train.inputs, train.n_classes).sum(1).float()
    means = torch.stack([counts[train.concepts == c].mean(0) for c in range(8)])
    spread = (means - means.mean(0)).abs().max() / counts.std(0).mean()
    assert spread < 4 / math.sqrt(500)  # what 500 documents per concept leave


def test_kinds_and_topics_are_balanced_and_drawn_by_the_seed():
    first, other = (concept_text(n_train=64, n_test=8, seed=s)[0] for s in (0, 1))
    again = concept_text(n_train=64, n_test=8, seed=0)[0]
    assert torch.equal(first.inputs, again.inputs)
    assert not torch.equal(first.inputs, other.inputs)
    assert np.bincount(first.concepts).tolist() == [8] * 8
    for d in range(64):
        assert first.text(d).count(".") == first.text(d).count("!") == 2
        assert len(first.text(d)) == 64
    assert first.chance < first.best < 1


@pytest.mark.parametrize("wrong", [{"n_segments": 3}, {"n_segments": 0}, {"n_test": 0}])
def test_what_is_wrong_is_said(wrong):
    with pytest.raises(InvalidArgument, match="n_segments even"):
        concept_text(**wrong, seed=0)

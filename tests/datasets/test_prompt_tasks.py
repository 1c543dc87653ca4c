"""Tasks in pairs of prompts: answers found by reading the words, chance, negatives."""

from __future__ import annotations

import pytest
import torch

from bregma.datasets import colored_objects, indirect_object
from bregma.errors import InvalidArgument

MAKERS = {"indirect_object": indirect_object, "colored_objects": colored_objects}


def read(pairs, which="clean"):
    """Words of every prompt, without the first token, and of the two answers."""
    for i in range(len(pairs)):
        words = [pairs.words[t] for t in getattr(pairs, which)[i].tolist()]
        assert words[0] == "<start>"
        yield words[1:], pairs.words[int(pairs.right[i])], pairs.words[int(pairs.wrong[i])]


@pytest.fixture(params=MAKERS)
def make(request):
    return MAKERS[request.param]


def test_the_seed_decides_and_nothing_is_refused(make):
    one, same, other = make(50, seed=0), make(50, seed=0), make(50, seed=1)
    assert torch.equal(one.clean, same.clean)
    assert torch.equal(one.corrupt, same.corrupt)
    assert torch.equal(one.right, same.right)
    assert not torch.equal(one.clean, other.clean)
    with pytest.raises(InvalidArgument, match="n must be"):
        make(0, seed=0)


def test_prompts_can_be_split(make):
    first, second = make(200, seed=0).split(seed=0)
    assert abs(len(first) - len(second)) < 40


def test_indirect_object():
    pairs = indirect_object(2000, seed=0)
    orders = []
    for words, right, wrong in read(pairs):
        names = [w for w in words if w.istitle()]
        assert sorted(names.count(name) for name in names) == [1, 2, 2]
        assert (names.count(right), names.count(wrong)) == (1, 2)
        assert words[-1] == "to"
        orders.append(names[0] == right)
    assert sum(orders) == 1000
    for words, right, wrong in read(pairs, "corrupt"):
        names = {w for w in words if w.istitle()}
        assert len(names) == 3
        assert not names & {right, wrong}
    assert pairs.task().chance == pytest.approx(1 / 16, abs=0.02)


def test_colored_objects():
    pairs = colored_objects(2000, seed=0)
    places = []
    for words, right, wrong in read(pairs):
        color = {words[at]: words[at + 1] for at in (4, 7, 10)}
        assert len(color) == len(set(color.values())) == 3
        assert color[words[-2]] == right
        assert wrong in set(color.values()) - {right}
        places.append(list(color).index(words[-2]))
    assert all(abs(places.count(k) - 667) < 100 for k in range(3))
    for (words, right, wrong), (clean, *_) in zip(read(pairs, "corrupt"), read(pairs), strict=True):
        assert words[-2] not in words[:-2]
        assert not {words[at] for at in (5, 8, 11)} & {right, wrong}
        assert not {words[at] for at in (4, 7, 10)} & set(clean)
    assert pairs.task().chance == pytest.approx(1 / 8, abs=0.03)

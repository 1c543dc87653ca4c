"""Tasks in pairs of prompts: answers found by reading the words, chance, negatives."""

from __future__ import annotations

import pytest
import torch

from bregma.datasets import (
    colored_objects,
    docstring,
    grammars,
    greater_than,
    indirect_object,
    multiple_choice,
    recall_and_chain,
)
from bregma.datasets._held_out import training_task
from bregma.errors import InvalidArgument, UnknownName

MAKERS = {
    "indirect_object": indirect_object,
    "colored_objects": colored_objects,
    "docstring": docstring,
    "greater_than": greater_than,
    "multiple_choice": multiple_choice,
    "recall": lambda n, seed: recall_and_chain(n, n_train=8, seed=seed).recall,
    "chain": lambda n, seed: recall_and_chain(n, n_train=8, seed=seed).chain,
}


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
    with pytest.raises(InvalidArgument, match="must be 1 or more"):
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


def test_greater_than():
    pairs = greater_than(3000, seed=0)
    zero = pairs.words.index("00")
    leads = []
    for words, right, wrong in read(pairs):
        begin = int(words[7])
        assert 2 <= int(wrong) <= begin < int(right) <= 99
        assert words[6] == words[-1]
        assert pairs.words[zero + begin] == words[7]
        leads.append((begin, int(right), int(wrong)))
    begins, rights, wrongs = torch.tensor(leads).float().T
    # Both are drawn evenly from all there are.
    assert float((rights - (begins + 100) / 2).mean()) == pytest.approx(0, abs=1)
    assert float((wrongs - (begins + 2) / 2).mean()) == pytest.approx(0, abs=1)
    assert all(words[7] == "01" for words, *_ in read(pairs, "corrupt"))
    known = sum(1 / (99 - begin) for begin in range(2, 99)) / 97
    task = pairs.task()
    assert task.best == pytest.approx(known)
    assert task.accuracy(torch.full((3000,), zero + 99)) == pytest.approx(known, abs=0.02)


def test_docstring():
    for which in ("clean", "corrupt"):
        for words, right, wrong in read(docstring(300, seed=0), which):
            asked = right if which == "clean" else wrong
            inside = words[words.index("(") + 1 : words.index(")")]
            listed = [w for w in inside if w != ","][1:]  # without self
            described = [words[k + 1] for k in range(len(words) - 1) if words[k] == "param"]
            assert len(set(listed)) == 4
            assert described == listed[:2]
            assert asked == listed[2]
    assert docstring(3000, seed=0).task().chance == pytest.approx(1 / 16, abs=0.02)


@pytest.mark.parametrize("labels", ["ABCD", "shuffled", "random"])
def test_multiple_choice(labels):
    pairs = multiple_choice(2000, labels=labels, seed=0)
    answer = {}
    for which in ("clean", "corrupt"):
        for words, right, wrong in read(pairs, which):
            option = dict(zip(words[5:13:2], words[6:14:2], strict=True))
            assert len(set(option)) == len(set(option.values())) == 4
            said = option[right if which == "clean" else wrong]
            assert answer.setdefault(words[3], said) == said  # always the same
            if labels == "ABCD":
                assert list(option) == list("ABCD")
            elif labels == "shuffled":
                assert sorted(option) == list("ABCD")
    assert len(answer) == len(set(answer.values())) == 16
    assert pairs.task().chance == pytest.approx(1 / (26 if labels == "random" else 4), abs=0.04)
    at = (pairs.clean[:, 6:14:2] == pairs.right[:, None]).int().argmax(1)
    assert at.bincount().float().div(2000).sub(0.25).abs().max() < 0.05


@pytest.mark.parametrize("hops", [1, 2, 3])
def test_recall_and_chain(hops):
    world = recall_and_chain(100, n_train=1000, hops=hops, seed=0)
    known = {f"e{k}": world.recall.words[int(fact)] for k, fact in enumerate(world.facts)}
    assert sorted(known.values()) == sorted(f"a{k}" for k in range(16))

    def answered(words, exactly=hops):
        links = [words[k : k + 2] for k in range(0, len(words) - 2, 2)]
        assert len(links) == 2 * hops
        if words[-2] == "recall":
            return known[words[-1]]
        if words[-2] == "next":
            return dict(links)[words[-1]]
        here, steps = words[-1], 0
        while here in dict(links):
            here, steps = dict(links)[here], steps + 1
        assert steps == exactly if exactly else 1 <= steps <= hops
        return here

    for pairs, kind in ((world.recall, "recall"), (world.chain, "follow")):
        for words, right, wrong in read(pairs):
            assert words[-2] == kind
            assert answered(words) == right != wrong
        assert all(answered(words) == wrong for words, _, wrong in read(pairs, "corrupt"))
        assert (pairs.clean != pairs.corrupt).sum(1).tolist() == [1] * 100
    train = world.training
    for kind in ("recall", "next", "follow"):
        assert (train.inputs == world.recall.words.index(kind)).any(1).sum() > 320
    for row, target in zip(train.inputs.tolist(), train.targets.tolist(), strict=True):
        words = [world.chain.words[t] for t in row][1:]
        assert answered(words, None) == world.chain.words[target]


def test_what_is_tested_is_not_trained_on():
    """One hop among four entities: there are few prompts, and some are drawn twice."""
    world = recall_and_chain(20, n_train=400, n_entities=4, hops=1, seed=0)
    trained = {tuple(row) for row in world.training.inputs.tolist()}
    for pairs in (world.recall, world.chain):
        for rows in (pairs.clean, pairs.corrupt):
            assert not trained & {tuple(row) for row in rows.tolist()}
    assert 0 < len(world.training) < 400
    with pytest.raises(InvalidArgument, match="among the pairs"):
        training_task([world.recall.task()], [world.recall], seed=0)


MANY = ["cats", "dogs", "kings", "cooks", "trees", "ships"]
NEGATIVE = ["no", "few", "nobody's", "hardly-any"]
MEN = ["Ben", "Dan", "Finn", "Hugo", "Jack", "Liam"]


def grammar_answers(task, words, capitals):
    """Answers that are right."""
    if task == "agreement":
        return {"are" if words[2] in MANY else "is"}
    if task == "licensing":
        return {"ever" if words[1] in NEGATIVE else "already"}
    if task == "gender":
        return {"he" if words[1] in MEN else "she"}
    if task == "indirect_object":
        return {words[1], words[3]} - {words[6]}
    if task == "greater_than":
        return {str(k) for k in range(int(words[4]) + 1, 10)}
    return {capitals[words[4]]}


def test_grammars():
    language = grammars(200, n_train=3000, seed=0)
    assert list(language.tasks) == [*language.formal, *language.functional]
    assert {pairs.clean.shape for pairs in language.tasks.values()} == {(200, 9)}
    assert len({pairs.words for pairs in language.tasks.values()}) == 1
    capitals = {words[4]: right for words, right, _ in read(language.tasks["capital"])}
    assert len(set(capitals.values())) == 8
    for task, pairs in language.tasks.items():
        assert pairs.name == task
        for words, right, wrong in read(pairs):
            answers = grammar_answers(task, words, capitals)
            assert right in answers
            assert wrong not in answers
        for words, right, wrong in read(pairs, "corrupt"):
            answers = grammar_answers(task, words, capitals)
            assert ({right, wrong} if task == "greater_than" else {wrong}) <= answers
        assert (pairs.clean != pairs.corrupt).sum(1).tolist() == [1] * 200
        if task in language.formal:
            assert pairs.task().chance == pytest.approx(0.5, abs=0.12)
        first, second = pairs.split(seed=0)
        assert min(len(first), len(second)) > 50


def test_grammars_to_train_on():
    language = grammars(50, n_train=6000, seed=1)
    words = language.tasks["capital"].words
    capitals = {w[4]: right for w, right, _ in read(language.tasks["capital"])}
    marks = {
        "agreement": "near",
        "licensing": "saw",
        "gender": "said",
        "indirect_object": "met",
        "greater_than": "from",
        "capital": "capital",
    }
    counts, zeros = dict.fromkeys(marks, 0), 0
    known = {tuple(row) for p in language.tasks.values() for row in p.clean.tolist()}
    for row, target in zip(
        language.training.inputs.tolist(), language.training.targets.tolist(), strict=True
    ):
        said = [words[t] for t in row][1:]
        (task,) = [task for task, mark in marks.items() if mark in said]
        assert words[target] in grammar_answers(task, said, capitals)
        assert tuple(row) not in known
        counts[task] += 1
        zeros += task == "greater_than" and said[4] == "0"
    assert min(counts.values()) > 700
    assert zeros > 50
    assert language.training.best < 1


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: multiple_choice(3, labels="abc", seed=0), UnknownName, "kind of labels 'abc'"),
        (lambda: recall_and_chain(3, hops=8, seed=0), InvalidArgument, "n_entities 2"),
        (lambda: recall_and_chain(3, n_train=2, seed=0), InvalidArgument, "n_train"),
        (lambda: grammars(0, seed=0), InvalidArgument, "n must be"),
    ],
)
def test_what_is_wrong_is_said(make, error, says):
    with pytest.raises(error, match=says):
        make()

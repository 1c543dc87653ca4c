"""Trees of concepts are what they say."""

import pytest
import torch

from bregma.datasets import concept_tree
from bregma.errors import InvalidArgument
from bregma.mechanism import MatchingPursuitCode


def test_a_signal_is_a_parent_and_one_of_its_children():
    tree = concept_tree(500, parents=4, children=3, noise=0.02, seed=0)
    on = tree.codes > 0
    assert (on.sum(1) == 2).all()
    for row in on:
        parent, child = row.nonzero().flatten().tolist()
        assert tree.parent[parent] == -1
        assert tree.parent[child] == parent
    assert on.any(0).all()
    sizes = tree.codes[on].view(-1, 2)  # in a row the parent comes first
    for column, (low, high) in zip(sizes.T, ((1, 2), (0.5, 1)), strict=True):
        assert low <= column.min() < 1.1 * low
        assert 0.9 * high < column.max() <= high
    rest = tree.signals - tree.codes @ tree.dictionary.T
    assert float(rest.std()) == pytest.approx(0.02, rel=0.05)
    assert tree.f1(tree.codes) == 1


def test_a_child_is_orthogonal_to_its_parent_alone():
    tree = concept_tree(10, pixels=9, seed=1)
    alike = tree.dictionary.T @ tree.dictionary
    torch.testing.assert_close(alike.diag(), torch.ones(48))
    child = torch.arange(8, 48)
    assert alike[child, tree.parent[child]].abs().max() < 1e-5
    other = (tree.parent[child] + 1) % 8
    assert alike[child, other].abs().mean() > 0.1


def test_some_parents_come_alone():
    on = (concept_tree(4000, alone=0.4, seed=0).codes > 0).sum(1)
    assert float((on == 1).float().mean()) == pytest.approx(0.4, abs=0.03)
    assert ((concept_tree(50, alone=1.0, seed=0).codes > 0).sum(1) == 1).all()


def test_pursuit_with_the_true_concepts_reaches_the_truth():
    tree = concept_tree(1000, pixels=32, seed=0)
    code = MatchingPursuitCode(2)(tree.signals, tree.dictionary.T.contiguous())
    assert tree.f1((code > 1e-4).float()) > 0.999
    torch.testing.assert_close(code @ tree.dictionary.T, tree.signals, atol=1e-4, rtol=1e-4)
    largest = (tree.signals @ tree.dictionary).topk(2).indices  # one linear step does not
    assert tree.f1(torch.zeros_like(code).scatter(1, largest, 1.0)) < 0.9


def test_seeds_and_bad_input():
    assert torch.equal(concept_tree(9, seed=3).signals, concept_tree(9, seed=3).signals)
    assert not torch.equal(concept_tree(9, seed=3).signals, concept_tree(9, seed=4).signals)
    for bad in ({"n": 0}, {"pixels": 1}, {"children": 0}, {"alone": 1.5}, {"noise": -1.0}):
        with pytest.raises(InvalidArgument):
            concept_tree(**{"n": 5, **bad}, seed=0)

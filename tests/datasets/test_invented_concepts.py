"""Invented concepts: their facts, their families, and prompts that have nothing in common."""

from __future__ import annotations

import pytest
import torch

from bregma.datasets import invented_concepts
from bregma.errors import InvalidArgument


@pytest.fixture(scope="module")
def world():
    return invented_concepts(16, n_stages=2, most=4, seed=0)


def rows(task):
    return {tuple(row) for row in task.inputs.tolist()}


def test_prompts_ask_for_the_facts(world):
    place = {int(token): k for k, token in enumerate(world.relations)}
    for task in (world.pretraining, *world.stages, world.questions(1, 0), world.lesson(0, 3)):
        for (_, _, who, relation), answer in zip(
            task.inputs.tolist(), task.targets.tolist(), strict=True
        ):
            assert world.facts[who, place[relation]] == answer
            assert world.words[answer].startswith(f"{place[relation]}.")
    assert len(world.pretraining) == 32 * 8 * 4
    assert len(world.lesson(0, 3)) == 16


def test_corrupt_prompts_are_about_a_known_concept_that_says_something_else(world):
    for concept in range(16):
        for half in (0, 1):
            pairs = world.pairs(0, concept, half)
            assert len(pairs) == 8
            changed = (pairs.clean != pairs.corrupt).nonzero()
            assert changed[:, 1].unique().tolist() == [2]
            known = rows(world.pretraining)
            assert {tuple(row) for row in pairs.corrupt.tolist()} <= known
            place = [world.relations.tolist().index(t) for t in pairs.corrupt[:, 3].tolist()]
            assert torch.equal(pairs.wrong, world.facts[pairs.corrupt[:, 2], place])


def test_halves_and_stages_share_no_prompt(world):
    parts = [rows(world.questions(stage, half)) for stage in (0, 1) for half in (0, 1)]
    parts.append(rows(world.pretraining))
    assert len(set.union(*parts)) == sum(map(len, parts))
    assert rows(world.stages[0]) == parts[0] | parts[1]


def test_exposures_are_how_often_a_fact_is_told(world):
    for stage in (0, 1):
        told = world.stages[stage].inputs[:, 2]
        for token, times in zip(world.concepts[stage], world.exposures[stage], strict=True):
            assert (told == token).sum() == 4 * 4 * times
        assert world.exposures[stage].bincount().tolist() == [0, 4, 4, 4, 4]
        assert world.families[stage].bincount().tolist() == [4, 4, 4, 4]


def test_families_share_all_half_or_none_of_their_relations(world):
    has = world.facts[world.concepts[0]] >= 0
    want = (has[:, None] & has[None]).sum(-1) / 4
    assert torch.equal(world.alike[0], want)
    assert sorted(want.unique().tolist()) == [0, 0.5, 1]
    assert (has.sum(1) == 4).all()


def test_chance_and_seeds(world):
    task = world.stages[0]
    assert task.chance == pytest.approx(task.targets.bincount().max().item() / len(task))
    # A relation leaves eight objects, none of which is much more common among known concepts.
    known = world.facts[(world.facts >= 0).all(1)]
    assert all(len(objects.unique()) <= 8 for objects in known.T)
    assert known.mode(0).values.unique().numel() == 8
    again = invented_concepts(16, n_stages=2, most=4, seed=0)
    assert torch.equal(again.stages[1].inputs, world.stages[1].inputs)
    other = invented_concepts(16, n_stages=2, most=4, seed=1)
    assert not torch.equal(other.facts, world.facts)


def test_what_is_wrong_is_said(world):
    with pytest.raises(InvalidArgument, match="n must be"):
        invented_concepts(3, seed=0)
    with pytest.raises(InvalidArgument, match="most"):
        invented_concepts(8, most=0, seed=0)
    for where in ((2, 0, 0), (0, 16, 0), (0, -1, 0), (0, 0, 2)):
        with pytest.raises(InvalidArgument, match="2 stages of 16"):
            world.pairs(*where)

"""Identification against loops over the centres of each label, and what nesting must guarantee."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from bregma import Dissimilarity
from bregma.errors import InvalidArgument, NotIdentifiable, UnknownName
from bregma.geometry import (
    Geodesic,
    GeoTopological,
    RDMCosine,
    RDMPearson,
    RDMTauA,
    RDMWhitenedCosine,
    identify,
)

GRID = [GeoTopological()] + [
    GeoTopological(a, b) for a in (0.0, 0.3, 0.6) for b in (0.3, 0.6, 1.0) if a <= b and b - a < 1
]


def study(seed, noise=1.0, subjects=5, labels=4, pairs=45):
    rng = np.random.default_rng(seed)
    true = rng.random((labels, pairs))
    table = [(s, k) for s in range(subjects) for k in range(labels)]
    values = [true[k] + noise * rng.standard_normal(pairs) for _, k in table]
    columns = {"subject": [f"s{s}" for s, _ in table], "area": [f"a{k}" for _, k in table]}
    return Dissimilarity(np.stack(values), rdms=columns)


def by_hand(rdms, comparison):
    """What each RDM is taken for: that with the most similar pooled RDM of the others."""
    subjects, areas = rdms.column("subject"), rdms.column("area")
    found = []
    for k in range(rdms.n_rdms):
        scores = {}
        for area in sorted(set(areas)):
            there = (areas == area) & (subjects != subjects[k])
            if there.any():
                pooled = comparison.pool(rdms.values[there])
                scores[area] = comparison.compare(rdms.values[[k]], pooled[None])[0, 0]
        found.append(max(scores, key=scores.get))
    return np.array(found)


@pytest.mark.parametrize("comparison", [RDMPearson(), RDMCosine(), RDMWhitenedCosine()])
@pytest.mark.parametrize("seed", range(4))
def test_equals_comparing_with_the_pooled_rdm(comparison, seed):
    rdms = study(seed)
    out = identify(rdms, "area", comparison=comparison)
    expected = by_hand(rdms, comparison)
    assert (out.answers["found"] == expected).all()
    assert out.accuracy == (expected == rdms.column("area")).mean()
    assert out.chance == 0.25


def test_the_nested_choice_equals_loops():
    rdms, grid = study(0, noise=0.8, subjects=4, labels=3), [GRID[0], GRID[2], GRID[5]]
    out = identify(rdms, "area", transforms=grid)
    subjects, areas = rdms.column("subject"), rdms.column("area")
    for s in np.unique(subjects):
        rest = rdms.select(subject=lambda label, s=s: label != s)
        right = [(by_hand(t(rest), RDMPearson()) == rest.column("area")).mean() for t in grid]
        best = grid[int(np.argmax(right))]
        rows = subjects == s
        assert (out.answers["transform"][rows] == best.name).all()
        assert (out.answers["found"][rows] == by_hand(best(rdms), RDMPearson())[rows]).all()
    assert len(set(out.answers["transform"])) > 1
    for t in grid:
        assert out.hindsight[t.name] == (by_hand(t(rdms), RDMPearson()) == areas).mean()


def test_a_subject_has_no_part_in_its_own_choice():
    rdms = study(1, noise=0.8)
    own = rdms.column("subject") == "s2"
    values = rdms.values.copy()
    values[own] = np.random.default_rng(9).random(values[own].shape)
    other = identify(Dissimilarity(values, rdms=rdms.rdms), "area", transforms=GRID).answers
    same = identify(rdms, "area", transforms=GRID).answers
    assert (other["transform"][own] == same["transform"][own]).all()
    assert (other["found"][own] != same["found"][own]).any()


def test_without_noise_all_are_found_and_the_first_transform_is_kept():
    out = identify(study(0, noise=0.0), "area", transforms=[Geodesic(0.0, 0.5), *GRID])
    assert out.accuracy == 1
    assert set(out.answers["transform"]) == {Geodesic(0.0, 0.5).name}


def test_of_nothing_the_nested_choice_is_at_chance_and_hindsight_is_not():
    outs = []
    for seed in range(24):
        rdms = study(seed)
        values = np.random.default_rng(seed).random(rdms.values.shape)
        outs.append(identify(Dissimilarity(values, rdms=rdms.rdms), "area", transforms=GRID))
    nested = np.array([out.accuracy for out in outs])
    standard_error = nested.std(ddof=1) / np.sqrt(len(nested))
    assert abs(nested.mean() - 0.25) < 3 * standard_error
    assert np.mean([out.hindsight.max() for out in outs]) > nested.mean() + 5 * standard_error


def test_the_null_holds_the_accuracies_of_exchanged_labels():
    rdms = study(0, subjects=3, labels=2)
    found = identify(rdms, "area", n_permutations=200, seed=1)
    possible = set()  # every arrangement of two labels within three subjects
    for flips in np.ndindex(2, 2, 2):
        labels = rdms.column("area").reshape(3, 2)
        labels = np.stack(
            [row[::-1] if flip else row for row, flip in zip(labels, flips, strict=True)]
        )
        table = rdms.rdms.assign(area=labels.ravel())
        possible.add(identify(Dissimilarity(rdms.values, rdms=table), "area").accuracy)
    assert set(found.null) == possible
    again, other = (identify(rdms, "area", n_permutations=200, seed=s).null for s in (1, 2))
    assert (again == found.null).all()
    assert (other != found.null).any()


def test_p_values_are_uniform_where_labels_mean_nothing():
    table, p = study(0, subjects=3).rdms, []
    for values in np.random.default_rng(0).random((80, 12, 45)):
        rdms = Dissimilarity(values, rdms=table)
        p.append(identify(rdms, "area", transforms=GRID[:2], n_permutations=19).p_value)
    # ties among few accuracies keep it on the safe side
    assert 0.05 < np.mean(np.array(p) <= 0.25) < 0.25 + 2.5 * np.sqrt(0.25 * 0.75 / len(p))
    assert identify(study(0, noise=0.2), "area", n_permutations=99).p_value == 0.01


def test_rank_comparisons_and_bent_distances():
    rdms = study(0, noise=0.3)
    bent = Dissimilarity(np.exp(3 * rdms.values), rdms=rdms.rdms)
    plain, ranks = (identify(d, "area", comparison=RDMTauA()) for d in (rdms, bent))
    assert (plain.answers["found"] == ranks.answers["found"]).all()


def test_subjects_may_lack_a_label():
    rdms = study(2)
    partial = rdms.select(subject=lambda s: s != "s0").concat(
        rdms.select(subject="s0", area=["a1", "a3"])
    )
    assert (identify(partial, "area").answers["found"] == by_hand(partial, RDMPearson())).all()


def test_the_result_cannot_be_changed():
    out = identify(study(0), "area")
    with pytest.raises(dataclasses.FrozenInstanceError):
        out.accuracy = 1.0


def test_errors():
    rdms = study(0)
    with pytest.raises(UnknownName, match="area"):
        identify(rdms, "region")
    with pytest.raises(NotIdentifiable, match="at least 2 and 2"):
        identify(rdms.select(subject="s0"), "area")
    with pytest.raises(NotIdentifiable, match="without the one"):
        identify(rdms.select(subject=["s0", "s1"]), "area", transforms=GRID)
    with pytest.raises(InvalidArgument, match="0 or more, not -1"):
        identify(rdms, "area", n_permutations=-1)
    with pytest.raises(InvalidArgument, match="n_permutations=999"):
        _ = identify(rdms, "area").p_value
    with pytest.raises(InvalidArgument, match="must differ"):
        identify(rdms, "area", transforms=[GRID[0], GRID[0]])
    lonely = rdms.select(subject="s0").concat(rdms.select(area=["a0", "a1"], subject=["s1", "s2"]))
    with pytest.raises(NotIdentifiable, match="area='a2'"):
        identify(lonely, "area")
    flat = Dissimilarity(np.vstack([rdms.values[:-1], np.ones((1, 45))]), rdms=rdms.rdms)
    with pytest.raises(NotIdentifiable, match="RDM 19"):
        identify(flat, "area")

"""Areas that look for a digit or at a place: the truth is what it says."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

from bregma.datasets import routed_areas
from bregma.errors import InvalidArgument


@pytest.fixture(scope="module")
def halves():
    return routed_areas(400, 200, n_units=3, seed=1)


def units(part, area):
    return np.flatnonzero(part.areas.truth["area"] == area)


def test_digits_are_where_the_labels_say(halves):
    images, labels = load_digits(return_X_y=True)
    for part in halves:
        assert ((part.labels >= 0).sum(axis=1) == 3).all()
        assert all(len(set(row[row >= 0])) == 3 for row in part.labels)
        for scene, cell in np.argwhere(part.labels[:20] >= 0):
            row, column = divmod(cell, 6)
            crop = part.images[scene, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
            same = (images / 16 == crop.ravel()).all(axis=1)
            assert labels[same].tolist() == [part.labels[scene, cell]]
            assert (part.patches[scene, cell] == crop.ravel()).all()


def test_no_digit_is_in_both_halves(halves):
    train, test = ({tuple(p) for p in half.patches[half.labels >= 0]} for half in halves)
    assert not train & test


def test_category_areas_respond_to_their_digit_wherever_it_is(halves):
    train, _ = halves
    signal = train.areas.signal.values
    for digit in range(4):
        there = (train.labels == digit).any(axis=1)
        of_area = signal[:, units(train, f"digit {digit}")]
        assert (of_area[~there] == 0).all()
        assert (of_area[there] != 0).all()
        # that the digit is there says nothing: the mean is near 0 in units of the deviation
        assert np.abs(of_area[there].mean(0) / of_area[there].std(0)).max() < 5 / there.sum() ** 0.5


def test_place_areas_are_linear_in_their_cell_and_in_nothing_else(halves):
    train, _ = halves
    for area in train.areas.truth.query("kind == 'place'")["area"].unique():
        signal = train.areas.signal.values[:, units(train, area)]
        cell = train.patches[:, int(area.split()[1])]
        weights, *_ = np.linalg.lstsq(cell, signal, rcond=None)
        np.testing.assert_allclose(cell @ weights, signal, atol=1e-9)


def test_the_ceiling_is_reached_by_the_signal_and_is_the_one_that_was_asked_for():
    train, test = routed_areas(1000, 1000, n_units=4, ceiling=0.7, seed=0)
    np.testing.assert_allclose(train.areas.reliability, 0.49)
    for part in (train, test):
        noisy, signal = part.areas.recording.values, part.areas.signal.values
        r = [np.corrcoef(a, b)[0, 1] for a, b in zip(noisy.T, signal.T, strict=True)]
        np.testing.assert_allclose(r, np.sqrt(part.areas.reliability), atol=0.08)


def test_the_same_seed_gives_the_same_and_another_seed_something_else(halves):
    again, other = (routed_areas(400, 200, n_units=3, seed=s)[0] for s in (1, 2))
    assert (again.images == halves[0].images).all()
    assert again.areas.recording.identical(halves[0].areas.recording)
    assert (other.images != again.images).any()


@pytest.mark.parametrize(
    "wrong",
    [
        {"n_train": 0},
        {"n_units": 0},
        {"ceiling": 1.0},
        {"n_items": 11},
        {"side": 2, "n_items": 5},
        {"n_places": 37},
        {"categories": (10,)},
        {"categories": (), "n_places": 0},
    ],
)
def test_numbers_out_of_range_are_refused(wrong):
    with pytest.raises(InvalidArgument):
        routed_areas(**{"n_train": 4, "n_test": 4, "seed": 0, **wrong})

"""Searchlights against one RDM at a time."""

from __future__ import annotations

import numpy as np
import pytest

from bregma.errors import InvalidArgument, NotIdentifiable, UnknownName
from bregma.geometry import (
    CorrelationDistance,
    CrossnobisDistance,
    EuclideanDistance,
    MahalanobisDistance,
    rdm,
    searchlight,
)
from bregma.recording import Recording


@pytest.fixture
def voxels():
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*[np.arange(4)] * 3), -1).reshape(-1, 3)
    return Recording.from_array(
        rng.standard_normal((18, 64)),
        unit={"unit": [f"v{i}" for i in range(64)], **dict(zip("xyz", grid.T, strict=True))},
        presentation={"stimulus": np.tile(np.arange(6), 3), "repeat": np.repeat(range(3), 6)},
    )


@pytest.mark.parametrize(
    "distance",
    [CorrelationDistance(), EuclideanDistance(), CrossnobisDistance(),
     CrossnobisDistance("diagonal"), MahalanobisDistance("ledoit_wolf")],
    ids=str,
)  # fmt: skip
def test_each_centre_is_the_rdm_of_the_units_around_it(voxels, distance):
    found = searchlight(voxels, distance, radius=1.5)
    assert found.n_rdms == 64
    table = voxels.units
    position = table[["x", "y", "z"]].to_numpy(float)
    for row in (0, 21, 63):
        near = np.linalg.norm(position - position[row], axis=1) <= 1.5
        part = voxels.select(unit=table.index[near].tolist())
        np.testing.assert_allclose(found.values[row], rdm(part, distance).values[0], rtol=1e-9)
        assert found.rdms.loc[row].tolist() == [f"v{row}", near.sum()]


def test_neighbours_by_number_and_chosen_centres(voxels):
    found = searchlight(voxels, neighbours=5, centres=["v21", "v3"])
    assert found.rdms["centre"].tolist() == ["v21", "v3"]
    assert found.rdms["n_units"].tolist() == [5, 5]


def test_a_function_gets_blocks_of_centres(voxels, monkeypatch):
    whole = searchlight(voxels, radius=1.0)
    monkeypatch.setattr("bregma.geometry._searchlight.BLOCK", 15 * 7)
    sizes = []

    def mean(block):
        sizes.append(block.n_rdms)
        return block.values.mean(axis=1)

    found = searchlight(voxels, radius=1.0, function=mean)
    assert list(found) == whole.rdms["centre"].tolist()
    assert sizes == [7] * 9 + [1]
    np.testing.assert_allclose(list(found.values()), whole.values.mean(axis=1))


def test_centres_with_few_units_are_left_out(voxels):
    corners = searchlight(voxels, radius=1.0, fewest_units=5)
    assert (corners.rdms["n_units"] >= 5).all()
    assert corners.n_rdms == 56
    for function in (None, len):
        with pytest.raises(NotIdentifiable, match="radius larger than 0.1"):
            searchlight(voxels, radius=0.1, function=function)


def test_messages_say_what_to_do(voxels):
    for options in ({}, {"radius": 1.0, "neighbours": 3}):
        with pytest.raises(InvalidArgument, match="either radius= or neighbours="):
            searchlight(voxels, **options)
    with pytest.raises(InvalidArgument, match="must be positive"):
        searchlight(voxels, radius=0.0)
    with pytest.raises(InvalidArgument, match="65 neighbours out of 64"):
        searchlight(voxels, neighbours=65)
    with pytest.raises(UnknownName, match="'v999'"):
        searchlight(voxels, radius=1.0, centres=["v999"])
    with pytest.raises(InvalidArgument, match="needs positions"):
        searchlight(voxels.drop("x", "y", "z"), radius=1.0)
    with pytest.raises(InvalidArgument, match="takes no time"):
        searchlight(Recording.from_array(np.ones((2, 2, 2)), time=[0.0, 1.0]), radius=1.0)

"""Scenes show what their truth says."""

from __future__ import annotations

import numpy as np
import pytest

from bregma.datasets import captioned_scenes
from bregma.errors import InvalidArgument, UnknownName


def test_pixels_have_the_colours_and_textures_that_are_said():
    scenes = captioned_scenes(60, objects=3, tags=np.arange(60) % 5 - 1, noise=0.0, seed=0)
    for colour, channels in (("red", [0]), ("green", [1]), ("blue", [2]), ("yellow", [0, 1])):
        here = scenes.covered(scenes.matching(colour=colour, texture="plain"))
        paint = np.unique(scenes.images[here], axis=0)
        assert len(paint) == 1
        bright = paint[0] > 150
        assert np.flatnonzero(bright).tolist() == channels
    for texture, levels in (("plain", 1), ("striped", 2), ("checked", 2)):
        here = scenes.covered(scenes.matching(colour="red", texture=texture))
        assert len(np.unique(scenes.images[here], axis=0)) == levels
    striped = scenes.matching(texture="striped", shape="square")
    i, j = np.argwhere(striped)[0]
    rows, columns = np.where(scenes.regions[i, j])
    block = scenes.images[i][rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    assert (block == block[:, :1]).all()  # stripes lie across
    assert not (block == block[:1]).all()


def test_objects_and_tags_lie_apart_at_their_places():
    scenes = captioned_scenes(40, objects=3, tags=np.arange(40) % 5 - 1, seed=1)
    assert scenes.regions.sum(1).max() == 1
    assert not (scenes.regions.any(1) & scenes.tag_regions).any()
    assert ((scenes.tags >= 0) == scenes.tag_regions.any((1, 2))).all()
    row, column = np.divmod(scenes.attributes[..., 3], 3)
    y, x = np.indices((30, 30))
    for i, j in np.ndindex(*row.shape):
        region = scenes.regions[i, j]
        assert abs(y[region].mean() - 10 * row[i, j] - 4.5) < 2
        assert abs(x[region].mean() - 10 * column[i, j] - 4.5) < 2


def test_captions_and_parts():
    scenes = captioned_scenes(5, tags=[0, -1, 1, 2, 3], seed=2)
    said = scenes.captions()
    assert [text.endswith("a white tag") for text in said] == [True, False, True, True, True]
    assert said[1].count(" at the ") == 2
    assert scenes[2:4].captions() == said[2:4]
    both = scenes.matching(shape=("circle", "square")) | scenes.matching(shape="cross")
    np.testing.assert_array_equal(~both, scenes.matching(shape="triangle"))
    plain = captioned_scenes(5, seed=2)
    np.testing.assert_array_equal(plain.attributes, scenes.attributes)  # tags change nothing else
    np.testing.assert_array_equal(captioned_scenes(5, seed=2).images, plain.images)
    assert (captioned_scenes(5, seed=3).images != plain.images).any()


def test_attributes_are_drawn_evenly():
    kinds = captioned_scenes(600, objects=2, seed=0).attributes.reshape(-1, 4)
    for column, number in enumerate((4, 4, 3, 9)):
        count = np.bincount(kinds[:, column], minlength=number)
        assert len(count) == number
        expected = 1200 / number
        assert ((count - expected) ** 2 / expected).sum() < 30  # chi-square, 8 degrees at most


def test_what_is_wrong_is_said():
    for wrong in ({"objects": 0}, {"objects": 9}, {"noise": -1.0}):
        with pytest.raises(InvalidArgument, match="objects 1 to 8"):
            captioned_scenes(2, seed=0, **wrong)
    with pytest.raises(InvalidArgument, match="tags must be 2"):
        captioned_scenes(2, tags=[0, 4], seed=0)
    scenes = captioned_scenes(2, seed=0)
    with pytest.raises(UnknownName, match="circle"):
        scenes.matching(shape="circel")
    with pytest.raises(UnknownName, match="colour"):
        scenes.matching(color="red")

"""Sample images are real, varied and the same for the same seed."""

import numpy as np
import pytest

from bregma.datasets import sample_images
from bregma.errors import InvalidArgument


def test_what_is_in_them():
    images = sample_images(40, seed=0, photographs=0.75)
    assert images.array().shape == (40, 64, 64)
    assert images.array().dtype == np.uint8
    assert images.kind == "image"
    assert images.table["kind"].value_counts().to_dict() == {"photograph": 30, "digit": 10}
    assert set(images.table["label"][10:]) == {"china", "flower"}
    assert set(images.table["label"][:10]) <= set("0123456789")
    assert images.array().reshape(40, -1).std(axis=1).min() >= 15  # something to see in each


def test_colour():
    images = sample_images(8, seed=0, size=32, colour=True).array()
    assert images.shape == (8, 32, 32, 3)
    assert (images[:4] == images[:4, ..., :1]).all()  # digits are grey
    assert (images[4:].std(axis=-1).reshape(4, -1).max(axis=1) > 10).all()
    grey = sample_images(8, seed=0, size=32).array()
    assert np.abs(images @ [0.299, 0.587, 0.114] - grey).max() <= 0.5


def test_only_the_seed_decides():
    first = sample_images(12, seed=3)
    np.random.seed(0)  # noqa: NPY002
    again = sample_images(12, seed=3)
    assert first.content_hash() == again.content_hash()
    assert first.content_hash() != sample_images(12, seed=4).content_hash()


@pytest.mark.parametrize(("photographs", "kind"), [(0.0, "digit"), (1.0, "photograph")])
def test_one_kind_alone(photographs, kind):
    assert set(sample_images(5, seed=0, photographs=photographs).table["kind"]) == {kind}


@pytest.mark.parametrize(
    ("n", "more"),
    [(0, {}), (3, {"size": 0}), (3, {"photographs": 1.1}), (1798, {"photographs": 0.0})],
)
def test_impossible_wishes(n, more):
    with pytest.raises(InvalidArgument):
        sample_images(n, seed=0, **more)

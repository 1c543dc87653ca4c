"""Stimuli: images and arrays with names."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image

from bregma import Stimuli
from bregma.errors import InvalidArgument, InvalidRecording, UnknownName, UnreadableRecording


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for name, size in (("b", (6, 9)), ("a", (12, 8)), ("c", (6, 9))):
        Image.fromarray(rng.integers(0, 255, (*size, 3), dtype=np.uint8)).save(
            tmp_path / f"{name}.png"
        )
    (tmp_path / "notes.txt").write_text("no picture")
    return tmp_path


def test_folder_of_images(folder):
    s = Stimuli.from_images(folder)
    assert s.ids.tolist() == ["a", "b", "c"]
    assert s.images((5, 4)).shape == (3, 5, 4, 3)
    with pytest.raises(InvalidArgument, match="different sizes"):
        s.array()
    np.testing.assert_array_equal(s[1:].images(), s[1:].array())
    assert Stimuli.from_images(folder / "a.png").ids.tolist() == ["a"]
    assert Stimuli.from_images([folder / "b.png"]).content_hash() == s[[1]].content_hash()


def test_same_stem_in_two_folders(tmp_path):
    for sub in ("x", "y"):
        (tmp_path / sub).mkdir()
        Image.new("L", (4, 4)).save(tmp_path / sub / "i.png")
    s = Stimuli.from_images([tmp_path / "x" / "i.png", tmp_path / "y" / "i.png"])
    assert len(set(s.ids)) == 2


def test_unreadable_images(tmp_path):
    with pytest.raises(UnreadableRecording, match="no images"):
        Stimuli.from_images(tmp_path)
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n garbage")
    with pytest.raises(UnreadableRecording, match=r"broken\.png.*no picture"):
        Stimuli.from_images(tmp_path).images((4, 4))
    with pytest.raises(UnreadableRecording, match="no such file"):
        Stimuli([tmp_path / "gone.png"]).array()


def test_picture_that_claims_to_be_huge(tmp_path):
    header = b"P6 90000 90000 255\n"
    (tmp_path / "huge.ppm").write_bytes(header + b"\0" * 100)
    with pytest.raises(UnreadableRecording, match="huge.ppm"):
        Stimuli.from_images(tmp_path).images((4, 4))


def test_arrays_and_kinds():
    assert Stimuli(np.zeros((2, 8, 8), np.uint8)).kind == "image"
    assert Stimuli(np.zeros((2, 8, 8, 3))).kind == "image"
    assert Stimuli(np.zeros((2, 5))).kind == "array"
    assert Stimuli(torch.zeros(2, 5)).array().shape == (2, 5)
    assert Stimuli(np.zeros((2, 8, 8)), kind="image").images().shape == (2, 8, 8, 3)


@pytest.mark.parametrize(
    ("data", "grey"),
    [
        (np.full((1, 4, 4), 0.5), 128),
        (np.full((1, 4, 4, 1), 7, np.int64), 7),
        (np.full((1, 4, 4, 4), 9, np.uint8), 9),
        (np.ones((1, 4, 4), bool), 255),
    ],
)
def test_colour(data, grey):
    images = Stimuli(data, kind="image").images()
    assert images.shape == (1, 4, 4, 3)
    assert (images == grey).all()


@pytest.mark.parametrize(
    "data", [np.full((1, 4, 4), 3.0), np.full((1, 4, 4), 999), -np.ones((1, 4, 4))]
)
def test_colours_out_of_range(data):
    with pytest.raises(InvalidArgument, match="must lie between"):
        Stimuli(data, kind="image").images()


def test_refuses():
    with pytest.raises(InvalidRecording, match="no stimuli"):
        Stimuli(np.zeros((0, 3)))
    with pytest.raises(InvalidRecording, match="numbers are needed"):
        Stimuli(np.array(["a", "b"]))
    with pytest.raises(InvalidRecording, match="more than once"):
        Stimuli(np.zeros((2, 3)), stimulus=["a", "a"])
    with pytest.raises(InvalidArgument, match="are arrays"):
        Stimuli(np.zeros((2, 3))).images()
    with pytest.raises(InvalidArgument, match="at least one"):
        next(Stimuli(np.zeros((2, 3))).batches(0))


def test_select_batches_and_table():
    s = Stimuli(np.arange(10).reshape(5, 2), stimulus={"stimulus": list("vwxyz"), "n": range(5)})
    assert s.select(["z", "v"]).array().tolist() == [[8, 9], [0, 1]]
    assert s.select(["z"]).table["n"].tolist() == [4]
    assert [len(b) for b in s.batches(2)] == [2, 2, 1]
    with pytest.raises(UnknownName, match="stimulus"):
        s.select(["q"])
    assert "5 arrays" in repr(s)


def test_content_hash_sees_labels_and_values():
    s = Stimuli(np.zeros((2, 3)))
    assert s.content_hash() == Stimuli(np.zeros((2, 3))).content_hash()
    assert s.content_hash() != Stimuli(np.ones((2, 3))).content_hash()
    assert s.content_hash() != Stimuli(np.zeros((2, 3)), stimulus=["a", "b"]).content_hash()


def test_thumbnails(folder):
    for uri in Stimuli.from_images(folder).thumbnails(4):
        picture = Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1])))
        assert max(picture.size) == 4

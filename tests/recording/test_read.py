"""`bregma.read`: finding the reader, keys, options, and errors that name the file."""

from __future__ import annotations

import importlib
import os
from pathlib import Path

import numpy as np
import pytest

import bregma
from bregma.errors import InvalidArgument, MissingExtra, UnknownName, UnreadableRecording
from bregma.recording import _npz, _read


def test_every_format_is_in_the_table_with_the_suffixes_of_its_file() -> None:
    for name in set(_read.MODULES.values()):
        module = importlib.import_module(f"bregma.recording.{name}")
        assert set(module.SUFFIXES) == {s for s, m in _read.MODULES.items() if m == name}
        assert module.read.__doc__


def test_readers_tell_the_options_of_each_format() -> None:
    readers = bregma.recording.readers()
    assert "dims" in readers[".npz"].split(", ")
    assert "atlas" in readers[".nii.gz"].split(", ")
    assert "key" not in readers[".csv"].split(", ")


def test_missing_file_names_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "responses.npz").write_bytes(b"x")
    with pytest.raises(UnreadableRecording, match=r"no such file; nearest.*responses\.npz"):
        bregma.read(tmp_path / "respones.npz")
    with pytest.raises(UnreadableRecording, match="there is no folder"):
        bregma.read(tmp_path / "nowhere" / "a.npz")
    with pytest.raises(UnreadableRecording, match="no such file$"):
        bregma.read(tmp_path / "zzz.mat")


@pytest.mark.parametrize("suffix", sorted(set(_read.MODULES) - {".zarr"}))
def test_empty_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"nothing{suffix}"
    path.touch()
    with pytest.raises(UnreadableRecording, match="empty") as caught:
        bregma.read(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("suffix", sorted(set(_read.MODULES) - {".zarr"}))
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "LFS pointer"),
        (b"<!DOCTYPE html><html><body>Not found</body></html>", "web page"),
        (b"\x80\x04\x95" + bytes(90), "pickle"),
        (bytes(3000), "."),
    ],
    ids=["lfs", "web", "pickle", "zeros"],
)
def test_file_of_another_kind(tmp_path: Path, suffix: str, content: bytes, said: str) -> None:
    path = tmp_path / f"other{suffix}"
    path.write_bytes(content)
    with pytest.raises(UnreadableRecording, match=said) as caught:
        bregma.read(path)
    assert caught.value.path == str(path)
    assert len(caught.value.reason) > 5


def test_folders(tmp_path: Path) -> None:
    (tmp_path / "a.nwb").mkdir()
    with pytest.raises(UnreadableRecording, match="folder; name a file"):
        bregma.read(tmp_path / "a.nwb")
    (tmp_path / "a.zarr").mkdir()
    with pytest.raises(UnreadableRecording, match="folder is empty"):
        bregma.read(tmp_path / "a.zarr")
    (tmp_path / "b.zarr").write_bytes(b"PK\x03\x04")
    with pytest.raises(UnreadableRecording, match="Zarr store is a folder"):
        bregma.read(tmp_path / "b.zarr")


def test_special_files_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.npz")
    with pytest.raises(UnreadableRecording, match="neither a file"):
        bregma.read(tmp_path / "pipe.npz")


def test_unknown_suffix(tmp_path: Path) -> None:
    for name, said in (("a.doc", r"no reader knows '\.doc'"), ("data", "no suffix")):
        (tmp_path / name).write_bytes(b"x")
        with pytest.raises(UnreadableRecording, match=said):
            bregma.read(tmp_path / name)


def test_unknown_option_gives_the_nearest(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.eye(3, 2))
    with pytest.raises(UnknownName, match=r"option of \.npz/\.npy.*'presentation'"):
        bregma.read(tmp_path / "a.npy", presentations=["x"])


def test_key_in_the_path(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, one=np.eye(3, 2), two=np.eye(4, 2))
    assert bregma.read(f"{path}::two").n_presentations == 4
    assert bregma.read(path, "one").n_presentations == 3
    assert bregma.read(path, key="one").name == "one"
    with pytest.raises(InvalidArgument, match="twice"):
        bregma.read(f"{path}::two", "one")
    with pytest.raises(InvalidArgument, match="PATH::KEY"):
        bregma.read(f"{path}::")
    with pytest.raises(UnknownName, match="nearest of 2: 'two'"):
        bregma.read(f"{path}::twoo")


def test_file_whose_name_has_the_mark(tmp_path: Path) -> None:
    path = tmp_path / "a::b.npz"
    np.savez(path, one=np.eye(3, 2))
    assert bregma.read(path).n_units == 2


def test_paths_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="NUL"):
        bregma.read(f"{tmp_path}/a\0.npz")
    with pytest.raises(InvalidArgument, match="bytes"):
        bregma.read(os.fsencode(tmp_path / "a.npz"))


def test_upper_case_suffix(tmp_path: Path) -> None:
    with (tmp_path / "A.NPY").open("wb") as file:
        np.save(file, np.eye(3, 2))
    assert bregma.read(tmp_path / "A.NPY").n_units == 2


@pytest.mark.parametrize(
    ("raised", "expected", "said"),
    [
        (MemoryError(), UnreadableRecording, "memory"),
        (PermissionError(13, "no"), UnreadableRecording, "not permitted"),
        (RecursionError("deep"), UnreadableRecording, "RecursionError: deep"),
        (ModuleNotFoundError("x", name="exotic"), MissingExtra, "exotic"),
        (ValueError(), UnreadableRecording, r"\(ValueError\)"),
        (bregma.errors.InvalidRecording("NaN"), UnreadableRecording, "NaN"),
        (InvalidArgument("option"), InvalidArgument, "option"),
    ],
)
def test_errors_of_libraries_become_ours(
    tmp_path: Path, raised: Exception, expected: type[Exception], said: str
) -> None:
    (tmp_path / "a.npz").write_bytes(b"PK\x03\x04")
    with pytest.raises(expected, match=said), _read.reading(tmp_path / "a.npz"):
        raise raised


def test_errors_in_our_own_lines_say_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "a.npy", np.eye(3, 2))
    monkeypatch.setattr(_npz, "Shelf", None)
    with pytest.raises(
        UnreadableRecording, match=r"TypeError.*report line \d+ of bregma's _npz\.py"
    ):
        bregma.read(tmp_path / "a.npy")


def test_writing_a_format_that_is_only_read(tmp_path: Path) -> None:
    recording = bregma.Recording.from_array(np.eye(3, 2))
    with pytest.raises(InvalidArgument, match="does not write"):
        recording.save(tmp_path / "a.mat")
    with pytest.raises(UnreadableRecording, match="no reader knows"):
        recording.save(tmp_path / "a.txt")
    assert not list(tmp_path.iterdir())


def test_images(tmp_path: Path) -> None:
    images = np.zeros((3, 4, 4, 3), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", images=images, category=np.array(["x", "y", "x"]))
    found, table = _read.read_images(f"{tmp_path / 'a.npz'}::images")
    assert found.shape == images.shape
    assert table["category"].tolist() == ["x", "y", "x"]
    assert "stimulus" not in table
    np.savez(tmp_path / "b.npz", images=images, name=np.array(["p", "q", "r"]))
    assert _read.read_images(tmp_path / "b.npz")[1]["stimulus"].tolist() == ["p", "q", "r"]
    with pytest.raises(InvalidArgument, match="images are numbers"):
        _read.read_images(tmp_path / "a.npz", "category")
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InvalidArgument, match=r"\.npy, \.npz and \.mat"):
        _read.read_images(tmp_path / "a.csv")

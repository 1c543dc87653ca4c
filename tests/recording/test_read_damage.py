"""Structure of FIF and .set files is looked over before a library follows it."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import pytest

from bregma.errors import InvalidRecording
from bregma.recording import _damage
from bregma.recording._damage import look_over


def tag(content: bytes, following: int = 0, length: int | None = None) -> bytes:
    size = len(content) if length is None else length
    return struct.pack(">iiii", 100, 3, size, following) + content


GOOD = tag(b"abcd") + tag(b"", following=40) + bytes(4) + tag(b"efgh", following=-1) + b"rest"


@pytest.mark.parametrize("suffix", [".fif", ".fif.gz"])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (GOOD, None),
        (tag(b"abcd"), None),
        (tag(b"abcd") + tag(b"", following=5), "points backwards"),
        (tag(b"abcd", following=0) + tag(b"", following=20), "points backwards"),
        (tag(b"abcd")[:10], "middle of a tag"),
        (tag(b"abcd", length=-5), "declares -5 bytes"),
    ],
)
def test_tags(tmp_path: Path, suffix: str, content: bytes, said: str | None) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(gzip.compress(content) if suffix == ".fif.gz" else content)
    if said is None:
        look_over(path)
    else:
        with pytest.raises(InvalidRecording, match=said):
            look_over(path)


def test_tags_longer_than_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.fif").write_bytes(tag(b"abcd", length=5000))
    with pytest.raises(InvalidRecording, match="more than there are"):
        look_over(tmp_path / "a.fif")


def test_set_files(tmp_path: Path) -> None:
    head = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"
    (tmp_path / "a.set").write_bytes(head + struct.pack("<II", 14, 4000))
    with pytest.raises(InvalidRecording, match="ends in the middle"):
        look_over(tmp_path / "a.set")
    (tmp_path / "b.set").write_bytes(bytes(20))  # no MATLAB file: its own reader says so
    look_over(tmp_path / "b.set")


@pytest.mark.parametrize("start", [0, 512])
@pytest.mark.parametrize(
    ("walk", "said"),
    [
        ("import time; time.sleep(60)", "did not come back"),
        ("import os; os.kill(os.getpid(), 11)", "crashes over it"),
        ("raise OSError", None),
    ],
)
def test_hdf5_is_tried_in_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: int, walk: str, said: str | None
) -> None:
    monkeypatch.setattr(_damage, "_WALK", walk)
    monkeypatch.setattr(_damage, "_SECONDS", 2.0)
    path = tmp_path / "a.nwb"
    path.write_bytes(bytes(start) + _damage.HDF5 + bytes(100))
    if said is None:
        look_over(path)
    else:
        with pytest.raises(InvalidRecording, match=said):
            look_over(path)


def test_hdf5_that_is_whole(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.nc", "w") as file:
        file.create_dataset("x", data=[1.0, 2.0], chunks=(1,)).attrs["unit"] = "mV"
        file.create_group("g")["again"] = file["x"]
    look_over(tmp_path / "a.nc")


def test_where_no_process_can_be_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", str(tmp_path / "no python"))
    (tmp_path / "a.nc").write_bytes(_damage.HDF5)
    look_over(tmp_path / "a.nc")


def test_folders_are_left_alone(tmp_path: Path) -> None:
    look_over(tmp_path)


def test_real_files(shared_data: Path) -> None:
    for path in (*shared_data.glob("meg/*.fif.gz"), shared_data / "eeg" / "eeglab_data.set"):
        look_over(path)

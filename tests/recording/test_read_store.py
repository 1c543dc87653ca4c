"""Zarr and NetCDF: an exact round trip, written whole or not at all, read without trust."""

from __future__ import annotations

import json
import pickle
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings

import bregma
from bregma import Dissimilarity, Recording
from bregma.errors import InvalidArgument, MissingExtra, UnknownName, UnreadableRecording
from bregma.recording import _read, _store, _store_codec
from bregma.recording.strategies import dissimilarities, recordings

pytest.importorskip("h5netcdf")
pytest.importorskip("zarr")
SUFFIXES = (".nc", ".zarr")
both = pytest.mark.parametrize("suffix", SUFFIXES)
slow_disk = settings(
    deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def recording() -> Recording:
    values = np.random.default_rng(0).normal(size=(4, 5, 3))
    values[0, 0, 0] = -0.0
    return Recording.from_array(
        values,
        unit={"unit": ["a", "b\0c", "é\ud800"], "x/y z": [0.1, 0.2, 0.3], "values": [1, 2, 3],
              "good": [True, False, True], "bregma": ["", "q", "r"]},
        presentation={"stimulus": list("wxyz"), "session": ["s1", "s2", "s1", "s2"],
                      "when": np.array(["2020-01-01T00:00:00.123456789", "NaT"] * 2, "M8[ns]"),
                      "took": np.array([1, 2, 3, 4], "m8[us]")},
        time=np.linspace(-0.1, 0.3, 5),
        measured_in="mV",
        name="a name / with signs",
        sessions=pd.DataFrame(
            {"n": [1, 2], "x": [0.1 + 0.2, np.nan], "t": ["a", None],
             "d": pd.to_datetime(["2020-01-01", None]), "b": [True, False],
             "i": pd.array([1, None], dtype="Int64"),
             "o": pd.Series(["text", 1.5], dtype=object)},
            index=pd.Index(["s1", "s2"], name="id")),
    )  # fmt: skip


@pytest.fixture
def trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read HDF5 files without trying them in another process first, which takes its time."""
    monkeypatch.setattr(_read, "look_over", lambda *_: None)


@both
@slow_disk
@given(recordings())
def test_exact_round_trip(tmp_path: Path, suffix: str, trusted: None, drawn: Recording) -> None:
    path = drawn.save(tmp_path / f"a{suffix}")
    back = bregma.read(path)
    assert drawn.identical(back)
    assert back.data.dtype == drawn.data.dtype
    assert back.content_hash() == drawn.content_hash()


@both
@slow_disk
@given(dissimilarities())
def test_exact_round_trip_of_rdms(
    tmp_path: Path, suffix: str, trusted: None, drawn: Dissimilarity
) -> None:
    assert drawn.identical(bregma.read(drawn.save(tmp_path / f"a{suffix}")))


@both
def test_everything_comes_back(tmp_path: Path, suffix: str, recording: Recording) -> None:
    path = recording.save(tmp_path / f"a{suffix}")
    back = bregma.read(path)
    assert recording.identical(back)
    assert np.signbit(back.values[0, 0, 0])
    for name in recording.data.coords:
        assert back.data[name].dtype == recording.data[name].dtype
    assert recording.sessions is not None
    assert back.sessions is not None
    pd.testing.assert_frame_equal(back.sessions, recording.sessions)
    assert not back.data.chunks


@both
@pytest.mark.parametrize("dtype", ["f8", "f4", "f2", "i1", "u2", "i8", "u8", "?", ">f8", ">i4"])
def test_every_type(tmp_path: Path, suffix: str, dtype: str, trusted: None) -> None:
    values = (np.arange(12).reshape(4, 3) * 1.5).astype(dtype)
    recording = Recording.from_array(values)
    for lazy in (False, True):
        back = bregma.read(recording.save(tmp_path / f"a{suffix}"), lazy=lazy)
        assert back.data.dtype == values.dtype
        assert np.array_equal(back.values, values)
        assert (back.data.chunks is not None) == lazy


@both
def test_lazy(
    tmp_path: Path, suffix: str, recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = recording.save(tmp_path / f"a{suffix}")
    back = bregma.read(path, lazy=True)
    assert back.data.chunks is not None
    assert recording.identical(back)
    part = back.select(unit=["a"])
    assert np.array_equal(part.values, recording.values[:, :, :1])
    assert np.array_equal(pickle.loads(pickle.dumps(back)).values, recording.values)
    again = back.save(tmp_path / f"b{suffix}")
    assert recording.identical(bregma.read(again))
    monkeypatch.setattr(_store, "_LAZY_FROM", 100)
    assert bregma.read(path).data.chunks is not None
    assert bregma.read(path, lazy=False).data.chunks is None
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert bregma.read(path).data.chunks is None


@both
def test_damage_that_is_found_later_names_the_file(
    tmp_path: Path, suffix: str, recording: Recording
) -> None:
    path = recording.save(tmp_path / f"a{suffix}")
    lazy = bregma.read(path, lazy=True)
    shutil.rmtree(path) if path.is_dir() else path.write_bytes(bytes(9000))
    with pytest.raises(UnreadableRecording, match=f"a{suffix}"):
        _ = lazy.values


@both
def test_nothing_half_written(
    tmp_path: Path, suffix: str, recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = recording.save(tmp_path / f"a{suffix}")

    def fail(self: Any, store: Any, *args: Any, **kwargs: Any) -> None:
        Path(store).mkdir() if suffix == ".zarr" else Path(store).write_bytes(b"part")
        raise OSError("the disk is full")

    monkeypatch.setattr(xr.Dataset, "to_zarr" if suffix == ".zarr" else "to_netcdf", fail)
    with pytest.raises(OSError, match="full"):
        recording.named("other").save(path)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    assert recording.identical(bregma.read(path))


@both
def test_what_cannot_be_held(tmp_path: Path, suffix: str, recording: Recording) -> None:
    path = tmp_path / f"a{suffix}"
    long = Recording.from_array(np.ones((2, 2), dtype=np.longdouble))
    with pytest.raises(InvalidArgument, match="cannot hold exactly"):
        long.save(path)
    for column, said in (
        (pd.Categorical(["a", "b"]), "categorical"),
        ([{1}, {2}], "holds set"),
    ):
        table = pd.DataFrame({"c": column}, index=["s1", "s2"])
        with pytest.raises(InvalidArgument, match=said):
            Recording(recording.data, sessions=table).save(path)
    assert not list(tmp_path.iterdir())


def test_tables_with_several_indexes() -> None:
    table = pd.DataFrame({"a": [1]}, index=pd.MultiIndex.from_tuples([(1, 2)]))
    with pytest.raises(InvalidArgument, match="multi-index"):
        _store_codec.table_encoded(table)


@pytest.mark.parametrize(
    "table",
    [
        pd.DataFrame(index=range(3)),
        pd.DataFrame({"a": [1, 2]}, index=range(4, 8, 2)),
        pd.DataFrame({1: [1.0], 2: ["x"]}),
        pd.DataFrame({"t": pd.to_datetime(["2020-01-01"]).tz_localize("UTC")}),
        pd.DataFrame({"t": pd.to_timedelta([1, 2], unit="s")}, index=[0.5, 1.5]),
        pd.DataFrame({"n": [None, 1.0, np.inf, -np.inf]}),
        pd.DataFrame({"n": np.array([2**63], dtype="u8")}, index=pd.to_datetime(["2020-01-01"])),
    ],
)
def test_tables(table: pd.DataFrame) -> None:
    text = json.dumps(_store_codec.table_encoded(table))
    pd.testing.assert_frame_equal(_store_codec.table_decoded(json.loads(text)), table)


@both
def test_keys_and_versions(tmp_path: Path, suffix: str, recording: Recording) -> None:
    path = recording.save(tmp_path / f"a{suffix}")
    with pytest.raises(UnknownName, match="key of a store that bregma wrote"):
        bregma.read(path, "values")
    if suffix == ".zarr":
        meta = json.loads((path / "zarr.json").read_text())
        meta["attributes"]["bregma_format"] = 9
        (path / "zarr.json").write_text(json.dumps(meta))
        with pytest.raises(UnreadableRecording, match="newer bregma"):
            bregma.read(path)
        shutil.rmtree(path / "bregma")
        meta["attributes"]["bregma_format"] = 1
        (path / "zarr.json").write_text(json.dumps(meta))
        with pytest.raises(UnreadableRecording, match="'bregma' is missing"):
            bregma.read(path)


# Stores of other programs


@pytest.fixture
def other(recording: Recording) -> xr.Dataset:
    array = xr.DataArray(
        np.arange(6.0).reshape(3, 2),
        dims=("presentation", "unit"),
        coords={"stimulus": ("presentation", ["cat", "dog", "cup"]), "x": ("unit", [0.5, 1.5]),
                "when": ("presentation", pd.to_datetime(["2020-01-01"] * 3))},
        name="rates",
    )  # fmt: skip
    return array.to_dataset().assign(elsewhere=("q", np.arange(4)))


def store(dataset: xr.Dataset, path: Path, **options: Any) -> Path:
    if path.suffix == ".zarr":
        dataset.to_zarr(path, consolidated=False, **options)
    else:
        dataset.to_netcdf(path, engine="h5netcdf")
    return path


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("suffix", "options"),
    [(".nc", {}), (".zarr", {"zarr_format": 2}), (".zarr", {"zarr_format": 3})],
)
def test_arrays_of_xarray(
    tmp_path: Path, suffix: str, options: dict[str, int], other: xr.Dataset
) -> None:
    other["stimulus"] = other["stimulus"].astype(object)
    path = store(other, tmp_path / f"a{suffix}", **options)
    found = bregma.read(path)
    assert found.name == "rates"
    assert found.stimuli.tolist() == ["cat", "dog", "cup"]
    assert found.coordinate("x").tolist() == [0.5, 1.5]
    assert found.coordinate("when").dtype.kind == "M"
    assert np.array_equal(found.values, other["rates"].values)
    assert bregma.read(path, "rates", lazy=True).data.chunks is not None
    with pytest.raises(UnknownName, match="'rates'"):
        bregma.read(path, "rate")
    with pytest.raises(UnreadableRecording, match="dimensions"):
        bregma.read(path, "elsewhere")


@both
def test_arrays_with_other_dimensions(tmp_path: Path, suffix: str) -> None:
    one = xr.Dataset({"x": (("trial", "neuron"), np.eye(3))})
    with pytest.raises(UnreadableRecording, match=r"x \('trial', 'neuron'\).*Rename"):
        bregma.read(store(one, tmp_path / f"a{suffix}"))
    two = xr.Dataset({n: (("presentation", "unit"), np.eye(3)) for n in "xy"})
    path = store(two, tmp_path / f"b{suffix}")
    with pytest.raises(InvalidArgument, match="'x', 'y'"):
        bregma.read(path)
    assert bregma.read(path, "y").name == "y"


def test_netcdf_3(tmp_path: Path) -> None:
    xr.Dataset({"x": (("presentation", "unit"), np.eye(3))}).to_netcdf(
        tmp_path / "a.nc", engine="scipy"
    )
    with pytest.raises(UnreadableRecording, match="version 3: convert"):
        bregma.read(tmp_path / "a.nc")


def test_missing_libraries(
    tmp_path: Path, recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "h5netcdf", None)
    monkeypatch.setitem(sys.modules, "zarr", None)
    monkeypatch.setitem(sys.modules, "zarr.codecs", None)
    with pytest.raises(MissingExtra, match=r"bregma\[neuro\]"):
        recording.save(tmp_path / "a.nc")
    with pytest.raises(MissingExtra, match=r"bregma\[scale\]"):
        recording.save(tmp_path / "a.zarr")


# Damage


def test_chunks_that_are_lost(tmp_path: Path, recording: Recording) -> None:
    path = recording.save(tmp_path / "a.zarr")
    next((path / "values" / "c").rglob("0")).rename(tmp_path / "away")
    lost = [file for file in (path / "values").rglob("*") if file.is_file()]
    assert lost
    with pytest.raises(UnreadableRecording, match="not complete"):
        bregma.read(path)


def test_data_that_changed(tmp_path: Path, recording: Recording) -> None:
    path = recording.save(tmp_path / "a.nc")
    content = bytearray(path.read_bytes())
    at = content.find(np.float64(recording.values[0, 0, 1]).tobytes())
    content[at] ^= 1
    path.write_bytes(content)
    with pytest.raises(UnreadableRecording, match="damaged"):
        bregma.read(path)
    path = recording.save(tmp_path / "a.zarr")
    chunk = next(file for file in (path / "values" / "c").rglob("*") if file.is_file())
    content = bytearray(chunk.read_bytes())
    content[len(content) // 2] ^= 1
    chunk.write_bytes(content)
    with pytest.raises(UnreadableRecording):
        bregma.read(path)


@pytest.mark.parametrize("change", ["many", "long", "cut", "none"])
def test_texts_that_lie(tmp_path: Path, recording: Recording, change: str) -> None:
    """numcodecs would allocate as many texts as the first four bytes say."""
    import numcodecs

    path = recording.save(tmp_path / "a.zarr")
    chunk = path / "stimulus" / "c" / "0"
    content = bytearray(numcodecs.Zstd().decode(chunk.read_bytes()))
    if change == "many":
        content[:4] = struct.pack("<I", 2**31)
    elif change == "long":
        content[4:8] = struct.pack("<I", 2**31)
    elif change == "cut":
        del content[-8:]
    else:
        content = bytearray()
    chunk.write_bytes(numcodecs.Zstd().encode(bytes(content)))
    with pytest.raises(UnreadableRecording, match="texts"):
        bregma.read(path)


def test_codecs_that_run_code(tmp_path: Path, recording: Recording) -> None:
    path = recording.save(tmp_path / "a.zarr")
    meta = json.loads((path / "stimulus" / "zarr.json").read_text())
    meta["codecs"] = [{"name": "numcodecs.pickle", "configuration": {}}]
    (path / "stimulus" / "zarr.json").write_text(json.dumps(meta))
    with pytest.raises(UnreadableRecording, match="can run any code: refused"):
        bregma.read(path)
    meta["codecs"] = [{"name": "numcodecs.json2", "configuration": {}}]
    (path / "stimulus" / "zarr.json").write_text(json.dumps(meta))
    with pytest.raises(UnreadableRecording):
        bregma.read(path)


def test_more_chunks_than_files(tmp_path: Path, recording: Recording) -> None:
    path = recording.save(tmp_path / "a.zarr")
    meta = json.loads((path / "values" / "zarr.json").read_text())
    meta["shape"], meta["chunk_grid"]["configuration"]["chunk_shape"] = [10**6, 5, 3], [1, 1, 1]
    (path / "values" / "zarr.json").write_text(json.dumps(meta))
    with pytest.raises(UnreadableRecording, match="chunks, but the store has"):
        bregma.read(path)


def test_files_that_point_elsewhere(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    (tmp_path / "secret").write_bytes(bytes(800))
    with h5py.File(tmp_path / "a.nc", "w") as file:
        file.create_dataset("x", (10, 10), "f8", external=str(tmp_path / "secret"))
    with h5py.File(tmp_path / "b.nc", "w") as file:
        file["x"] = h5py.ExternalLink(str(tmp_path / "a.nc"), "/x")
    with h5py.File(tmp_path / "c.nc", "w") as file:
        file.create_dataset("x", (50_000, 50_000), "f8", chunks=(50, 50))
        file.create_group("g")
        file["refs"] = np.array([file["x"].ref], dtype=h5py.ref_dtype)
    for name, said in (("a", "points to other files"), ("b", "another file"), ("c", "dimensions")):
        with pytest.raises(UnreadableRecording, match=said):
            bregma.read(tmp_path / f"{name}.nc")


def test_declared_too_large(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.nc", "w") as file:
        file.create_dataset("x", (50_000, 9_000), "f8", chunks=(50, 50))
        for i, name in enumerate(("presentation", "unit")):
            file.create_dataset(name, data=np.arange((50_000, 9_000)[i])).make_scale(name)
            file["x"].dims[i].attach_scale(file[name])
    with pytest.raises(UnreadableRecording, match="exhaust the memory"):
        bregma.read(tmp_path / "a.nc", lazy=False)
    with pytest.raises(UnreadableRecording, match="more than the 1e-06 GB"):
        bregma.read(tmp_path / "a.nc", lazy=False, max_bytes=1000)

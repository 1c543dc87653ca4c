"""NumPy files: which array is the responses, what labels it, and nothing is unpickled."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bregma
from bregma.errors import InvalidArgument, UnknownName, UnreadableRecording


def saved(tmp_path: Path, **arrays: Any) -> Path:
    np.savez(tmp_path / "a.npz", **arrays)
    return tmp_path / "a.npz"


def test_real_responses(shared_data: Path) -> None:
    file = shared_data / "fmri-objects" / "roi_responses.npz"
    betas = bregma.read(f"{file}::betas")
    assert betas.shape == (81, 696)
    assert betas.stimuli[:2].tolist() == ["airplane", "armchair"]
    assert np.array_equal(betas.coordinate("area"), betas.coordinate("voxel_roi"))
    assert set(betas.coordinate("area")) == {"EVC", "OPA", "PPA", "LOC", "PFS", "OFA", "FFA"}
    with np.load(file) as archive:
        assert np.array_equal(betas.values, archive["betas"])
    for key, n in (("alexnet_pcs", 20), ("word2vec_pcs", 30)):
        model = bregma.read(file, key)
        assert model.n_units == n
        assert np.array_equal(model.stimuli, betas.stimuli)
    with pytest.raises(InvalidArgument, match=r"key= or PATH::KEY.*'betas' 81x696"):
        bregma.read(file)


def test_other_real_files(shared_data: Path) -> None:
    things = bregma.read(shared_data / "things" / "spose_49d.npz")
    assert things.shape == (1854, 49)
    assert things.stimuli[0] == "aardvark"
    rest = bregma.read(
        shared_data / "fmri-rest" / "hcp_101309.npz",
        "timeseries",
        dims=("unit", "time"),
        sampling_rate=1 / 0.72,
    )
    assert rest.shape == (1, 1200, 94)
    assert np.isclose(rest.sampling_rate, 1 / 0.72)
    wiring = bregma.read(shared_data / "fmri-rest" / "hcp_101309.npz", "length_mm")
    assert isinstance(wiring, bregma.Dissimilarity | bregma.Recording)
    finger = bregma.read(
        shared_data / "eeg-finger" / "selfpaced.npz",
        dims=("presentation", "unit", "time"),
        sampling_rate=100.0,
    )
    assert finger.shape == (216, 50, 28)
    assert set(finger.coordinate("right")) == {0, 1}


def test_the_only_float_array_is_meant(tmp_path: Path) -> None:
    path = saved(
        tmp_path,
        rates=np.eye(3, 2),
        labels=np.array(["a", "b", "a"]),
        count=np.eye(2, 2, dtype=int),
    )
    recording = bregma.read(path)
    assert recording.name == "rates"
    assert recording.coordinate("labels").tolist() == ["a", "b", "a"]
    assert recording.stimuli.tolist() == [0, 1, 2]  # labels repeat: they name no stimulus


def test_integers_where_there_are_no_floats(tmp_path: Path) -> None:
    assert bregma.read(saved(tmp_path, n=np.eye(3, 2, dtype=int))).data.dtype == int


def test_npy(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.arange(6.0).reshape(3, 2, order="F"))
    recording = bregma.read(tmp_path / "x.npy")
    assert recording.name == "x"
    assert recording.values.tolist() == [[0, 3], [1, 4], [2, 5]]
    np.save(tmp_path / "y.npy", np.arange(6.0))
    with pytest.raises(InvalidArgument, match="no array can be meant"):
        bregma.read(tmp_path / "y.npy")


def test_one_axis_with_dims(tmp_path: Path) -> None:
    path = saved(tmp_path, lfp=np.arange(5.0))
    recording = bregma.read(path, "lfp", dims="time", sampling_rate=10.0)
    assert recording.shape == (1, 5, 1)
    with pytest.raises(InvalidArgument, match="say what its axes are"):
        bregma.read(path, "lfp")


def test_time(tmp_path: Path) -> None:
    path = saved(tmp_path, x=np.ones((4, 3, 2)), times=np.array([0.1, 0.2, 0.3]), run=np.arange(4))
    recording = bregma.read(path)
    assert recording.times.tolist() == [0.1, 0.2, 0.3]
    assert recording.coordinate("run").tolist() == [0, 1, 2, 3]
    assert bregma.read(path, sampling_rate=2.0).times.tolist() == [0, 0.5, 1]
    assert bregma.read(path, time="times").sampling_rate == pytest.approx(10)
    with pytest.raises(InvalidArgument, match="not both"):
        bregma.read(path, time="times", sampling_rate=1.0)
    with pytest.raises(InvalidArgument, match="above 0"):
        bregma.read(path, sampling_rate=0.0)
    with pytest.raises(UnknownName, match="'tmes'"):
        bregma.read(path, time="tmes")
    with pytest.raises(InvalidArgument, match="which times"):
        bregma.read(saved(tmp_path, x=np.ones((4, 3, 2))))
    with pytest.raises(InvalidArgument, match="no time in it"):
        bregma.read(saved(tmp_path, x=np.ones((4, 3))), sampling_rate=1.0)
    with pytest.raises(InvalidArgument, match="not seconds"):
        bregma.read(saved(tmp_path, x=np.ones((4, 3, 2)), t=np.array(list("abc"))), time="t")


def test_labels_of_samples(tmp_path: Path) -> None:
    path = saved(tmp_path, x=np.ones((5, 2)), marker=np.arange(5), t=np.arange(5.0))
    recording = bregma.read(path, dims=("time", "unit"))
    assert recording.data["marker"].dims == ("time",)


def test_equal_lengths_are_asked_about(tmp_path: Path) -> None:
    path = saved(tmp_path, x=np.arange(9.0).reshape(3, 3), a=np.arange(3), b=np.array(list("pqr")))
    with pytest.raises(InvalidArgument, match=r"'a', 'b'.*presentation=\[...\] and unit=\[...\]"):
        bregma.read(path)
    recording = bregma.read(path, presentation=["b"], unit=["a"])
    assert recording.stimuli.tolist() == ["p", "q", "r"]
    assert recording.coordinate("a").tolist() == [0, 1, 2]
    assert bregma.read(path, presentation=["b"]).data["a"].dims == ("unit",)
    with pytest.raises(InvalidArgument, match="one entry for each of 3"):
        bregma.read(path, presentation=["x"])


def test_names_of_dimensions_on_another_one(tmp_path: Path) -> None:
    path = saved(tmp_path, x=np.ones((4, 3)), time=np.arange(4.0), unit=np.array(list("abc")))
    recording = bregma.read(path)
    assert recording.units.index.tolist() == ["a", "b", "c"]
    assert recording.coordinate("presentation_time").tolist() == [0, 1, 2, 3]


def test_wrong_dims(tmp_path: Path) -> None:
    path = saved(tmp_path, x=np.ones((4, 3)))
    for dims in (("time", "time"), ("time", "unit", "presentation")):
        with pytest.raises(InvalidArgument):
            bregma.read(path, "x", dims=dims)
    with pytest.raises(UnknownName, match="'units'.*'unit'"):
        bregma.read(path, "x", dims=("time", "units"))


def test_bytes_and_several_labels(tmp_path: Path) -> None:
    path = saved(tmp_path, x=np.ones((3, 2)), a=np.array([b"p", b"q", b"r"]), image_id=np.arange(3))
    recording = bregma.read(path)
    assert recording.coordinate("a").tolist() == ["p", "q", "r"]
    assert recording.stimuli.tolist() == [0, 1, 2]  # two could be meant: neither is taken


def test_rdms(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    square = rng.random((4, 5, 5))
    square = square + square.swapaxes(1, 2)
    square[:, range(5), range(5)] = 0
    words = np.array(["a", "b", "c", "d", "e"])
    rdms = bregma.read(saved(tmp_path, d=square, words=words, subject=np.arange(4)))
    assert isinstance(rdms, bregma.Dissimilarity)
    assert np.array_equal(rdms.square(), square)
    assert rdms.stimuli.tolist() == words.tolist()
    assert rdms.rdms["subject"].tolist() == [0, 1, 2, 3]
    one = bregma.read(saved(tmp_path, d=square[0]))
    assert one.n_rdms == 1
    assert one.stimuli.tolist() == ["0", "1", "2", "3", "4"]
    plain = bregma.read(saved(tmp_path, d=square[0]), dims=("presentation", "unit"))
    assert isinstance(plain, bregma.Recording)


def test_missing_values(tmp_path: Path) -> None:
    values = np.ones((3, 2))
    values[1, 1] = np.nan
    path = saved(tmp_path, x=values)
    with pytest.raises(UnreadableRecording, match=r"a\.npz.*NaN"):
        bregma.read(path)
    assert bregma.read(path, missing="drop_units").n_units == 1


class Harmful:
    """Would write a file if it were unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (self.path, "w")


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    path = saved(tmp_path, x=np.array([Harmful(str(trap))], dtype=object))
    np.save(tmp_path / "b.npy", np.array([[Harmful(str(trap))]], dtype=object), allow_pickle=True)
    for file, key in ((path, "x"), (tmp_path / "b.npy", "b")):
        with pytest.raises(UnreadableRecording, match="never unpickles"):
            bregma.read(file, key)
    (tmp_path / "c.npy").write_bytes(pickle.dumps(Harmful(str(trap))))
    with pytest.raises(UnreadableRecording, match="pickle"):
        bregma.read(tmp_path / "c.npy")
    assert not trap.exists()


def test_texts_and_complex_numbers_are_no_responses(tmp_path: Path) -> None:
    path = saved(tmp_path, words=np.array([["a", "b"]]), z=np.ones((2, 2), dtype=complex))
    for key in ("words", "z"):
        with pytest.raises(UnreadableRecording, match="real numbers"):
            bregma.read(path, key)


def header(shape: str, descr: str = "<f8") -> bytes:
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}"
    text += " " * (117 - len(text)) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize(
    "shape", ["(1000000, 1000000)", "(4611686018427387904, 4)", "(-1, 5)", "(3, 4)", "(0, 7)"]
)
def test_headers_that_lie(tmp_path: Path, shape: str) -> None:
    (tmp_path / "a.npy").write_bytes(header(shape) + bytes(64))
    with pytest.raises((UnreadableRecording, InvalidArgument)):
        bregma.read(tmp_path / "a.npy", "a")


def test_zip_bomb(tmp_path: Path) -> None:
    content = io.BytesIO()
    with (
        zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("x.npy", "w", force_zip64=True) as file,
    ):
        file.write(header("(40000, 1000)"))
        for _ in range(40):
            file.write(bytes(8_000_000))
    (tmp_path / "bomb.npz").write_bytes(content.getvalue())
    assert len(content.getvalue()) < 1_000_000
    with pytest.raises(UnreadableRecording, match="exhaust the memory"):
        bregma.read(tmp_path / "bomb.npz")
    with pytest.raises(UnreadableRecording, match="more than the 0.1 GB"):
        bregma.read(tmp_path / "bomb.npz", max_bytes=100_000_000)


def test_zip_that_is_no_npz(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(UnreadableRecording, match="holds no arrays"):
        bregma.read(tmp_path / "a.npz")

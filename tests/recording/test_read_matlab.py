"""MATLAB files of all versions, against SciPy and against the published RDMs."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import scipy.sparse

import bregma
from bregma.errors import InvalidArgument, UnknownName, UnreadableRecording
from bregma.recording._limits import Budget
from bregma.recording._matlab import shelf
from bregma.recording._matlab_5 import level_4, level_5
from bregma.recording._matlab_7_3 import Struct
from bregma.recording._read import read_images


@pytest.fixture(scope="module")
def it92(shared_data: Path) -> Path:
    return shared_data / "inferotemporal92"


def test_rdms_of_four_people(it92: Path) -> None:
    rdms = bregma.read(it92 / "92_brainRDMs.mat")
    assert isinstance(rdms, bregma.Dissimilarity)
    assert (rdms.n_rdms, rdms.n_stimuli) == (8, 92)
    assert rdms.rdms["subject"].tolist() == ["BE", "BE", "KO", "KO", "SN", "SN", "TI", "TI"]
    assert rdms.rdms["session"].tolist() == [1, 2] * 4
    assert set(rdms.rdms["area"]) == {"hIT"}
    assert rdms.rdms["name"][3] == "hIT | KO | Session: 2"
    peer = scipy.io.loadmat(it92 / "92_brainRDMs.mat")["RDMs"]
    assert np.array_equal(rdms.square()[5], peer[0, 2, 1]["RDM"])


def test_order_of_pairs_of_vectors(it92: Path) -> None:
    """The human vector is the mean of the eight square RDMs only in the right order."""
    path = it92 / "Kriegeskorte_Neuron2008_supplementalData.mat"
    both = bregma.read(f"{path}::RDMs_mIT_hIT_fig1")
    people = bregma.read(it92 / "92_brainRDMs.mat")
    assert both.rdms["name"].tolist() == ["mIT_674neurons", "hITvisStim_316vx"]
    assert "subject" not in both.rdms
    monkey, human = both.values
    assert np.corrcoef(human, people.mean().values[0])[0, 1] > 0.999999
    assert np.corrcoef(monkey, human)[0, 1] == pytest.approx(0.4912, abs=5e-5)
    assert both.stimuli.tolist() == people.stimuli.tolist()
    assert bregma.read(path).identical(both)  # the only RDMs in the file


def test_images(it92: Path) -> None:
    path = it92 / "Kriegeskorte_Neuron2008_supplementalData.mat"
    images, table = read_images(f"{path}::stimuli_92objs")
    assert images.shape == (92, 175, 175, 3)
    assert images.dtype == np.uint8
    assert table.columns.tolist() == ["category", "human", "face", "animal", "natural"]
    assert table["category"][0] == "human bodypart"
    assert np.array_equal(read_images(path)[0], images)
    stimuli = bregma.Stimuli.from_images(f"{path}::stimuli_92objs")
    assert stimuli.ids.tolist() == bregma.read(path).stimuli.tolist()
    with pytest.raises(InvalidArgument, match="images are numbers"):
        read_images(path, "categoryVectors")


def _same(ours: Any, theirs: Any) -> None:
    if isinstance(ours, Struct):
        assert set(ours.fields) == set(theirs.dtype.names)
        for name, parts in ours.fields.items():
            for a, b in zip(parts.flat, theirs[name].flat, strict=True):
                _same(a, b)
    elif isinstance(ours, np.ndarray) and ours.dtype == object:
        assert ours.shape == theirs.shape
        for a, b in zip(ours.flat, theirs.flat, strict=True):
            _same(a, b)
    elif isinstance(ours, str):
        assert ours == (str(theirs[0]) if theirs.size else "")
    elif scipy.sparse.issparse(theirs):
        assert np.array_equal(ours, theirs.toarray())
    else:
        assert ours.shape == theirs.shape
        assert np.array_equal(ours, theirs, equal_nan=ours.dtype.kind == "f")


def _compare(path: Path, level: Any = level_5) -> None:
    theirs = {k: v for k, v in scipy.io.loadmat(path).items() if not k.startswith("__")}
    ours = level(path, Budget(None))
    assert set(ours) == set(theirs)
    for name, value in ours.items():
        _same(value, theirs[name])


def test_real_files_as_scipy_reads_them(shared_data: Path) -> None:
    files = sorted(shared_data.rglob("*.mat"))
    assert len(files) >= 8
    for path in files:
        _compare(path)


CONTENT = {
    "double": np.linspace(-1, 1, 12).reshape(3, 4),
    "single": np.float32([[1.5, np.nan]]),
    "wide": np.arange(6, dtype=np.uint16).reshape(1, 2, 3),
    "long": np.array([[2**60]]),
    "truth": np.array([[True, False]]),
    "complex": np.array([[1 + 2j, 3 - 1j]]),
    "text": "größer",
    "empty": np.zeros((0, 3)),
    "cell": np.array([["a", np.eye(2)], [np.array(["x"], dtype=object), ""]], dtype=object),
    "s": {"a": 1.0, "b": {"c": np.arange(5.0), "d": "deep"}},
    "array": np.array([(1.0, "q"), (2.0, "r")], dtype=[("k", "O"), ("m", "O")]),
    "sparse": scipy.sparse.random(6, 4, 0.4, rng=np.random.default_rng(0)).tocsc(),
}


@pytest.mark.parametrize("packed", [False, True])
def test_version_5_as_scipy_reads_it(tmp_path: Path, packed: bool) -> None:
    scipy.io.savemat(tmp_path / "a.mat", CONTENT, do_compression=packed)
    _compare(tmp_path / "a.mat")


def test_version_4_as_scipy_reads_it(tmp_path: Path) -> None:
    content = {name: CONTENT[name] for name in ("double", "truth", "empty")}
    scipy.io.savemat(tmp_path / "a.mat", {**content, "text": "abc"}, format="4")
    _compare(tmp_path / "a.mat", level_4)
    scipy.io.savemat(tmp_path / "b.mat", {"rows": np.array(["ab", "cd"])}, format="4")
    assert level_4(tmp_path / "b.mat", Budget(None))["rows"].tolist() == ["ab", "cd"]
    scipy.io.savemat(tmp_path / "c.mat", {"z": CONTENT["complex"], "x": np.eye(2)}, format="4")
    assert list(level_4(tmp_path / "c.mat", Budget(None))) == ["x"]


def test_lines_of_text(tmp_path: Path) -> None:
    scipy.io.savemat(tmp_path / "a.mat", {"rows": np.array(["ab", "c"])})
    assert level_5(tmp_path / "a.mat", Budget(None))["rows"].tolist() == ["ab", "c"]


def cell(*parts: Any) -> np.ndarray:
    out = np.empty((1, len(parts)), dtype=object)
    for i, part in enumerate(parts):
        out[0, i] = part
    return out


def test_arrays_with_their_labels(tmp_path: Path) -> None:
    rates = np.arange(12.0).reshape(4, 3)
    content = {
        "session": {"rates": rates, "images": np.array(["a", "b", "c", "d"], dtype=object)},
        "area": np.array([["V1", "V1", "IT"]], dtype=object),
        "trials": cell(rates, rates + 1),
        "uneven": cell(rates, rates[1:]),
        "n": cell(np.array([[1]]), np.array([[2]])),
    }
    scipy.io.savemat(tmp_path / "a.mat", content)
    recording = bregma.read(tmp_path / "a.mat", "session.rates")
    assert np.array_equal(recording.values, rates)
    assert recording.stimuli.tolist() == ["a", "b", "c", "d"]
    assert recording.coordinate("area").tolist() == ["V1", "V1", "IT"]
    stacked = bregma.read(tmp_path / "a.mat", "trials", sampling_rate=10.0)
    assert np.array_equal(stacked.values, np.stack([rates, rates + 1]))
    assert shelf(tmp_path / "a.mat").load("n").tolist() == [1, 2]
    with pytest.raises(UnreadableRecording, match="unequal parts"):
        bregma.read(tmp_path / "a.mat", "uneven", dims=("presentation", "unit"))
    with pytest.raises(UnknownName, match="'session.rate'.*'session.rates'"):
        bregma.read(tmp_path / "a.mat", "session.rate")
    with pytest.raises(UnknownName, match="variable 'sesion'"):
        bregma.read(tmp_path / "a.mat", "sesion")


def square(n: int = 5, seed: int = 0) -> np.ndarray:
    out = np.random.default_rng(seed).random((n, n))
    out += out.T
    np.fill_diagonal(out, 0)
    return out


def test_names_of_rdms(tmp_path: Path) -> None:
    def names(*names: str) -> bregma.Dissimilarity:
        rdms = np.array([(square(), name) for name in names], dtype=[("RDM", "O"), ("name", "O")])
        scipy.io.savemat(tmp_path / "a.mat", {"RDMs": rdms})
        return bregma.read(tmp_path / "a.mat")

    assert names("V1 | S1", "V1 | S2").rdms["subject"].tolist() == ["S1", "S2"]
    assert "session" not in names("V1 | S1", "V1 | S2").rdms
    assert "subject" not in names("V1 | S1", "another").rdms


def test_rdms_of_several_sizes(tmp_path: Path) -> None:
    rdms = np.array([(square(5),), (square(4),)], dtype=[("RDM", "O")])
    scipy.io.savemat(tmp_path / "a.mat", {"RDMs": rdms})
    with pytest.raises(UnreadableRecording, match="different shapes"):
        bregma.read(tmp_path / "a.mat")


def test_images_of_several_sizes(tmp_path: Path) -> None:
    images = np.array([(np.zeros((3, 3)),), (np.zeros((4, 4)),)], dtype=[("image", "O")])
    scipy.io.savemat(tmp_path / "a.mat", {"stimuli": images, "x": np.zeros((3, 4, 4))})
    with pytest.raises(UnreadableRecording, match="of one size; there are 2"):
        read_images(tmp_path / "a.mat")
    found, table = read_images(tmp_path / "a.mat", "x")
    assert (found.shape, len(table.columns)) == ((3, 4, 4), 0)


# Version 7.3, written as MATLAB does


def seven(path: Path, write: Any) -> Path:
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w", userblock_size=512) as file:
        write(h5py, file)
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")
    return path


def kind(item: Any, name: str) -> Any:
    item.attrs["MATLAB_class"] = np.bytes_(name)
    return item


def test_version_7_3(tmp_path: Path) -> None:
    rates = np.arange(12.0).reshape(4, 3)
    rdms = [square(seed=i) for i in range(2)]

    def write(h5py: Any, file: Any) -> None:
        kind(file.create_dataset("rates", data=rates.T), "double")
        kind(file.create_dataset("truth", data=np.ones((1, 4), dtype="u1")), "logical")
        empty = kind(file.create_dataset("nothing", data=np.array([0, 0], dtype="u8")), "double")
        empty.attrs["MATLAB_empty"] = 1
        parts = file.create_group("#refs#")
        words = np.empty((1, 4), dtype=h5py.ref_dtype)
        for i, word in enumerate(("cat", "dog", "cup", "car")):
            letters = np.array([[ord(x)] for x in word], dtype="u2")
            words[0, i] = kind(parts.create_dataset(f"w{i}", data=letters), "char").ref
        kind(file.create_dataset("words", data=words.T, dtype=h5py.ref_dtype), "cell")
        group = kind(file.create_group("RDMs"), "struct")
        where, names = np.empty((2, 1), dtype=h5py.ref_dtype), np.empty((2, 1), h5py.ref_dtype)
        for i, rdm in enumerate(rdms):
            where[i, 0] = kind(parts.create_dataset(f"r{i}", data=rdm.T), "double").ref
            letters = np.array([[ord(x)] for x in f"IT | S{i}"], dtype="u2")
            names[i, 0] = kind(parts.create_dataset(f"n{i}", data=letters), "char").ref
        group.create_dataset("RDM", data=where, dtype=h5py.ref_dtype)
        group.create_dataset("name", data=names, dtype=h5py.ref_dtype)
        one = kind(file.create_group("s"), "struct")
        kind(one.create_dataset("x", data=np.arange(6.0).reshape(3, 2)), "double")

    path = seven(tmp_path / "a.mat", write)
    recording = bregma.read(path, "rates")
    assert np.array_equal(recording.values, rates)
    assert recording.stimuli.tolist() == ["cat", "dog", "cup", "car"]
    assert recording.coordinate("truth").dtype == bool
    found = bregma.read(path)
    assert np.allclose(found.square(), rdms)
    assert found.rdms["subject"].tolist() == ["S0", "S1"]
    assert bregma.read(path, "s.x").shape == (2, 3)


def test_version_7_3_that_refers_to_itself_or_elsewhere(tmp_path: Path) -> None:
    def circle(h5py: Any, file: Any) -> None:
        group = file.create_group("s")
        group["again"] = group

    with pytest.raises(UnreadableRecording, match="deep in each other"):
        bregma.read(seven(tmp_path / "a.mat", circle))

    def wide_circle(h5py: Any, file: Any) -> None:
        cell = file.create_dataset("c", (1, 3), dtype=h5py.ref_dtype)
        cell[:] = cell.ref

    with pytest.raises(UnreadableRecording, match="deep in each other"):
        bregma.read(seven(tmp_path / "b.mat", wide_circle))

    def nowhere(h5py: Any, file: Any) -> None:
        file.create_dataset("c", (1, 3), dtype=h5py.ref_dtype)

    with pytest.raises(UnreadableRecording, match="refers to nothing"):
        bregma.read(seven(tmp_path / "c.mat", nowhere))

    def elsewhere(h5py: Any, file: Any) -> None:
        file["x"] = h5py.ExternalLink(str(tmp_path / "b.mat"), "/c")

    with pytest.raises(UnreadableRecording, match="lies in another file"):
        bregma.read(seven(tmp_path / "d.mat", elsewhere))

    def raw(h5py: Any, file: Any) -> None:
        (tmp_path / "secret").write_bytes(bytes(800))
        file.create_dataset("x", (10, 10), "f8", external=str(tmp_path / "secret"))

    with pytest.raises(UnreadableRecording, match="points to other files"):
        bregma.read(seven(tmp_path / "e.mat", raw))

    def strange(h5py: Any, file: Any) -> None:
        file["t"] = np.dtype("f8")

    with pytest.raises(UnreadableRecording, match="neither a variable nor a struct"):
        bregma.read(seven(tmp_path / "f.mat", strange))


def test_version_7_3_that_declares_too_much(tmp_path: Path) -> None:
    def write(h5py: Any, file: Any) -> None:
        file.create_dataset("x", (30_000, 30_000), "f8", chunks=(100, 100))

    with pytest.raises(UnreadableRecording, match="more than the 4 GB"):
        bregma.read(seven(tmp_path / "a.mat", write))


# Damage, made by hand: each of these ended or stalled the process in SciPy, or might have


def element(kind_: int, content: bytes) -> bytes:
    return struct.pack("<II", kind_, len(content)) + content + bytes(-len(content) % 8)


def matrix(
    class_: int, shape: tuple[int, ...], *parts: bytes, flags: int = 0, name: bytes = b"x"
) -> bytes:
    head = element(6, struct.pack("<II", class_ | flags << 8, 0))
    head += element(5, struct.pack(f"<{len(shape)}i", *shape)) + element(1, name)
    return element(14, head + b"".join(parts))


def written(tmp_path: Path, *parts: bytes) -> Path:
    head = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"
    (tmp_path / "a.mat").write_bytes(head + b"".join(parts))
    return tmp_path / "a.mat"


EIGHT = element(9, bytes(8))
DAMAGED = {
    "fewer numbers": (matrix(6, (100, 100), EIGHT), "declares 10000 numbers"),
    "huge": (matrix(6, (2**31 - 1, 2**31 - 1), EIGHT), "memory"),
    "negative": (matrix(6, (-1, 2), EIGHT), "declares the shape"),
    "one axis": (matrix(6, (2,), EIGHT), "declares the shape"),
    "huge cell": (matrix(1, (2**31 - 1, 1)), "declares 2147483647 entries"),
    "huge struct": (matrix(2, (2**28, 1), element(5, b"\x08\0\0\0")), "entries"),
    "wide names": (matrix(2, (1, 1), element(5, b"\0\0\0\x40")), "names of"),
    "many fields": (
        matrix(2, (1, 1), element(5, struct.pack("<i", 1)), element(1, b"a" * 999)),
        "parts: damaged",
    ),
    "part too long": (element(14, struct.pack("<II", 6, 2**31)), "longer than the variable"),
    "small part too long": (element(14, struct.pack("<HHI", 6, 9, 0)), "longer"),
    "unknown type": (element(99, bytes(16)), "unknown type 99"),
    "type of numbers": (matrix(6, (1, 1), element(77, bytes(8))), "unknown type 77"),
    "type of text": (matrix(4, (1, 1), element(77, bytes(8))), "unknown type 77"),
    "type of entry": (matrix(1, (1, 1), element(9, bytes(8))), "unknown type 9"),
    "half complex": (matrix(6, (1, 1), EIGHT, element(9, b""), flags=8), "complex"),
    "cut": (struct.pack("<II", 14, 4000) + bytes(30), "ends in the middle"),
    "empty packed": (element(15, zlib.compress(b"")), "truncated"),
    "packed unknown": (element(15, zlib.compress(element(9, bytes(80)))), "unknown type 9"),
    "packed cut": (element(15, zlib.compress(struct.pack("<II", 14, 800))), "truncated"),
    "packed huge": (element(15, zlib.compress(struct.pack("<II", 14, 2**31))), "exhaust"),
    "no zlib": (element(15, bytes(30)), "zlib"),
    "sparse": (
        matrix(5, (3, 2), element(5, bytes(4)), element(5, struct.pack("<3i", 0, 9, 1)), EIGHT),
        "sparse",
    ),
    "sparse rows": (
        matrix(
            5,
            (3, 2),
            element(5, struct.pack("<i", 7)),
            element(5, struct.pack("<3i", 0, 1, 1)),
            EIGHT,
        ),
        "sparse",
    ),
    "no variables": (b"", "no variables"),
}


@pytest.mark.parametrize("what", DAMAGED)
def test_damage(tmp_path: Path, what: str) -> None:
    content, said = DAMAGED[what]
    with pytest.raises(UnreadableRecording, match=said):
        bregma.read(written(tmp_path, content), "x")


def test_functions_and_objects(tmp_path: Path) -> None:
    opaque = matrix(17, (1, 1), name=b"f")
    one = matrix(3, (1, 1), element(1, b"MyClass"), element(5, struct.pack("<i", 2)),
                 element(1, b"a\0"), matrix(6, (1, 1), EIGHT, name=b""))  # fmt: skip
    empty = matrix(1, (1, 2), element(14, b""), opaque, name=b"c")
    found = level_5(written(tmp_path, opaque, one, empty), Budget(None))
    assert set(found) == {"x", "c"}
    assert found["x"].fields["a"].item().tolist() == [[0.0]]
    assert [part.shape for part in found["c"].flat] == [(0, 0), (0, 0)]


def test_structs_in_structs_without_end(tmp_path: Path) -> None:
    part = matrix(6, (1, 1), EIGHT)
    for _ in range(40):
        part = matrix(1, (1, 1), part)
    with pytest.raises(UnreadableRecording, match="deep in each other"):
        bregma.read(written(tmp_path, part))


def test_big_endian_and_other_alphabets(tmp_path: Path) -> None:
    def swapped(kind_: int, content: bytes) -> bytes:
        return struct.pack(">II", kind_, len(content)) + content + bytes(-len(content) % 8)

    head = swapped(6, struct.pack(">II", 6, 0)) + swapped(5, struct.pack(">2i", 1, 2))
    numbers = swapped(14, head + swapped(1, b"x") + swapped(9, struct.pack(">2d", 1.5, -2)))
    head = swapped(6, struct.pack(">II", 4, 0)) + swapped(5, struct.pack(">2i", 1, 2))
    text = swapped(14, head + swapped(1, b"t") + swapped(17, "äβ".encode("utf-16-be")))
    codes = swapped(14, head + swapped(1, b"u") + swapped(4, "äβ".encode("utf-16-be")))
    content = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x01\x00MI" + numbers + text + codes
    (tmp_path / "a.mat").write_bytes(content)
    found = level_5(tmp_path / "a.mat", Budget(None))
    assert found["x"].tolist() == [[1.5, -2]]
    assert found["t"] == found["u"] == "äβ"


@pytest.mark.parametrize(
    "head", [(0, -1, 2, 0, 2), (9999, 1, 1, 0, 2), (0, 1, 1, 0, 9999), (0, 1, 1, 7, 2)]
)
def test_damaged_version_4(tmp_path: Path, head: tuple[int, ...]) -> None:
    (tmp_path / "a.mat").write_bytes(struct.pack("<5i", *head) + b"x\0" + bytes(8))
    with pytest.raises(UnreadableRecording, match="MATLAB file of any version"):
        bregma.read(tmp_path / "a.mat")


def test_truncated_version_4(tmp_path: Path) -> None:
    (tmp_path / "a.mat").write_bytes(struct.pack("<5i", 0, 2**30, 2**30, 0, 2) + b"x\0" + bytes(8))
    with pytest.raises(UnreadableRecording, match="ends in the middle"):
        bregma.read(tmp_path / "a.mat")

"""Tables: wide responses and square RDMs, with the labels that they carry."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bregma
from bregma.errors import InvalidArgument, UnknownName, UnreadableRecording
from bregma.recording import _table

FORMATS = (".csv", ".tsv", ".parquet")
every = pytest.mark.parametrize("suffix", FORMATS)


def saved(table: pd.DataFrame, path: Path, *, index: bool = False) -> Path:
    if path.suffix == ".parquet":
        pytest.importorskip("pyarrow")
        table.to_parquet(path, index=index)
    else:
        table.to_csv(path, index=index, sep="\t" if path.suffix == ".tsv" else ",")
    return path


@pytest.fixture
def wide() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(5, 3)), columns=["n1", "n2", "n3"])
    table.insert(0, "trial", np.arange(5))
    table.insert(0, "image", list("abcde"))
    return table


@every
def test_wide(tmp_path: Path, suffix: str, wide: pd.DataFrame) -> None:
    path = saved(wide, tmp_path / f"rates{suffix}")
    recording = bregma.read(path, presentation=["trial", "image"], measured_in="spikes/s")
    assert recording.units.index.tolist() == ["n1", "n2", "n3"]
    assert np.array_equal(recording.values, wide[["n1", "n2", "n3"]].to_numpy())
    assert recording.stimuli.tolist() == list("abcde")
    assert recording.coordinate("trial").tolist() == [0, 1, 2, 3, 4]
    assert (recording.name, recording.measured_in) == ("rates", "spikes/s")
    assert bregma.read(path).n_units == 4  # the trial is numeric: a unit unless it is named
    one = bregma.read(path, unit="n2")
    assert one.units.index.tolist() == ["n2"]
    assert "trial" not in one.presentations


@every
def test_index_that_pandas_wrote(tmp_path: Path, suffix: str, wide: pd.DataFrame) -> None:
    wide.index = wide.index + 10
    recording = bregma.read(saved(wide, tmp_path / f"a{suffix}", index=True), presentation="trial")
    assert recording.n_units == 3
    assert recording.presentations.index.tolist() == [10, 11, 12, 13, 14]
    assert recording.stimuli.tolist() == list("abcde")


def test_units_described(tmp_path: Path, wide: pd.DataFrame) -> None:
    path = saved(wide, tmp_path / "a.csv")
    units = pd.DataFrame({"roi": ["V1", "V1", "IT"], "depth": [0.1, 0.2, 0.3]})
    recording = bregma.read(path, presentation="trial", units=units)
    assert recording.coordinate("area").tolist() == ["V1", "V1", "IT"]
    assert recording.coordinate("depth").tolist() == [0.1, 0.2, 0.3]
    assert bregma.read(path, presentation="trial", units={"d": [1, 2, 3]}).n_units == 3
    with pytest.raises(InvalidArgument, match="2 rows, but the table has 3 units"):
        bregma.read(path, presentation="trial", units=units[:2])


@every
def test_types_of_numbers(tmp_path: Path, suffix: str) -> None:
    table = pd.DataFrame({"a": [1, 2, 3], "b": [4, 5, 6]})
    assert bregma.read(saved(table, tmp_path / f"a{suffix}")).data.dtype.kind == "i"
    table = pd.DataFrame({"a": [1, 2, 3], "b": [4.5, 5, 6], "c": [True, False, True]})
    assert bregma.read(saved(table, tmp_path / f"b{suffix}")).data.dtype == float


def test_exact_numbers(tmp_path: Path) -> None:
    values = np.random.default_rng(1).normal(size=(50, 4)) * 10.0 ** np.arange(-3, 5, 2)
    path = saved(pd.DataFrame(values, columns=list("abcd")), tmp_path / "a.csv")
    assert np.array_equal(bregma.read(path).values, values)


@pytest.fixture
def square() -> np.ndarray:
    out = np.random.default_rng(0).random((4, 4))
    out += out.T
    np.fill_diagonal(out, 0)
    return out


@every
def test_rdm_with_labels(tmp_path: Path, suffix: str, square: np.ndarray) -> None:
    names = ["cat", "dog", "cup", "car"]
    table = pd.DataFrame(square, columns=names)
    table.insert(0, "stimulus", names)
    for i, content in enumerate((table, table.drop(columns="stimulus"))):
        rdm = bregma.read(saved(content, tmp_path / f"{i}{suffix}"))
        assert isinstance(rdm, bregma.Dissimilarity)
        assert rdm.stimuli.tolist() == names
        assert np.array_equal(rdm.square()[0], square)
    table["stimulus"] = names[::-1]
    with pytest.raises(UnreadableRecording, match="labels of its rows and of its columns differ"):
        bregma.read(saved(table, tmp_path / f"2{suffix}"))


def test_rdm_of_numbered_stimuli(tmp_path: Path, square: np.ndarray) -> None:
    np.savetxt(tmp_path / "bare.csv", square, delimiter=",")
    rdm = bregma.read(tmp_path / "bare.csv")
    assert np.array_equal(rdm.square()[0], square)
    assert rdm.stimuli.tolist() == ["0", "1", "2", "3"]
    saved(pd.DataFrame(square), tmp_path / "pandas.csv", index=True)
    assert np.array_equal(bregma.read(tmp_path / "pandas.csv").square()[0], square)
    assert isinstance(bregma.read(tmp_path / "pandas.csv", unit=["0"]), bregma.Recording)


def test_square_table_that_is_no_rdm(tmp_path: Path) -> None:
    table = pd.DataFrame(np.arange(9.0).reshape(3, 3), columns=list("abc"))
    assert isinstance(bregma.read(saved(table, tmp_path / "a.csv")), bregma.Recording)
    table = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})
    assert isinstance(bregma.read(saved(table, tmp_path / "b.csv")), bregma.Recording)


def test_signs_and_alphabets(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("\ufeffBild,größe\nKätzchen,1.5\n犬,2\n", encoding="utf-8")
    recording = bregma.read(tmp_path / "a.csv")
    assert recording.units.index.tolist() == ["größe"]
    assert recording.stimuli.tolist() == ["Kätzchen", "犬"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("image,word\na,b\n", "no column is numeric"),
        ("a,b\n", "no rows"),
        ("a,b\n1,2\n3,\n", "NaN"),
        ("a,b\n1,2\n3,4,5,6\n", "damaged"),
        ('a,b\n1,"2\n', "damaged"),
    ],
)
def test_what_is_wrong(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(UnreadableRecording, match=said):
        bregma.read(tmp_path / "a.csv")


def test_empty_cells_of_text(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("image,kind,x\na,,1\nb,face,2\n")
    assert bregma.read(tmp_path / "a.csv").coordinate("kind").tolist() == ["", "face"]


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"a,b\n\xff\xfe\x00,2\n")
    with pytest.raises(UnreadableRecording, match="damaged"):
        bregma.read(tmp_path / "a.csv")


def test_wrong_names(tmp_path: Path, wide: pd.DataFrame) -> None:
    path = saved(wide, tmp_path / "a.csv")
    with pytest.raises(UnknownName, match="'trail'.*'trial'"):
        bregma.read(path, presentation=["trail"])
    with pytest.raises(InvalidArgument, match="cannot label presentations and be units"):
        bregma.read(path, presentation="n1", unit="n1")
    with pytest.raises(UnreadableRecording, match="'image' is not numeric: it holds 'a'"):
        bregma.read(path, unit="image")
    with pytest.raises(UnknownName, match="key of a table"):
        bregma.read(path, "n1")


def test_columns_named_twice(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = pyarrow.table([[1.0], [2.0]], names=["a", "a"])
    parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(UnreadableRecording, match="more than once"):
        bregma.read(tmp_path / "a.parquet")


def test_missing_values(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1,2\n3,\n")
    assert bregma.read(tmp_path / "a.csv", missing="drop_units").units.index.tolist() == ["a"]
    assert bregma.read(tmp_path / "a.csv", missing="drop_presentations").n_presentations == 1


def test_too_large(tmp_path: Path, wide: pd.DataFrame) -> None:
    for suffix in FORMATS:
        path = saved(wide, tmp_path / f"a{suffix}")
        with pytest.raises(UnreadableRecording, match="max_bytes"):
            bregma.read(path, max_bytes=100)


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["0", "0.5"], True),
        (["0", "1", "2"], False),
        (["0", "0", "1"], True),
        (["a", "1"], False),
        ([], False),
    ],
)
def test_first_line(cells: list[str], values: bool) -> None:
    assert _table._are_values(cells) is values

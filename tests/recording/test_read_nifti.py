"""NIfTI images: voxels of a mask and means of parcels, against nilearn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bregma
from bregma.errors import InvalidArgument, UnknownName, UnreadableRecording
from bregma.recording import _nifti

nibabel: Any = pytest.importorskip("nibabel")
SHAPE = (5, 4, 3, 6)
AFFINE = np.array([[2.0, 0, 0, -10], [0, -2, 0, 5], [0, 0, 3, 1], [0, 0, 0, 1]])


def image(values: np.ndarray, step: float = 1.5, unit: str = "sec") -> Any:
    out = nibabel.Nifti1Image(values, AFFINE)
    if values.ndim == 4:
        out.header.set_zooms((2, 2, 3, step))
        out.header.set_xyzt_units("mm", unit)
    return out


@pytest.fixture
def values() -> np.ndarray:
    return np.random.default_rng(0).normal(100, 5, size=SHAPE).astype("f4")


@pytest.fixture(params=["bold.nii", "bold.nii.gz"])
def path(tmp_path: Path, values: np.ndarray, request: pytest.FixtureRequest) -> Path:
    nibabel.save(image(values), tmp_path / request.param)
    return tmp_path / request.param


@pytest.fixture
def mask() -> np.ndarray:
    out = np.zeros(SHAPE[:3], dtype="u1")
    out[1:3, 1:, 0] = 1
    return out


@pytest.fixture
def atlas() -> np.ndarray:
    return np.random.default_rng(1).choice([0, 3, 7, 20], size=SHAPE[:3]).astype("i2")


def test_voxels_of_a_mask(path: Path, values: np.ndarray, mask: np.ndarray) -> None:
    recording = bregma.read(path, mask=image(mask), measured_in="BOLD")
    assert recording.shape == (1, 6, 6)
    assert recording.name == "bold"
    assert recording.times.tolist() == [0, 1.5, 3, 4.5, 6, 7.5]
    where = np.stack([recording.coordinate(x) for x in "ijk"], axis=1)
    assert np.array_equal(recording.values[0].T, values[tuple(where.T)])
    xyz = np.stack([recording.coordinate(x) for x in "xyz"], axis=1)
    assert np.allclose(xyz, where @ AFFINE[:3, :3].T + AFFINE[:3, 3])
    assert set(map(tuple, where)) == set(map(tuple, np.argwhere(mask)))


def test_voxels_as_nilearn_reads_them(path: Path, mask: np.ndarray) -> None:
    maskers = pytest.importorskip("nilearn.maskers")
    peer = maskers.NiftiMasker(image(mask)).fit().transform(str(path))
    ours = bregma.read(path, mask=image(mask)).values[0]
    assert np.allclose(np.sort(ours, axis=1), np.sort(peer, axis=1))


def test_parcels_as_nilearn_reads_them(path: Path, atlas: np.ndarray) -> None:
    maskers = pytest.importorskip("nilearn.maskers")
    peer = maskers.NiftiLabelsMasker(image(atlas)).fit().transform(str(path))
    recording = bregma.read(path, atlas=image(atlas))
    assert np.allclose(recording.values[0], peer, rtol=1e-5)
    assert recording.units.index.tolist() == ["3", "7", "20"]
    assert recording.coordinate("n_voxels").tolist() == [
        int((atlas == n).sum()) for n in (3, 7, 20)
    ]
    centre = np.argwhere(atlas == 7).mean(axis=0) @ AFFINE[:3, :3].T + AFFINE[:3, 3]
    assert np.allclose([recording.coordinate(x)[1] for x in "xyz"], centre)


@pytest.mark.parametrize(
    "labels",
    [
        {3: "V1", 7: "V2", 20: "IT", 99: "not here"},
        ["V1", "V2", "IT"],
        ["Background", "V1", "V2", "IT"],
        pd.DataFrame({"index": [7, 3, 20], "name": ["V2", "V1", "IT"]}),
    ],
)
def test_names_of_parcels(path: Path, atlas: np.ndarray, labels: Any) -> None:
    recording = bregma.read(path, atlas=image(atlas), labels=labels)
    assert recording.coordinate("area").tolist() == ["V1", "V2", "IT"]
    assert recording.units.index.tolist() == ["V1", "V2", "IT"]
    assert recording.coordinate("parcel").tolist() == [3, 7, 20]


def test_beta_series(path: Path, values: np.ndarray, mask: np.ndarray, tmp_path: Path) -> None:
    names = list("abcabc")
    recording = bregma.read(path, mask=image(mask), stimulus=names)
    assert recording.shape == (6, 6)
    assert recording.stimuli.tolist() == names
    events = pd.DataFrame({"trial_type": names, "onset": np.arange(6.0)})
    events.to_csv(tmp_path / "events.tsv", sep="\t", index=False)
    for given in (events, tmp_path / "events.tsv"):
        found = bregma.read(path, mask=image(mask), events=given)
        assert found.stimuli.tolist() == names
        assert found.coordinate("onset").tolist() == [0, 1, 2, 3, 4, 5]
        assert np.array_equal(found.values, recording.values)


def test_all_voxels_that_are_not_zero(tmp_path: Path, values: np.ndarray) -> None:
    values[0] = 0
    values[1, 0, 0] = np.nan
    nibabel.save(image(values), tmp_path / "a.nii")
    nibabel.save(image(values[:1]), tmp_path / "zero.nii")
    with pytest.raises(UnreadableRecording, match="all voxels are 0"):
        bregma.read(tmp_path / "zero.nii")
    recording = bregma.read(tmp_path / "a.nii", stimulus=list("abcdef"))
    assert recording.n_units == 4 * 4 * 3 - 1
    values[2, 0, 0, 3] = np.inf
    nibabel.save(image(values), tmp_path / "a.nii")
    with pytest.raises(UnreadableRecording, match="units '2-0-0'"):
        bregma.read(tmp_path / "a.nii")
    assert bregma.read(tmp_path / "a.nii", missing="drop_units").n_units == 4 * 4 * 3 - 2


def test_one_volume(tmp_path: Path, values: np.ndarray) -> None:
    nibabel.save(image(values[..., 0]), tmp_path / "a.nii.gz")
    assert bregma.read(tmp_path / "a.nii.gz", stimulus=["t map"]).shape == (1, 60)
    assert bregma.read(tmp_path / "a.nii.gz").shape == (1, 1, 60)


def test_integers_that_are_scaled(tmp_path: Path, mask: np.ndarray) -> None:
    stored = np.arange(np.prod(SHAPE), dtype="i2").reshape(SHAPE)
    nibabel.save(image(stored), tmp_path / "a.nii")
    assert bregma.read(tmp_path / "a.nii", mask=image(mask)).data.dtype == np.float32


def test_blocks_change_nothing(
    path: Path, mask: np.ndarray, atlas: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ({"mask": image(mask)}, {"atlas": image(atlas)}, {})
    whole = [bregma.read(path, **option) for option in options]
    monkeypatch.setattr(_nifti, "_BLOCK", 1000)
    for recording, option in zip(whole, options, strict=True):
        assert recording.identical(bregma.read(path, **option))


def test_times(tmp_path: Path, values: np.ndarray, mask: np.ndarray) -> None:
    nibabel.save(image(values, 2000.0, "msec"), tmp_path / "a.nii")
    assert bregma.read(tmp_path / "a.nii", mask=image(mask)).sampling_rate == pytest.approx(0.5)
    recording = bregma.read(tmp_path / "a.nii", mask=image(mask), repetition_time=0.72)
    assert recording.times[1] == pytest.approx(0.72)
    nibabel.save(image(values, 0.0), tmp_path / "b.nii")
    with pytest.raises(InvalidArgument, match="repetition_time="):
        bregma.read(tmp_path / "b.nii", mask=image(mask))
    with pytest.raises(InvalidArgument, match="no meaning"):
        bregma.read(tmp_path / "b.nii", stimulus=list("abcdef"), repetition_time=1.0)


def test_other_grids(path: Path, tmp_path: Path, mask: np.ndarray) -> None:
    fine = np.kron(mask, np.ones((2, 2, 2), dtype="u1"))
    other = nibabel.Nifti1Image(fine, AFFINE @ np.diag([0.5, 0.5, 0.5, 1]))
    with pytest.raises(InvalidArgument, match="another grid.*resample=True"):
        bregma.read(path, mask=other)
    pytest.importorskip("nilearn")
    nibabel.save(other, tmp_path / "mask.nii.gz")
    assert bregma.read(path, mask=tmp_path / "mask.nii.gz", resample=True).n_units == 6


def test_wrong_options(path: Path, tmp_path: Path, mask: np.ndarray, atlas: np.ndarray) -> None:
    def refused(said: str, error: type[Exception] = InvalidArgument, **options: Any) -> None:
        with pytest.raises(error, match=said):
            bregma.read(path, **options)

    refused("not both", mask=image(mask), atlas=image(atlas))
    refused("give atlas=", mask=image(mask), labels=["a"])
    refused("key of an image", UnknownName, key="x")
    refused("no file", mask=str(tmp_path / "nothing.nii"))
    refused("must be a NIfTI image", mask=mask)
    refused("the mask is empty", UnreadableRecording, mask=image(mask * 0))
    refused("three axes", mask=image(np.ones(SHAPE, dtype="u1")))
    refused("2 labels for 3 parcels", atlas=image(atlas), labels=["a", "b"])
    refused("no label: \\[20\\]", atlas=image(atlas), labels={3: "a", 7: "b"})
    refused("'index' and 'name'", atlas=image(atlas), labels=pd.DataFrame({"a": [1]}))
    refused("has 2 entries, but there are 6 volumes", stimulus=["a", "b"])
    refused("cannot be read", events=str(tmp_path / "nothing.csv"))
    (tmp_path / "broken.nii").write_bytes(b"\x5c\x01\0\0" + bytes(60))
    with pytest.raises(UnreadableRecording, match=r"broken\.nii"):
        bregma.read(path, mask=tmp_path / "broken.nii")


def test_mask_with_a_fourth_axis_of_one(path: Path, mask: np.ndarray) -> None:
    assert bregma.read(path, mask=image(mask[..., None])).n_units == 6


def test_wrong_images(tmp_path: Path) -> None:
    for name, array, said in (
        ("two", np.zeros((4, 4), "f4"), "3 or 4 axes"),
        ("five", np.zeros((2, 2, 2, 2, 2), "f4"), "3 or 4 axes"),
        ("complex", np.ones(SHAPE, "c8"), "numbers are needed"),
    ):
        nibabel.save(nibabel.Nifti1Image(array, AFFINE), tmp_path / f"{name}.nii")
        with pytest.raises(UnreadableRecording, match=said):
            bregma.read(tmp_path / f"{name}.nii")


def test_headers_that_lie(tmp_path: Path, path: Path, values: np.ndarray) -> None:
    nibabel.save(image(values), tmp_path / "a.nii")
    content = bytearray((tmp_path / "a.nii").read_bytes())
    for shape, said in (
        ((4, 30000, 30000, 3, 6), "GB"),
        ((4, 3000, 3000, 8, 6), "bytes are stored"),
        ((4, -5, 4, 3, 6), "damaged"),
        ((4, 5, 4, 3, 600), "."),
    ):
        content[40:50] = np.array(shape, dtype="<i2").tobytes()
        (tmp_path / "a.nii").write_bytes(content)
        with pytest.raises(UnreadableRecording, match=said):
            bregma.read(tmp_path / "a.nii")
    with pytest.raises(UnreadableRecording, match="max_bytes"):
        bregma.read(path, max_bytes=700)

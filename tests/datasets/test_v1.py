"""The simulated population has the tuning, the noise and the ceiling that it says."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bregma import Stimuli
from bregma.datasets import sample_images, v1_population
from bregma.datasets._v1 import BASELINE
from bregma.errors import InvalidArgument


def grating(orientation, frequency, phase=0.0, size=64):
    """Stripes along `orientation` (degrees, 0 horizontal, counterclockwise)."""
    place = (np.arange(size) + 0.5) / size - 0.5
    x, y = np.meshgrid(place, -place)
    angle = np.deg2rad(orientation)
    across = -x * np.sin(angle) + y * np.cos(angle)
    wave = np.cos(2 * np.pi * frequency * across + np.deg2rad(phase))
    return np.rint(127.5 + 127.5 * wave).astype(np.uint8)


def show(images):
    population = v1_population(Stimuli(np.stack(images)), n_units=60, n_repeats=1, seed=5)
    return population.signal.values, population.truth


def test_cells_prefer_the_orientation_that_the_truth_says():
    angles = np.arange(0, 180, 15)
    phases = np.arange(0, 360, 30)
    images = [grating(a, 6, p) for a in angles for p in phases]
    response, truth = show(images)
    best = response.reshape(len(angles), len(phases), -1).max(axis=1).argmax(axis=0)
    error = (angles[best] - truth["orientation"] + 90) % 180 - 90
    near = truth["frequency"].between(4, 9)  # tuned so that these gratings drive them
    assert near.sum() > 20
    assert np.abs(error[near]).max() <= 10  # half a step of 15 degrees; fields cut by the edge
    assert np.abs(error[near]).mean() <= 4.5


def test_cells_prefer_the_frequency_that_the_truth_says():
    response, truth = show([grating(0, f, p) for f in (3, 6, 12) for p in range(0, 360, 30)])
    level = truth["orientation"].between(0, 20) | truth["orientation"].between(160, 180)
    best = response.reshape(3, 12, -1).max(axis=1).argmax(axis=0)
    expected = np.abs(np.log2(truth["frequency"].to_numpy()[:, None] / [3, 6, 12])).argmin(axis=1)
    assert level.sum() >= 10
    assert (best == expected)[level].mean() > 0.85


def test_complex_cells_do_not_care_about_phase_and_simple_ones_do():
    truth = show([grating(0, 6)])[1]
    modulation = {"simple": [], "complex": []}
    for name, cell in truth.query("6 < frequency < 9").head(12).iterrows():
        images = [grating(cell["orientation"], cell["frequency"], p) for p in range(0, 360, 30)]
        response = show(images)[0][:, truth.index.get_loc(name)]
        modulation[cell["kind"]].append(np.ptp(response) / response.mean())
    assert max(modulation["complex"]) < 0.3
    assert min(modulation["simple"]) > 1


def test_cells_look_where_the_truth_says():
    """A small patch of noise drives the cells whose field it covers."""
    rng = np.random.default_rng(0)
    background = np.full((64, 64), 128, np.uint8)
    images = []
    for _ in range(20):
        image = background.copy()
        image[:32, 32:] = rng.integers(0, 256, (32, 32))  # top right: x > 0, y > 0
        images.append(image)
    response, truth = show(images)
    relative = response.mean(axis=0) / truth["gain"] - BASELINE
    inside = (truth["x"] > 0.1) & (truth["y"] > 0.1)
    outside = (truth["x"] < -0.2) | (truth["y"] < -0.2)
    assert relative[outside & (truth["width"] < 0.08)].max() < 0.001
    assert relative[inside].mean() > 50 * relative[outside].mean()


@pytest.mark.parametrize("fano", [1.0, 2.0])
def test_counts_have_the_mean_and_the_fano_factor(fano):
    population = v1_population(
        sample_images(5, seed=0), n_units=20, n_repeats=3000, n_subjects=1, noise=fano, seed=1
    )
    counts = population.recording.values.reshape(3000, 5, 20)
    mean, variance, expected = counts.mean(axis=0), counts.var(axis=0), population.signal.values
    assert (counts == np.rint(counts)).all()
    z = (mean - expected) / np.sqrt(fano * expected / 3000)
    assert stats.kstest(z.ravel(), "norm").pvalue > 0.001
    busy = expected > 1
    assert np.allclose((variance / mean)[busy], fano, rtol=0.2)
    assert np.mean((variance / mean)[busy]) == pytest.approx(fano, rel=0.03)
    # units are independent given the stimulus
    residual = (counts - expected).reshape(-1, 20)
    assert np.abs(np.corrcoef(residual.T)[np.triu_indices(20, 1)]).max() < 0.05


def test_the_ceiling_is_the_one_that_is_found():
    population = v1_population(sample_images(400, seed=0), n_units=50, n_repeats=4, seed=2)
    average = population.recording.average_repeats()
    assert (average.unique_stimuli == population.signal.unique_stimuli).all()
    a, s = average.values, population.signal.values
    found = [np.corrcoef(a[:, i], s[:, i])[0, 1] ** 2 for i in range(a.shape[1])]
    assert np.abs(np.array(found) - population.reliability).max() < 0.15
    assert np.mean(found) == pytest.approx(population.reliability.mean(), abs=0.01)


def test_labels_and_truth():
    images = sample_images(7, seed=0)
    population = v1_population(images, n_units=9, n_repeats=3, n_subjects=3, seed=0)
    r = population.recording
    assert r.n_presentations == 21
    assert r.measured_in == "spikes"
    assert (r.unique_stimuli == images.ids).all()
    assert set(r.coordinate("repeat")) == {0, 1, 2}
    assert list(r.split("subject")) == ["s1", "s2", "s3"]
    pd.testing.assert_frame_equal(r.units, population.truth, check_names=False)
    assert set(population.truth["kind"]) == {"simple", "complex"}
    parts = [part.units["orientation"].to_numpy() for part in r.split("subject").values()]
    assert not np.intersect1d(parts[0], parts[1]).size  # other cells in every subject


def test_only_the_seed_decides_and_more_repeats_change_nothing_before():
    images = sample_images(5, seed=0)
    first = v1_population(images, n_units=6, n_repeats=2, seed=0)
    np.random.seed(0)  # noqa: NPY002
    assert first.recording.identical(
        v1_population(images, n_units=6, n_repeats=2, seed=0).recording
    )
    more = v1_population(images, n_units=6, n_repeats=3, seed=0)
    assert np.array_equal(more.recording.values[:10], first.recording.values)
    assert not np.array_equal(
        first.recording.values,
        v1_population(images, n_units=6, n_repeats=2, seed=1).recording.values,
    )


@pytest.mark.parametrize(
    "wish",
    [{"n_units": 0}, {"n_repeats": 0}, {"n_subjects": 0}, {"noise": 0.5}],
)
def test_impossible_wishes(wish):
    with pytest.raises(InvalidArgument):
        v1_population(sample_images(2, seed=0), seed=0, **wish)


def test_responses_saturate_with_contrast():
    """The preferred grating drives a cell along c^2 / (c^2 + 0.2^2)."""
    truth = show([grating(0, 6)])[1]
    central = truth[(truth["kind"] == "complex") & truth["frequency"].between(6, 9)]
    central = central[central[["x", "y"]].abs().max(axis=1) < 0.25]
    assert len(central) >= 3
    for name, cell in central.iterrows():
        best = grating(cell["orientation"], cell["frequency"]).astype(float)
        images = [np.rint(127.5 + c * (best - 127.5)).astype(np.uint8) for c in (0.1, 0.2, 0.5, 1)]
        response = show(images)[0][:, truth.index.get_loc(name)] / cell["gain"]
        expected = np.array([0.2, 0.5, 1 / 1.16, 1 / 1.04])
        assert np.allclose((response - BASELINE) / (1 - BASELINE), expected, rtol=0.05)

"""Lead fields of a sphere against the series, another library and Maxwell; the best prediction."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import eval_legendre

from bregma.datasets import (
    dipole_brain,
    eeg_layout,
    meg_layout,
    sphere_field,
    sphere_potential,
)
from bregma.errors import InvalidArgument, UnknownName


def somewhere(n, radius, seed):
    x = np.random.default_rng(seed).standard_normal((n, 3))
    return radius * x / np.linalg.norm(x, axis=1, keepdims=True)


def test_the_potential_is_its_legendre_series():
    """V = q/(4 pi s) d/dr0 along q of sum_n (2n + 1)/n r0^n/R^(n+1) P_n, by differences."""
    radius, sigma, n = 0.09, 0.33, np.arange(1, 400)
    electrodes = somewhere(7, radius, 0)
    dipole = np.array([0.02, -0.03, 0.04])

    def series(r0):
        size = np.linalg.norm(r0)
        cosine = electrodes @ r0 / (radius * size)
        terms = (2 * n + 1) / n * (size / radius) ** n / radius * eval_legendre(n, cosine[:, None])
        return terms.sum(axis=1) / (4 * np.pi * sigma)

    step = 1e-6
    expected = np.stack(
        [(series(dipole + s) - series(dipole - s)) / (2 * step) for s in step * np.eye(3)], axis=1
    )
    found = sphere_potential(electrodes, dipole[None], radius=radius, conductivity=sigma)[:, 0]
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())


def test_no_net_potential_over_the_sphere():
    everywhere = somewhere(200_000, 0.09, 1)
    potential = sphere_potential(everywhere, np.array([[0.01, 0.02, 0.05]]))
    spread = potential.std(axis=0) / len(everywhere) ** 0.5
    assert (np.abs(potential.mean(axis=0)) < 5 * spread).all()


def test_lead_fields_equal_those_of_mne():
    mne = pytest.importorskip("mne")
    places = somewhere(6, 0.06, 2)
    directions = somewhere(6, 1.0, 3)
    electrodes, coils = somewhere(12, 0.09, 4), somewhere(12, 0.12, 5)
    names = [f"E{i}" for i in range(12)] + [f"M{i}" for i in range(12)]
    info = mne.create_info(names, 100.0, ["eeg"] * 12 + ["mag"] * 12)
    with info._unlock():
        info["dev_head_t"] = mne.transforms.Transform("meg", "head", np.eye(4))
    normals = somewhere(12, 1.0, 6)
    for i, channel in enumerate(info["chs"]):
        if i < 12:
            channel["loc"][:3] = electrodes[i]
            continue
        side = np.linalg.svd(normals[i - 12][None])[2][1:]
        side[1] *= np.sign(np.linalg.det(np.stack([*side, normals[i - 12]])))
        channel["loc"][:] = np.concatenate([coils[i - 12], side[0], side[1], normals[i - 12]])
        channel["coil_type"] = mne.io.constants.FIFF.FIFFV_COIL_POINT_MAGNETOMETER
    sphere = mne.make_sphere_model(  # two shells of one conductivity
        (0.0, 0.0, 0.0), 0.09, relative_radii=(0.9, 1.0), sigmas=(0.33, 0.33), verbose="ERROR"
    )
    dipoles = mne.Dipole(np.arange(6.0), places, np.ones(6), directions, np.ones(6))
    forward, _ = mne.make_forward_dipole(dipoles, sphere, info, verbose="ERROR")
    theirs = forward["sol"]["data"]  # MEG first
    ours = (sphere_potential(electrodes, places) * directions).sum(-1)
    # MNE fits three image dipoles to the sphere, so that its potentials are approximate.
    gap = np.abs(ours - theirs[12:]).max() / np.abs(ours).max()
    assert gap < 0.01
    field = np.einsum("pdic,di,pc->pd", sphere_field(coils, places), directions, normals)
    np.testing.assert_allclose(field, theirs[:12], rtol=1e-5, atol=1e-5 * np.abs(field).max())


def test_the_field_is_that_of_a_current_free_space():
    """Outside, the field has no divergence and no curl."""
    place, dipole, step = np.array([0.03, 0.05, 0.11]), np.array([[0.01, -0.02, 0.06]]), 1e-5
    shifts = step * np.eye(3)
    ahead, behind = (sphere_field(place + s, dipole)[:, 0] for s in (shifts, -shifts))
    slope = (ahead - behind) / (2 * step)  # (along, direction of the dipole, component)
    divergence = np.einsum("cic->i", slope)
    curl = slope - slope.transpose(2, 1, 0)
    assert np.abs(divergence).max() < 1e-6 * np.abs(slope).max()
    assert np.abs(curl).max() < 1e-6 * np.abs(slope).max()


@pytest.mark.parametrize("dipole", [[0.0, 0.0, 0.09], [0.2, 0, 0]])
def test_dipoles_must_be_inside(dipole):
    with pytest.raises(InvalidArgument, match="metres from the centre"):
        sphere_potential(somewhere(3, 0.09, 0), np.array([dipole]))
    with pytest.raises(InvalidArgument, match="not inside"):
        sphere_field(somewhere(3, 0.09, 0), np.array([dipole]))


def test_layouts_share_no_places_and_look_along_the_helmet():
    places = [eeg_layout(n)[["x", "y", "z"]].to_numpy() for n in (19, 32, 64)]
    for i, j in ((0, 1), (0, 2), (1, 2)):
        apart = np.linalg.norm(places[i][:, None] - places[j], axis=-1)
        assert apart.min() > 1e-3
    helmet = meg_layout(20)
    radial = helmet[["x", "y", "z"]].to_numpy() / 0.115
    looks = helmet[["nx", "ny", "nz"]].to_numpy()
    np.testing.assert_allclose(np.linalg.norm(looks, axis=1), 1)
    along = (radial * looks).sum(1)
    np.testing.assert_allclose(along[helmet["kind"] == "mag"], 1)
    np.testing.assert_allclose(along[helmet["kind"] == "grad"], 0, atol=1e-12)


def test_all_layouts_see_the_same_activity():
    brain, both = dipole_brain(3, seed=0), pd.concat([eeg_layout(16), meg_layout(6)])
    alone, joint = (
        brain.record(layout, 4, noise=0.0, seed=1).recording.values
        for layout in (eeg_layout(16), both)
    )
    np.testing.assert_allclose(joint[..., :16], alone)
    lead = brain.lead_field(both)
    assert np.linalg.matrix_rank(joint.reshape(-1, 34) / np.abs(lead).max(1), tol=1e-15) == 3


def test_signal_and_noise_are_as_strong_as_told():
    made = dipole_brain(seed=2).record(meg_layout(5), 600, seed=0)
    clean, noisy = made.signal.values, made.recording.values
    share = clean.var(axis=(0, 1)) / noisy.var(axis=(0, 1))
    np.testing.assert_allclose(share, made.reliability, atol=0.03)
    amplitude = np.sqrt((made.truth.to_numpy() ** 2).sum(axis=1)) * 1e-8
    np.testing.assert_allclose(clean.std(axis=(0, 1)), amplitude, rtol=0.05)


def test_the_best_prediction_is_reached_by_the_wiener_filter_and_by_nothing_simpler():
    """Least squares on many windows, over all times of all seen sensors, comes near the bound."""
    brain, layout = dipole_brain(4, band=(2.0, 3.0), seed=3), eeg_layout(8)
    hidden = np.arange(8) == 2
    settings = {"seconds": 1.0, "rate": 8.0, "noise": 0.8}
    train, test = (
        brain.record(layout, n, **settings, seed=s).recording.values
        for n, s in ((20_000, 0), (4_000, 1))
    )
    seen, wanted = ~hidden, hidden

    def score(features):
        x, y = (features(part) for part in (train, test))
        weights = np.linalg.lstsq(x, train[..., wanted].reshape(len(x), -1), rcond=None)[0]
        return np.corrcoef((y @ weights).ravel(), test[..., wanted].ravel())[0, 1]

    best = brain.best(layout, hidden, **settings)[0]
    whole = score(lambda part: part[..., seen].reshape(len(part), -1))
    assert best - 0.015 < whole < best + 0.015
    at_once = np.corrcoef(
        (test[..., seen] @ np.linalg.lstsq(
            train[..., seen].reshape(-1, 7), train[..., wanted].reshape(-1, 1), rcond=None)[0]
         ).ravel(), test[..., wanted].ravel())[0, 1]  # fmt: skip
    assert at_once < best - 0.01


def test_without_noise_many_sensors_tell_everything():
    brain = dipole_brain(3, seed=0)
    best = brain.best(eeg_layout(32), np.arange(32) < 4, noise=0.0)
    np.testing.assert_allclose(best, 1, atol=1e-6)


def test_the_same_seed_makes_the_same():
    a, b, other = (
        dipole_brain(5, seed=s).record(eeg_layout(9), 3, seed=s).recording.values for s in (0, 0, 1)
    )
    np.testing.assert_array_equal(a, b)
    assert not np.allclose(a, other)


def test_bad_input():
    brain, layout = dipole_brain(2, seed=0), eeg_layout(4)
    with pytest.raises(InvalidArgument, match="1 dipole"):
        dipole_brain(0, seed=0)
    with pytest.raises(InvalidArgument, match="band"):
        dipole_brain(2, band=(9.0, 3.0), seed=0)
    with pytest.raises(InvalidArgument, match="site"):
        eeg_layout(0)
    with pytest.raises(InvalidArgument, match="two samples"):
        brain.record(layout, 1, seconds=0.01, seed=0)
    with pytest.raises(InvalidArgument, match="n_windows"):
        brain.record(layout, 0, seed=0)
    with pytest.raises(InvalidArgument, match="hide some"):
        brain.best(layout, np.ones(4, dtype=bool))
    with pytest.raises(InvalidArgument, match="no direction"):
        sphere_potential(np.zeros((1, 3)), np.zeros((1, 3)))
    with pytest.raises(UnknownName, match="kind of sensor 'ecog'"):
        brain.lead_field(layout.assign(kind="ecog"))

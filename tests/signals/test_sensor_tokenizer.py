"""The tokenizer: what must not matter does not, what must matter does."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bregma.datasets import dipole_brain, eeg_layout, meg_layout
from bregma.errors import InvalidArgument
from bregma.run import fit
from bregma.signals import (
    SEANetDecoder,
    SEANetEncoder,
    SensorEncoder,
    Sensors,
    SensorTokenizer,
    hidden_sensor_batches,
    sensor_windows,
    spherical_spline,
    standardized,
    tokenizer_loss,
    waveform_correlation,
    waveform_loss,
)

SMALL = {"n_sources": 4, "n_heads": 2, "n_filters": 4, "strides": (4,), "n_codes": 16}


def world(layout, n=12, seed=0):
    made = dipole_brain(band=(3.0, 12.0), seed=0).record(layout, n, rate=32.0, seed=seed)
    x = sensor_windows(made.recording, seconds=1.0, rate=32.0, average_reference=False)
    return x, Sensors.of_table(layout)


def started(seed=0):
    tokenizer = SensorTokenizer(16, **SMALL, seed=seed)
    tokenizer(*world(eeg_layout(10)))  # starts the codebooks
    return tokenizer.eval()


@cache
def ordered():
    return started(), *world(pd.concat([eeg_layout(7), meg_layout(3)]), n=3)


@settings(max_examples=5)
@given(seed=st.integers(0, 1000))
def test_the_order_of_sensors_does_not_matter(seed):
    tokenizer, x, sensors = ordered()
    order = torch.randperm(len(sensors), generator=torch.Generator().manual_seed(seed))
    z, mixed = tokenizer.encode(x, sensors), tokenizer.encode(x[:, order], sensors[order])
    torch.testing.assert_close(mixed, z, atol=1e-5, rtol=1e-4)
    waves, moved = tokenizer.decode(z, sensors), tokenizer.decode(z, sensors[order])
    torch.testing.assert_close(moved, waves[:, order], atol=1e-4, rtol=1e-4)


def test_windows_do_not_see_each_other_and_any_sensors_fit():
    tokenizer = started()
    for layout in (eeg_layout(5), meg_layout(4)):
        x, sensors = world(layout, n=4)
        z = tokenizer.encode(x, sensors)
        assert z.shape == (4, 4, 8, 16)
        torch.testing.assert_close(z.norm(dim=-1), torch.ones(4, 4, 8))
        torch.testing.assert_close(tokenizer.encode(x[1:2], sensors), z[1:2], atol=1e-5, rtol=1e-4)


def test_the_inverse_attention_is_the_written_one():
    tokenizer = started()
    x, sensors = world(eeg_layout(6), n=1)
    u = tokenizer.encoder(x[0, :, None]).permute(2, 0, 1)  # (token, sensor, width)
    keys, values = tokenizer.key(u + tokenizer.sensors(sensors)), tokenizer.value(u)
    expected = torch.zeros(4, 8, 16)
    for q in range(4):
        for t in range(8):
            heads = []
            for part in (slice(0, 8), slice(8, 16)):
                weight = (keys[t, :, part] @ tokenizer.sources[q, part] / 8**0.5).softmax(0)
                heads.append(weight @ values[t, :, part])
            z = tokenizer.gather.weight @ torch.cat(heads)
            expected[q, t] = z / z.norm()
    torch.testing.assert_close(tokenizer.encode(x, sensors)[0], expected, atol=1e-5, rtol=1e-4)


def test_geometry_and_kind_of_a_sensor_make_its_vector():
    encoder = SensorEncoder(16)
    helmet = Sensors.of_table(meg_layout(2))
    vectors = encoder(helmet).detach()
    torch.testing.assert_close(vectors.square().mean(-1), torch.ones(6), atol=1e-3, rtol=1e-3)
    apart = torch.cdist(vectors, vectors) + 10 * torch.eye(6)
    assert float(apart.min()) > 1e-3  # three sensors at each place differ in direction or kind


@pytest.mark.parametrize("strides", [(2,), (3, 2), (4, 5)])
def test_convolutions_keep_the_number_of_samples_and_their_place(strides):
    encoder = SEANetEncoder(8, n_filters=4, strides=strides)
    decoder = SEANetDecoder(8, n_filters=4, strides=strides)
    n = 24 * encoder.hop
    z = encoder(torch.zeros(2, 1, n))
    assert z.shape == (2, 8, 24)
    assert decoder(z).shape == (2, 1, n)
    pulse = torch.zeros(2, 1, n)
    pulse[1, 0, 12 * encoder.hop] = 1.0
    a, b = encoder(pulse).detach()
    changed = (a - b).abs().sum(0)
    assert float(changed[11:14].sum()) > 0
    assert float(changed[[0, 1, 2, -3, -2, -1]].max()) < 1e-6  # far away


def test_waveforms_are_compared_as_written():
    rng = torch.Generator().manual_seed(0)
    predicted, true = (torch.randn(3, 2, 16, generator=rng) for _ in range(2))
    y = (true - true.mean(-1, keepdim=True)) / true.std(-1, correction=0, keepdim=True)
    window = np.hamming(17)[:16]  # periodic
    spectra = [np.fft.rfft(window * wave.numpy(), norm="ortho") for wave in (predicted, y)]
    rows = zip(predicted.reshape(6, 16), true.reshape(6, 16), strict=True)
    r = np.mean([np.corrcoef(p, t)[0, 1] for p, t in rows])
    expected = (
        np.abs((predicted - y).numpy()).mean()
        + np.exp(-r)
        + np.abs(np.abs(spectra[0]) - np.abs(spectra[1])).mean()
        + 0.5 * np.abs(np.angle(spectra[0]) - np.angle(spectra[1])).mean()
    )
    assert float(waveform_loss(predicted, true)) == pytest.approx(float(expected), rel=1e-4)
    flat = torch.zeros(2, 16)
    assert waveform_correlation(flat, true[0]).tolist() == [0, 0]
    assert torch.equal(standardized(flat), flat)
    predicted.requires_grad_()
    waveform_loss(0 * predicted, true).backward()
    assert torch.isfinite(predicted.grad).all()


def test_hidden_sensors_are_not_seen():
    x, sensors = world(eeg_layout(8), n=20)
    batches = hidden_sensor_batches([(x, sensors)], size=8, noise=0.0)
    hidden = set()
    for batch in batches(torch.Generator().manual_seed(0)):
        assert batch.seen.shape[1] == len(batch.seen_sensors) == 6
        for place, wave in zip(batch.seen_sensors.positions, batch.seen.unbind(1), strict=True):
            at = int((sensors.positions - place).norm(dim=1).argmin())
            torch.testing.assert_close(wave, batch.waves[:, at])
        apart = torch.cdist(sensors.positions, batch.seen_sensors.positions)
        hidden |= set((apart.min(1).values > 1e-3).nonzero()[:, 0].tolist())
    assert len(hidden) > 2  # others each time


def test_training_reconstructs_hidden_sensors_of_an_unseen_layout_and_repeats_itself():
    losses, tokenizers = [], []
    for _ in range(2):
        known = [world(eeg_layout(n), n=16, seed=n) for n in (12, 20)]
        tokenizer = SensorTokenizer(16, **SMALL, decay=0.9, seed=0)
        optimizer = torch.optim.AdamW(tokenizer.parameters(), lr=1e-2, betas=(0.8, 0.95))
        batches = hidden_sensor_batches(known, size=8)
        losses.append(
            fit(tokenizer, tokenizer_loss, batches, optimizer=optimizer, epochs=4, seed=0)
        )
        tokenizers.append(tokenizer)
    np.testing.assert_array_equal(*losses)
    assert losses[0][-1] < losses[0][0]
    for a, b in zip(*(t.state_dict().values() for t in tokenizers), strict=True):
        assert torch.equal(a, b)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_the_same_on_cuda():
    tokenizer, (x, sensors) = started(), world(eeg_layout(9), n=3)
    expected = tokenizer.decode(tokenizer.encode(x, sensors), sensors)
    tokenizer, sensors = tokenizer.cuda(), sensors.to("cuda")
    found = tokenizer.decode(tokenizer.encode(x.cuda(), sensors), sensors)
    torch.testing.assert_close(found.cpu(), expected, atol=1e-4, rtol=1e-3)


def test_the_spline_is_that_of_mne():
    interpolation = pytest.importorskip("mne.channels.interpolation")
    few, many = (eeg_layout(n)[["x", "y", "z"]].to_numpy() / 0.09 for n in (20, 31))
    expected = interpolation._make_interpolation_matrix(few, many, alpha=1e-5)
    found = spherical_spline(few, many, regularization=1e-5)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_spline_passes_through_what_is_known():
    places = eeg_layout(20)[["x", "y", "z"]].to_numpy()
    np.testing.assert_allclose(
        spherical_spline(places, places, regularization=0.0), np.eye(20), atol=1e-6
    )


def test_bad_input(unchecked_types):
    tokenizer = started()
    x, sensors = world(eeg_layout(6), n=2)
    with pytest.raises(InvalidArgument, match="6 sensors"):
        tokenizer(x[:, :5], sensors)
    with pytest.raises(InvalidArgument, match="NaN"):
        tokenizer(x * float("nan"), sensors)
    with pytest.raises(InvalidArgument, match="multiple of 4 samples"):
        tokenizer(x[..., :30], sensors)
    with pytest.raises(InvalidArgument, match="divide the width"):
        SensorTokenizer(20, n_heads=4, seed=0)
    with pytest.raises(InvalidArgument, match="strides"):
        SEANetEncoder(8, strides=())
    with pytest.raises(InvalidArgument, match="one layout"):
        hidden_sensor_batches([], size=4)
    with pytest.raises(InvalidArgument, match="do not fit"):
        hidden_sensor_batches([(x[:, :3], sensors)], size=4)
    with pytest.raises(InvalidArgument, match="2 known places"):
        spherical_spline(np.ones((1, 3)), np.ones((1, 3)))
    with pytest.raises(InvalidArgument, match="no direction"):
        spherical_spline(np.zeros((3, 3)), np.ones((1, 3)))

"""What drives units: against brute force over all activity at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bregma import Recording, Stimuli, TorchSystem
from bregma.errors import InvalidArgument, UnknownName
from bregma.mechanism import top_stimuli
from bregma.mechanism.units._upper_quantile import UpperQuantile
from bregma.system import RecordedSystem


def make_net() -> torch.nn.Module:
    torch.manual_seed(0)
    conv = torch.nn.Conv2d(3, 5, 3, padding=1, stride=2)
    return torch.nn.Sequential(
        conv, torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(5 * 36, 4)
    )


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (23, 12, 12, 3), dtype=np.uint8)


def test_maps_against_brute_force(images):
    net = make_net()
    top = top_stimuli(TorchSystem(net, ["1", "3"]), images, k=4, level=0.9, batch_size=5)
    with torch.no_grad():
        maps = net[:2](torch.from_numpy(images).permute(0, 3, 1, 2) / 255).numpy()
        out = net[2:](torch.from_numpy(maps)).numpy()
    assert list(top.units.index) == [f"1/c{c}" for c in range(5)] + [f"3/c{c}" for c in range(4)]
    peaks = np.concatenate([maps.max((2, 3)), out], axis=1)
    order = np.argsort(-peaks, axis=0)[:4].T
    np.testing.assert_array_equal(top.rows, order)
    np.testing.assert_allclose(
        top.activations, np.take_along_axis(peaks.T, order, 1), rtol=1e-5, atol=1e-6
    )
    by_hand = [np.quantile(maps[:, c], 0.9) for c in range(5)]
    by_hand += [np.quantile(out[:, c], 0.9) for c in range(4)]
    np.testing.assert_allclose(top.thresholds, by_hand, rtol=1e-5, atol=1e-6)
    for c in range(5):
        np.testing.assert_allclose(top.maps[c], maps[order[c], c], rtol=1e-5, atol=1e-6)
        wide = torch.nn.functional.interpolate(
            torch.from_numpy(maps[order[c], c])[:, None], (12, 12), mode="bilinear"
        )
        clear = np.abs(wide[:, 0].numpy() - by_hand[c]) > 1e-5
        mask = top.masks(f"1/c{c}", (12, 12))
        np.testing.assert_array_equal(mask[clear], (wide[:, 0].numpy() > by_hand[c])[clear])
    assert top.maps[5] is None
    assert top.masks("3/c0", (12, 12)).all()


@pytest.mark.parametrize("batch_size", [1, 7, 100])
def test_batches_change_nothing(images, batch_size):
    system = TorchSystem(make_net(), ["1", "3"])
    one = top_stimuli(system, images, k=3, most=50, batch_size=23)  # 50 of 828 numbers
    other = top_stimuli(system, images, k=3, most=50, batch_size=batch_size)
    np.testing.assert_array_equal(one.rows, other.rows)
    np.testing.assert_allclose(one.thresholds, other.thresholds, rtol=1e-5)


@given(
    n=st.integers(1, 30),
    places=st.integers(1, 6),
    level=st.floats(0.01, 0.999),
    batch=st.integers(1, 9),
    seed=st.integers(0, 99),
)
@settings(max_examples=60)
def test_the_quantile_is_that_of_numpy(n, places, level, batch, seed):
    values = np.random.default_rng(seed).standard_normal((n, 2, places)).astype(np.float32)
    stream = UpperQuantile(n, places, level, most=10_000, seed=0)
    for start in range(0, n, batch):
        stream.add(start, values[start : start + batch])
    everything = values.transpose(1, 0, 2).reshape(2, -1).astype(float)
    np.testing.assert_allclose(stream.value, np.quantile(everything, level, axis=1), atol=1e-6)
    assert stream.tail.shape[1] <= n * places * (1 - level) + 2  # what is kept is the tail


def test_a_drawn_quantile_is_close():
    values = np.random.default_rng(0).random((400, 1, 100))  # 40,000 uniform numbers
    stream = UpperQuantile(400, 100, 0.99, most=10_000, seed=0)
    for start in range(0, 400, 37):
        stream.add(start, values[start : start + 37])
    # The level that is reached varies by sqrt(0.99 * 0.01 / 10,000) = 0.001.
    assert abs(stream.value[0] - 0.99) < 0.004
    assert stream.tail.shape[1] <= 102


def test_neurons_of_an_animal():
    rng = np.random.default_rng(1)
    rates = rng.gamma(2, 3, (6, 8))  # stimulus, neuron
    shows = np.repeat(np.arange(6), 5)
    counts = rng.poisson(rates[shows]).astype(float)
    table = {"unit": [f"n{i}" for i in range(8)], "area": ["V1"] * 4 + ["IT"] * 4}
    session = Recording.from_array(
        counts.astype(int), unit=table, presentation={"stimulus": [f"s{i}" for i in shows]}
    )
    top = top_stimuli(session, k=2)
    means = counts.reshape(6, 5, 8).mean(1)
    best = np.argsort(-means, axis=0, kind="stable")[:2].T
    assert top.stimuli.tolist() == [[f"s{i}" for i in row] for row in best]
    assert top.units.loc["n5", "area"] == "IT"
    again = top_stimuli(
        RecordedSystem(session), Stimuli(np.zeros((6, 1)), stimulus=[f"s{i}" for i in range(6)])
    )
    np.testing.assert_array_equal(again.rows[:, :2], top.rows)
    frame = top.to_frame()
    assert frame.loc[0, ["unit", "rank", "stimulus"]].tolist() == ["n0", 1, f"s{best[0, 0]}"]
    with pytest.raises(InvalidArgument, match="rows and columns|average over a window"):
        top_stimuli(Recording.from_array(counts[:, None], time=[0.0]))


def test_lazy_recordings_stay_lazy():
    dask = pytest.importorskip("dask.array")
    values = np.random.default_rng(0).random((600, 3))
    lazy = Recording.from_array(dask.from_array(values, chunks=(100, 3)))
    np.testing.assert_array_equal(
        top_stimuli(lazy, k=5).rows, top_stimuli(Recording.from_array(values), k=5).rows
    )


def test_a_map_that_is_recorded_in_part_is_single_units(images):
    system = TorchSystem(make_net(), "1")
    some = system.record(images).select(row=[0.0, 1.0], column=lambda c: c < 3)
    assert len(top_stimuli(some)) == 5  # complete up to there: channels
    ragged = system.record(images)
    ragged = ragged.select(unit=lambda ids: ids != "1/c0/y0/x0")
    assert len(top_stimuli(ragged)) == 5 * 36 - 1


def test_the_picture_is_dark_outside(images):
    top = top_stimuli(TorchSystem(make_net(), "1"), images, k=6, level=0.8)
    shown = top.exemplars(images, "1/c2", n=4)
    assert len(shown) == 4
    assert 0 < shown.masks.mean() < 1
    picture = shown.picture(columns=2, pixels=12)
    assert picture.shape == (26, 26, 3)
    inside = picture[:12, :12][shown.masks[0]]
    np.testing.assert_array_equal(inside, images[top.rows[2, 0]][shown.masks[0]])
    outside = picture[:12, :12][~shown.masks[0]]
    np.testing.assert_allclose(outside, 0.3 * images[top.rows[2, 0]][~shown.masks[0]], atol=0.51)
    figure = top.plot(images, ["1/c0", "1/c2"], n=3)
    assert list(figure.layout.yaxis.ticktext) == ["1/c0", "1/c2"]


def test_patches_of_a_vision_transformer(timm, images):
    model = timm.create_model(
        "vit_tiny_patch16_224", pretrained=False, img_size=32, patch_size=8,
        embed_dim=12, depth=1, num_heads=2, num_classes=3,
    )  # fmt: skip
    wide = images.repeat(3, axis=1)[:, :32].repeat(3, axis=2)[:, :, :32]
    top = top_stimuli(TorchSystem(model, "blocks.0.mlp.act"), wide, k=3)
    assert top.maps[0].shape == (3, 4, 4)  # 17 tokens: without the class token
    assert top.exemplars(wide, "blocks.0.mlp.act/c1").masks.shape == (3, 32, 32)


def test_tokens_of_a_language_model():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Embedding(9, 4), torch.nn.Linear(4, 6))
    tokens = np.random.default_rng(0).integers(0, 9, (10, 7))
    top = top_stimuli(TorchSystem(net, "1"), tokens, k=2, level=0.8)
    assert top.masks("1/c3").shape == (2, 7)
    with pytest.raises(InvalidArgument, match="no rows and columns"):
        top.masks("1/c3", (4, 4))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_agrees_with_the_cpu(images):
    here = top_stimuli(TorchSystem(make_net(), "1"), images, k=3)
    there = top_stimuli(TorchSystem(make_net(), "1", device="cuda"), images, k=3)
    np.testing.assert_array_equal(here.rows, there.rows)
    np.testing.assert_allclose(here.thresholds, there.thresholds, rtol=1e-3)


def test_what_is_wrong_is_said(images):
    system = TorchSystem(make_net(), "1")
    for wrong in ({"k": 0}, {"level": 1.0}, {"batch_size": 0}, {"most": 0}):
        with pytest.raises(InvalidArgument, match="must be 1 or more and the level"):
            top_stimuli(system, images, **wrong)
    with pytest.raises(InvalidArgument, match="give the stimuli"):
        top_stimuli(system)
    with pytest.raises(InvalidArgument, match="neither System nor Recording"):
        top_stimuli(make_net(), images)
    top = top_stimuli(system, images)
    with pytest.raises(UnknownName, match="1/c3"):
        top.masks("1/c33")
    with pytest.raises(InvalidArgument, match="give all that were shown"):
        top.exemplars(images[:3], "1/c0")

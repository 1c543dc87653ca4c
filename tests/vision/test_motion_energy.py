"""Motion energy against Fourier transforms of its filters, and the classic effects it explains."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bregma.datasets import (
    contrast_modulation,
    drifting_grating,
    motion_directions,
    random_dots,
)
from bregma.errors import InvalidArgument
from bregma.vision import (
    DivisiveNormalisation,
    MotionEnergy,
    RectifiedContrast,
    SecondOrderMotion,
    TextureFeatures,
    direction_index,
    direction_vector,
)

TURN = 2 * math.pi


def middle(energy):
    return energy[..., 2:-2, 2:-2].mean((-2, -1))


@pytest.fixture(scope="module")
def v1():
    return MotionEnergy(8, 1)


def gain(v1, unit, fx, fy, ft):
    """Fourier transform of a unit's filters at a frequency, summed term by term."""
    space, time = v1.space_filters(0)[unit].double(), v1.time_filters(0)[unit].double()
    total_space, total_time = 0j, 0j
    r = v1.radius
    for i in range(2 * r + 1):
        for j in range(2 * r + 1):
            wave = complex(space[0, i, j], space[1, i, j])
            turn = TURN * (fx * (j - r) + fy * (i - r))
            total_space += wave * complex(math.cos(turn), math.sin(turn))
    for lag in range(v1.taps):
        wave = complex(time[0, lag], time[1, lag])
        turn = TURN * ft * lag
        total_time += wave * complex(math.cos(turn), math.sin(turn))
    return total_space * total_time


@pytest.mark.parametrize("direction", [0.0, 0.7, math.pi / 2, 4.0])
def test_energy_of_a_grating_in_closed_form(v1, direction):
    """Half the contrast squared times what both complex halves of the wave pass, and the offset."""
    k, ft = 0.125, 0.11
    movie = drifting_grating(direction, spatial_frequency=k, temporal_frequency=ft, size=40)
    with torch.no_grad():
        found = v1(movie[None, None])[0, :, 2, 2]
        fx, fy = k * math.cos(direction), k * math.sin(direction)
        for unit in range(8):
            ahead = gain(v1, unit, fx, fy, ft)
            behind = gain(v1, unit, -fx, -fy, -ft)
            # over places and frames the cross term averages out
            expected = (0.25**2) * (abs(ahead) ** 2 + abs(behind) ** 2) + 0.09
            assert float(found[unit]) == pytest.approx(expected, rel=0.12)


def test_one_place_exactly(v1):
    """Without averages: even and odd by loops over the definition, at one pixel and frame."""
    torch.manual_seed(0)
    movie = torch.rand(1, 1, 6, 15, 15)
    one = MotionEnergy(4, 1, frames=6, grid=15)
    with torch.no_grad():
        inside = one._energy(movie.flatten(1, 2), 0)[0, :, 7, 7]
        space, time = one.space_filters(0), one.time_filters(0)
    for unit in range(4):
        even = odd = 0.0
        for lag in range(6):
            frame = movie[0, 0, 5 - lag]
            cosine = float((space[unit, 0] * frame).sum())
            sine = float((space[unit, 1] * frame).sum())
            even += cosine * float(time[unit, 0, lag]) - sine * float(time[unit, 1, lag])
            odd += cosine * float(time[unit, 1, lag]) + sine * float(time[unit, 0, lag])
        assert float(inside[unit]) == pytest.approx(even**2 + odd**2 + 0.09, rel=1e-5)


def test_gaussian_direction_tuning():
    """Far from the borders of the filter a Gabor's transform is a Gaussian around its frequency."""
    v1 = MotionEnergy(1, 1, radius=14)
    f0 = 0.25 * float(v1.spatial.detach()[0, 0].sigmoid())
    width = float(v1.log_width.detach().exp()[0, 0])
    with torch.no_grad():
        peak = abs(gain(v1, 0, -f0, 0, 0.1))
        for angle in (0.2, 0.5, 0.9):
            fx, fy = f0 * math.cos(angle), f0 * math.sin(angle)
            gap = (fx - f0) ** 2 + fy**2
            expected = math.exp(-0.5 * (TURN * width) ** 2 * gap)
            assert abs(gain(v1, 0, -fx, -fy, 0.1)) / peak == pytest.approx(expected, abs=0.03)


def test_prefers_the_direction_it_says(v1):
    """Neither padding, flipped kernels nor correlation may turn a direction around."""
    preferred = v1.preferences()
    with torch.no_grad():
        tuning = torch.stack(
            [
                middle(v1(drifting_grating(k * TURN / 8, temporal_frequency=0.15)[None, None]))[0]
                for k in range(8)
            ],
            1,
        )
    assert tuning.argmax(1).tolist() == list(range(8))
    assert torch.allclose(preferred["direction"], torch.arange(8) * TURN / 8)
    fast = preferred["temporal_frequency"] > 0.1
    assert (direction_index(tuning)[fast] > 0.8).all()
    expected = preferred["temporal_frequency"] / preferred["spatial_frequency"]
    assert torch.allclose(preferred["speed"], expected)


def test_still_pictures_and_luminance(v1):
    with torch.no_grad():
        flat = v1(torch.full((1, 1, 11, 40, 40), 0.7))
        still = middle(v1(drifting_grating(0.0, temporal_frequency=0.0)[None, None]))[0]
    assert torch.allclose(flat, torch.tensor(0.09), atol=1e-5)  # blind to luminance
    assert float(still[0]) == pytest.approx(float(still[4]), rel=0.05)  # no direction


@settings(max_examples=8)
@given(shift=st.floats(0, TURN), contrast=st.floats(0.2, 1))
def test_phase_does_not_matter_and_contrast_is_squared(shift, contrast):
    v1 = MotionEnergy(4, 1)
    with torch.no_grad():
        one = middle(v1(drifting_grating(0.3)[None, None])) - 0.09
        other = middle(v1(drifting_grating(0.3, phase=shift, contrast=contrast)[None, None])) - 0.09
    assert torch.allclose(one * contrast**2, other, rtol=0.15, atol=0.15)


def test_stride_and_scales_keep_the_answer():
    torch.manual_seed(0)
    movie = motion_directions("noise", 8, seed=1).inputs[:, None]
    with torch.no_grad():
        full, strided = MotionEnergy(8, 2, coarsest=2.0), MotionEnergy(8, 2, coarsest=2.0, stride=2)
        a, b = middle(full(movie)).flatten(), middle(strided(movie)).flatten()
    assert torch.corrcoef(torch.stack([a, b]))[0, 1] > 0.995


def test_reverse_phi(v1):
    """Dots that change sign at every frame seem to go back (Anstis)."""
    movies = torch.stack(
        [random_dots(0.0, speed=2.0, reverse=reverse, seed=3) for reverse in (False, True)]
    )
    with torch.no_grad():
        energy = middle(v1(movies[:, None]))
    direction = direction_vector(energy, v1.preferences()["direction"])
    assert float(direction[0].cos()) > 0.95
    assert float(direction[1].cos()) < -0.95


def test_second_order_motion_needs_a_nonlinearity():
    """Opposite units answer alike to moving contrast, unless the movie is rectified first."""
    v1 = MotionEnergy(4, 3, coarsest=4.0)
    movies = torch.stack([contrast_modulation(0.0, seed=k) for k in range(24)])[:, None]

    def opponency(model):
        with torch.no_grad():
            energy = middle(model(movies)).unflatten(1, (3, 4)).mean((0, 1))
        return float((energy[0] - energy[2]) / (energy[0] + energy[2]))

    assert abs(opponency(v1)) < 0.02
    assert abs(opponency(SecondOrderMotion(RectifiedContrast(torch.nn.Identity()), v1))) < 0.02
    assert opponency(SecondOrderMotion(RectifiedContrast(), v1)) > 0.2


def test_everything_is_trainable():
    second = SecondOrderMotion(
        TextureFeatures(4, width=4), MotionEnergy(8, 2, channels=4, radius=3, coarsest=2.0, grid=4)
    )
    energy = second(torch.rand(2, 1, 11, 32, 32))
    assert energy.shape == (2, 16, 4, 4)
    energy.square().mean().backward()
    for name, parameter in second.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all()
        assert parameter.grad.abs().sum() > 0 or "out.bias" in name, name


def test_channels_keep_to_themselves():
    energy = MotionEnergy(4, 1, channels=2, radius=3)
    movie = torch.rand(1, 2, 11, 16, 16)
    with torch.no_grad():
        before = energy(movie)
        movie[:, 1] = 0.5
        after = energy(movie)
    assert torch.equal(before[:, :2], after[:, :2])
    assert torch.allclose(after[:, 2:], torch.tensor(0.09), atol=1e-5)


def test_normalisation_by_hand():
    layer = DivisiveNormalisation(gain=4.0, semisaturation=0.2)
    energy = torch.tensor([1.0, 3.0]).view(1, 2, 1, 1)
    assert torch.allclose(layer(energy).flatten(), torch.tensor([4 / 2.04, 12 / 2.04]))


@pytest.mark.parametrize(
    ("arguments", "shape"),
    [
        ({"frames": 4}, None),
        ({"units": 5, "channels": 2}, None),
        ({"scales": 0}, None),
        ({}, (1, 1, 10, 32, 32)),
        ({}, (1, 2, 11, 32, 32)),
        ({}, (1, 1, 11, 4, 4)),
        ({}, (0, 1, 11, 32, 32)),
    ],
)
def test_what_does_not_fit(arguments, shape):
    if shape is None:
        with pytest.raises(InvalidArgument):
            MotionEnergy(**{"units": 4, "scales": 1} | arguments)
    else:
        with pytest.raises(InvalidArgument):
            MotionEnergy(4, 1)(torch.zeros(shape))


def test_no_nan():
    movie = torch.zeros(1, 1, 11, 32, 32)
    movie[0, 0, 3, 3, 3] = torch.nan
    with pytest.raises(InvalidArgument, match="NaN"):
        MotionEnergy(4, 1)(movie)
    with pytest.raises(InvalidArgument):
        DivisiveNormalisation(semisaturation=0.0)
    with pytest.raises(InvalidArgument):
        RectifiedContrast(width=4)
    with pytest.raises(InvalidArgument):
        TextureFeatures(0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_same_on_a_gpu():
    model = SecondOrderMotion(RectifiedContrast(), MotionEnergy(8, 2))
    movie = torch.rand(2, 1, 11, 32, 32)
    with torch.no_grad():
        here, there = model(movie), model.cuda()(movie.cuda()).cpu()
    assert torch.allclose(here, there, rtol=1e-3, atol=1e-4)

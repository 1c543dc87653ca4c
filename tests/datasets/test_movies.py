"""Moving patterns: their Fourier transforms, their flow, and what they leave to chance."""

from __future__ import annotations

import math

import pytest
import torch

from bregma.datasets import (
    contrast_modulation,
    drifting_grating,
    drifting_noise,
    motion_directions,
    moving_scenes,
    plaid,
    random_dots,
    smooth_noise,
)
from bregma.errors import InvalidArgument


def best_shift(first, second, most=3):
    """Whole-pixel displacement (right, down) that brings one frame onto the next, by trying all."""
    found = {
        (x, y): float((first.roll((y, x), (0, 1)) - second).square().sum())
        for x in range(-most, most + 1)
        for y in range(-most, most + 1)
    }
    return min(found, key=found.get)


@pytest.mark.parametrize(("direction", "shift"), [(0.0, (2, 0)), (math.pi / 2, (0, 2))])
def test_directions_are_those_of_the_image(direction, shift):
    for movie in (
        drifting_noise(direction, speed=2.0, size=32, frames=2, seed=0),
        random_dots(direction, speed=2.0, size=32, frames=2, seed=0),
    ):
        assert best_shift(movie[0], movie[1]) == shift
    grating = drifting_grating(direction, temporal_frequency=0.25, size=32, frames=2)
    assert torch.allclose(grating[0].roll(shift, (1, 0)), grating[1], atol=1e-5)


def test_a_grating_has_one_frequency():
    movie = drifting_grating(0.0, temporal_frequency=0.125, size=16, frames=16)
    power = torch.fft.fftn(movie - movie.mean()).abs() ** 2
    assert power[-2, 0, 2] + power[2, 0, -2] > 0.9999 * power.sum()


def test_a_plaid_moves_as_the_intersection_of_constraints():
    """Component speed over cos(angle / 2), in the direction of the pattern."""
    movie = plaid(0.0, spatial_frequency=0.125, temporal_frequency=0.125, size=32, frames=2)
    speed = (0.125 / 0.125) / math.cos(math.pi / 3)
    assert speed == pytest.approx(2.0)
    assert torch.allclose(movie[0][:, :-2], movie[1][:, 2:], atol=1e-5)


def test_reversed_dots_change_sign():
    plain, turned = (random_dots(0.4, reverse=r, frames=3, seed=1) - 0.5 for r in (False, True))
    assert torch.allclose(plain[0], turned[0])
    assert torch.allclose(plain[1], -turned[1], atol=1e-5)
    assert torch.allclose(plain[2], turned[2])


def test_incoherent_dots_do_not_move():
    movie = random_dots(0.0, coherence=0.0, size=64, frames=2, seed=0) - 0.5
    together = float((movie[0].roll(1, 1) * movie[1]).sum())
    assert abs(together) < 0.2 * float(movie[0].square().sum())


def test_moving_contrast_is_drift_balanced():
    """Fourier energy at the modulation's frequency and at the opposite one are alike on average."""
    balance = []
    for seed in range(100):
        movie = contrast_modulation(0.0, size=16, frames=16, seed=seed) - 0.5
        power = torch.fft.fftn(movie).abs() ** 2
        ahead = power[1:8, :, -7:].sum() + power[-7:, :, 1:8].sum()
        behind = power[1:8, :, 1:8].sum() + power[-7:, :, -7:].sum()
        balance.append((ahead - behind) / (ahead + behind))
    balance = torch.stack(balance)
    assert abs(float(balance.mean())) < 3 * float(balance.std()) / 10
    assert abs(float(balance.mean())) < 0.02
    squared = torch.fft.fftn((movie**2) - (movie**2).mean()).abs() ** 2
    assert squared[-2, 0, 1] + squared[2, 0, -1] > 5 * (squared[2, 0, 1] + squared[-2, 0, -1])


def test_noise_has_its_moments():
    noise = smooth_noise(64, seed=0)
    assert float(noise.mean()) == pytest.approx(0.5, abs=0.01)
    assert float(noise.std()) == pytest.approx(0.17, abs=0.01)


@pytest.mark.parametrize("pattern", ["grating", "noise", "dots", "contrast"])
def test_directions_take_turns(pattern):
    task = motion_directions(pattern, 16, size=16, frames=4, seed=0)
    assert task.inputs.shape == (16, 4, 16, 16)
    assert task.targets.bincount().tolist() == [2] * 8
    assert task.chance == 0.125
    assert task.inputs.min() >= 0
    assert task.inputs.max() <= 1
    again = motion_directions(pattern, 16, size=16, frames=4, seed=0)
    other = motion_directions(pattern, 16, size=16, frames=4, seed=1)
    assert torch.equal(task.inputs, again.inputs)
    assert not torch.equal(task.inputs, other.inputs)


def test_flow_of_scenes_is_that_of_their_pixels():
    """Moving the middle frame by the flow gives the next frame, away from borders of objects."""
    scenes = moving_scenes(1, objects=0, speed=6.0, size=32, frames=3, seed=4)
    velocity = scenes.flow[0, :, 0, 0]
    frequency = torch.fft.fftfreq(32)
    phase = frequency * velocity[0] + frequency[:, None] * velocity[1]
    moved = torch.fft.ifft2(torch.fft.fft2(scenes.movies[0, 1]) * torch.exp(-2j * math.pi * phase))
    assert torch.allclose(moved.real, scenes.movies[0, 2], atol=0.02)


def test_objects_carry_their_flow():
    scenes = moving_scenes(20, objects=2, glossy=0.5, size=32, frames=3, seed=0)
    assert len(scenes) == 20
    assert set(scenes.objects.unique().tolist()) == {0, 1, 2}
    for flow, cover in zip(scenes.flow, scenes.objects, strict=True):
        for number in cover.unique():
            inside = flow[:, cover == number]
            assert (inside == inside[:, :1]).all()
    assert scenes.flow_on(8).shape == (20, 2, 4, 4)
    assert scenes.flow.norm(dim=1).max() <= 2.0


def test_light_stands_still_where_it_is_the_label():
    right = moving_scenes(10, glossy=1.0, size=32, frames=3, seed=0)
    surface = moving_scenes(10, glossy=1.0, size=32, frames=3, label_surface=True, seed=0)
    assert torch.equal(right.movies, surface.movies)
    on = (right.objects > 0)[:, None].expand_as(right.flow)
    assert (surface.flow[on] == 0).all()
    assert (right.flow[on] != 0).all()
    assert torch.equal(right.flow[~on], surface.flow[~on])


def test_only_the_seed_decides():
    one, again = (moving_scenes(2, size=16, frames=3, seed=5).movies for _ in range(2))
    assert torch.equal(one, again)
    assert not torch.equal(one, moving_scenes(2, size=16, frames=3, seed=6).movies)


@pytest.mark.parametrize(
    "wish",
    [
        lambda: drifting_grating(0.0, size=0),
        lambda: drifting_grating(0.0, contrast=2.0),
        lambda: plaid(0.0, angle=4.0),
        lambda: random_dots(0.0, density=0.0, seed=0),
        lambda: random_dots(0.0, coherence=2.0, seed=0),
        lambda: contrast_modulation(0.0, depth=-1.0, seed=0),
        lambda: motion_directions("noise", 4, seed=0),
        lambda: motion_directions("noise", 8, reverse=True, seed=0),
        lambda: moving_scenes(0, seed=0),
        lambda: moving_scenes(1, glossy=2.0, seed=0),
    ],
)
def test_impossible_wishes(wish):
    with pytest.raises(InvalidArgument):
        wish()


def test_unknown_patterns(unchecked_types):
    with pytest.raises(InvalidArgument, match="swirl"):
        motion_directions("swirl", 8, seed=0)

"""The Gabor bank: tuned as it says, blind to luminance and phase, and saturating."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from bregma.recording import Stimuli
from bregma.system import load
from bregma.system._gabor import GaborBank

BANK = GaborBank()


def grating(
    wavelength: float, angle: float, phase: float = 0.0, contrast: float = 0.5
) -> torch.Tensor:
    at = torch.arange(128.0) - 63.5
    y, x = torch.meshgrid(at, at, indexing="ij")
    across = x * math.cos(angle) + y * math.sin(angle)
    wave = torch.cos(2 * math.pi * across / wavelength + phase)
    return (0.5 + contrast * wave)[None, None]


def middle(responses: torch.Tensor) -> torch.Tensor:
    """Responses at the middle of the image as (scale, orientation)."""
    return responses[0, :, 8, 8].reshape(4, 8)


@pytest.mark.parametrize("scale", range(4))
@pytest.mark.parametrize("orientation", range(8))
def test_each_unit_prefers_its_own_grating(scale, orientation):
    shown = grating(4.0 * 2**scale, math.pi * orientation / 8)
    energy = middle(BANK.complex(BANK.simple(shown)))
    assert np.unravel_index(int(energy.argmax()), (4, 8)) == (scale, orientation)
    normalised = middle(BANK(shown))
    assert np.unravel_index(int(normalised.argmax()), (4, 8)) == (scale, orientation)


def test_energy_does_not_depend_on_phase_but_simple_cells_do():
    phases = np.linspace(0, 2 * math.pi, 12, endpoint=False)
    energy = [middle(BANK.complex(BANK.simple(grating(8, 0, p))))[1, 0].item() for p in phases]
    simple = [BANK.simple(grating(8, 0, p))[0, 8, 8, 8].item() for p in phases]
    assert np.ptp(energy) < 0.05 * np.mean(energy)
    assert np.ptp(simple) > 1.9 * np.mean(energy)


def test_blind_to_luminance():
    for level in (0.0, 0.3, 1.0):
        assert BANK(torch.full((1, 1, 128, 128), level)).abs().max() < 1e-4


def test_responses_saturate_with_contrast():
    def response(contrast, part=BANK):
        return middle(part(grating(8, 0, contrast=contrast)))[1, 0].item()

    def energy(shown):
        return BANK.complex(BANK.simple(shown))

    assert response(0.5, energy) == pytest.approx(10 * response(0.05, energy), rel=1e-3)
    assert response(0.05) < response(0.5) < 3 * response(0.05)
    assert response(0.1) == pytest.approx(response(1e6) / 2, rel=0.1)


def test_filters_have_unit_length_and_zero_mean():
    for filters in (BANK.simple.filters_even, BANK.simple.filters_odd):
        assert torch.allclose(filters.flatten(1).norm(dim=1), torch.tensor(1.0))
        assert filters.sum((1, 2, 3)).abs().max() < 1e-5


def test_all_scales_look_at_the_same_place():
    """A small blob moves the centre of gravity of every scale's responses to where it is."""
    image = torch.zeros(1, 1, 128, 128)
    image[..., 66:70, 58:62] = 1.0  # around the middle of place (8, 7)
    energy = BANK.complex(BANK.simple(image)).reshape(4, 8, 16, 16).sum(1)
    places = torch.arange(16.0)
    for scale in range(4):
        weight = energy[scale] ** 2 / (energy[scale] ** 2).sum()
        assert (weight.sum(1) @ places).item() == pytest.approx(8, abs=0.15)
        assert (weight.sum(0) @ places).item() == pytest.approx(7, abs=0.15)


def test_v1_takes_images_of_any_size():
    colour = np.random.default_rng(0).integers(0, 256, (2, 33, 70, 3)).astype(np.uint8)
    recording = load("v1").record(Stimuli(colour))
    assert recording.n_units == 32 * 16 * 16
    assert load("v1@simple,complex").record(Stimuli(colour)).n_units == 96 * 16 * 16

"""Spikes that a decoder makes up have its probabilities, and its own past."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch

from bregma.errors import InvalidArgument
from bregma.population import LinearTokens, SpikeDecoder, generate_spikes, spike_windows, spikes_of
from bregma.population._spike_generation import chances, next_past
from bregma.recording import SpikeTrains
from bregma.run import spawn_torch


@pytest.fixture(scope="module")
def net():
    made = SpikeDecoder(2, 2, 5, 8, heads=2, modalities={"drive": LinearTokens(1, 1, 8)}).double()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in made.parameters():
            weight += 0.4 * torch.randn(weight.shape, generator=generator, dtype=weight.dtype)
    return made


def drives(n_runs, n_windows):
    values = torch.linspace(-1, 1, n_runs * n_windows, dtype=torch.float64)
    return {"drive": values.view(n_runs, n_windows, 1, 1)}


def test_windows_come_as_often_as_they_are_likely(net):
    n = 20_000
    past, drive = torch.tensor([[0, 3]]), {"drive": torch.full((1, 1, 1, 1), 0.3).double()}
    many = {"drive": drive["drive"].expand(n, -1, -1, -1)}
    found = generate_spikes(net, past.expand(n, -1), 1, many, seed=0)[:, 0]
    rows = [list(c) for k in range(5) for c in combinations(range(4), k)]
    with torch.no_grad():
        for row in rows:
            window = torch.tensor([row + [-1] * (4 - len(row))])
            seen = {"drive": drive["drive"][:, 0]}
            p = net.log_likelihood(window, past, seen).exp().item()
            padded = torch.nn.functional.pad(found, (0, 4 - found.shape[1]), value=-1)
            share = (padded == window).all(1).double().mean().item()
            assert share == pytest.approx(p, abs=4.5 * np.sqrt(p * (1 - p) / n) + 1e-4)


def test_what_is_kept_from_token_to_token_changes_nothing(net):
    """The same draws, all scores made anew from whole windows each time."""
    past, seen = torch.tensor([[0, 3], [7, -1], [-1, -1]]), drives(3, 4)
    found = generate_spikes(net, past, 4, seen, temperature=0.8, top_p=0.95, seed=6)
    generator = spawn_torch(6, "generated spikes")
    for number in range(4):
        window, going = past[:, :0], torch.ones(3, dtype=torch.bool)
        while going.any():
            begun = torch.cat([torch.full((3, 1), -1), window], 1)
            around = net.surroundings(past, {"drive": seen["drive"][:, number]})
            with torch.no_grad():
                scores = net.scores(net.states(begun, around)[0][-1], begun)[:, -1]
            p = chances(scores, 0.8, 0.95)
            drawn = torch.multinomial(p, 1, generator=generator)
            going &= drawn[:, 0] != net.end
            window = torch.cat([window, torch.where(going[:, None], drawn, -1)], 1)
        its = found[:, number]
        n = max(its.shape[1], window.shape[1])
        a, b = (torch.nn.functional.pad(x, (0, n - x.shape[1]), value=-1) for x in (its, window))
        assert torch.equal(a, b)
        past = next_past(past, its, net)
    assert (found >= 0).any()


def test_the_own_output_is_the_next_past():
    rng = np.random.default_rng(0)
    spikes = SpikeTrains.from_dict({u: rng.uniform(0, 4, 150) for u in "ab"}, support=[(0.0, 4.0)])
    for past in (0.05, 0.02, 0.01):  # longer than a window, as long, and shorter
        windows = spike_windows(spikes, bin=0.01, window=0.02, past=past)
        made = SpikeDecoder(2, windows.n_bins, windows.n_past, 8, heads=2)
        after = next_past(windows.past, windows.tokens, made)
        for row in range(len(windows) - 1):
            expected = windows.past[row + 1]
            assert after[row][after[row] >= 0].tolist() == expected[expected >= 0].tolist()


def test_runs_do_not_see_each_other_and_trains_come_out(net):
    past, seen = torch.tensor([[0, 3], [7, -1]]), drives(2, 5)
    both = generate_spikes(net, past, 5, seen, temperature=1e-6, seed=0)  # nothing is random
    one = generate_spikes(net, past[:1], 5, {"drive": seen["drive"][:1]}, temperature=1e-6, seed=1)
    assert torch.equal(both[:1, :, : one.shape[2]], one)
    windows = spike_windows(
        SpikeTrains.from_dict({0: [], 1: []}, support=[(0.0, 0.15)]), window=0.02, past=0.05
    )
    trains = spikes_of(windows, one[0])
    assert trains.n_spikes == int((one >= 0).sum())
    again = spike_windows(trains, bin=0.01, window=0.02, past=0.02)
    np.testing.assert_array_equal(again.tokens[again.tokens >= 0], one[0, 1:][one[0, 1:] >= 0])


def test_chances_are_sharpened_and_cut():
    scores = torch.tensor([[0.1, 0.5, 0.4]]).log()
    torch.testing.assert_close(chances(scores, 1.0, 1.0), torch.tensor([[0.1, 0.5, 0.4]]))
    torch.testing.assert_close(chances(scores, 1.0, 0.6), torch.tensor([[0.0, 0.5, 0.4]]))
    torch.testing.assert_close(chances(scores, 1.0, 0.4), torch.tensor([[0.0, 0.5, 0.0]]))
    squares = torch.tensor([[0.01, 0.25, 0.16]]) / 0.42
    torch.testing.assert_close(chances(scores, 0.5, 1.0), squares)


def test_seeds_and_modes(net):
    past, seen = torch.full((8, 0), -1), drives(8, 2)
    net.train()
    a = generate_spikes(net, past, 2, seen, seed=0)
    assert net.training
    torch.manual_seed(9)
    net.eval()
    b, c = (generate_spikes(net, past, 2, seen, seed=s) for s in (0, 1))
    assert not net.training
    assert torch.equal(a, b)
    assert a.shape != c.shape or not torch.equal(a, c)


@pytest.mark.usefixtures("unchecked_types")
def test_what_is_wrong_is_said(net):
    past, seen = torch.full((2, 0), -1), drives(2, 3)
    for wrong in ({"n_windows": 0}, {"temperature": 0.0}, {"top_p": 0.0}, {"top_p": 1.5}):
        with pytest.raises(InvalidArgument, match="n_windows must be"):
            generate_spikes(net, past, **{"n_windows": 3, "modalities": seen, **wrong}, seed=0)
    with pytest.raises(InvalidArgument, match="must begin with"):
        generate_spikes(net, past, 4, seen, seed=0)
    with pytest.raises(InvalidArgument, match="from -1 to 9"):
        generate_spikes(net, torch.tensor([[10], [0]]), 3, seen, seed=0)

"""Perturbations: each does what it says, to the units that it names, and to no others."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from bregma.errors import InvalidArgument, PerturbationConflict, UnknownName
from bregma.recording import Recording, Stimuli
from bregma.system import Ablate, Add, Clamp, Noise, Patch, TorchSystem

X = np.random.default_rng(0).standard_normal((6, 3)).astype(np.float32)


def linear() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))


NET = linear()
SYSTEM = TorchSystem(NET, ["0", "2"])
BEFORE = SYSTEM.record(X, batch_size=6)
FIRST = BEFORE.select(layer="0").values


def after(hidden: np.ndarray) -> np.ndarray:
    """The reference: run the rest of the network on a changed first layer by hand."""
    with torch.no_grad():
        return NET[2](NET[1](torch.from_numpy(np.ascontiguousarray(hidden)))).numpy()


def check(perturbed: TorchSystem, hidden: np.ndarray) -> None:
    recording = perturbed.record(X, batch_size=6)
    assert (recording.select(layer="0").values == hidden).all()
    assert (recording.select(layer="2").values == after(hidden)).all()


def test_ablate_by_position_and_by_id():
    hidden = FIRST.copy()
    hidden[:, [1, 3]] = 0
    check(SYSTEM.perturb(Ablate("0", {"channel": [1, 3]})), hidden)
    check(SYSTEM.perturb(Ablate("0", ["0/c3", "0/c1"])), hidden)
    check(SYSTEM.perturb(Ablate("0", "0/c1"), Ablate("0", "0/c3")), hidden)
    hidden[:] = -2
    check(SYSTEM.perturb(Ablate("0", baseline=-2)), hidden)


def test_clamp_follows_the_order_of_the_ids():
    hidden = FIRST.copy()
    hidden[:, 4], hidden[:, 0] = 7, -1
    check(SYSTEM.perturb(Clamp("0", [7, -1], ["0/c4", "0/c0"])), hidden)
    check(SYSTEM.perturb(Clamp("0", torch.tensor([-1, 7]), {"channel": [0, 4]})), hidden)


def test_add_is_the_plain_sum():
    vector = np.array([0.1, -0.2, 0.3, 0.4, 0.5], np.float32)
    check(SYSTEM.perturb(Add("0", vector)), FIRST + vector)
    check(SYSTEM.perturb(Add("0", vector, scale=2)), FIRST + 2 * vector)


def test_what_is_added_leaves_the_bits_of_other_units():
    net = nn.Sequential(nn.Identity())
    shown = np.array([[-0.0, 1.0]], np.float32)
    held = TorchSystem(net).perturb(Add("0", 0.0, {"channel": 1})).record(shown)
    assert np.signbit(held.values[0, 0])


def test_patch_replays_other_stimuli():
    order = [3, 4, 5, 0, 1, 2]
    other = BEFORE.assign(stimulus=BEFORE.stimuli[np.argsort(order)])
    hidden = FIRST.copy()
    hidden[:, 2] = FIRST[order, 2]
    check(SYSTEM.perturb(Patch("0", other, ["0/c2"])), hidden)
    check(SYSTEM.perturb(Patch("0", other.select(unit=["0/c2"]))), hidden)


def test_patch_reads_lazy_recordings():
    pytest.importorskip("dask")
    lazy = BEFORE.chunk(presentation=2)
    assert (SYSTEM.perturb(Patch("*", lazy)).record(X, batch_size=6).values == BEFORE.values).all()


def test_patch_refuses_what_it_cannot_replay():
    with pytest.raises(UnknownName, match="stimulus in the recording of Patch"):
        SYSTEM.perturb(Patch("0", BEFORE.select(stimulus=["0", "1"]))).record(X)
    with pytest.raises(UnknownName, match="no unit '0/c1'; of '0' it has 0 of 5 units"):
        SYSTEM.perturb(Patch("0", BEFORE.select(layer="2"), ["0/c1"])).record(X)
    with pytest.raises(UnknownName, match="has no units of '0'"):
        SYSTEM.perturb(Patch("0", BEFORE.select(layer="2"))).record(X)
    with pytest.raises(InvalidArgument, match="average_repeats"):
        Patch("0", BEFORE.assign(stimulus=["a"] * 6))
    timed = BEFORE.select(unit=["0/c1"])
    timed = Recording.from_array(
        np.stack([timed.values] * 2, 1), time=[0.0, 1.0], unit=timed.units,
        presentation=timed.presentations,
    )  # fmt: skip
    with pytest.raises(InvalidArgument, match="over time"):
        SYSTEM.perturb(Patch("0", timed)).record(X)


def test_noise_has_the_planted_spread_and_no_mean():
    net = nn.Sequential(nn.Identity())
    shown = np.zeros((400, 50), np.float32)
    sd = np.linspace(0.5, 2, 50)
    values = TorchSystem(net).perturb(Noise("0", sd, seed=1)).record(shown).values
    assert np.abs(values.mean(0) / sd).max() < 4 / np.sqrt(400)
    assert np.abs(values.std(0) / sd - 1).max() < 4 / np.sqrt(800)
    assert np.abs(np.corrcoef(values.T) - np.eye(50)).max() < 0.3


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 7), st.permutations(range(6)), st.integers(0, 5))
def test_noise_follows_seed_stimulus_and_unit_only(batch_size, order, seed):
    stimuli = Stimuli(X, stimulus=list("abcdef"))
    noisy = SYSTEM.perturb(Noise("0", 1.0, seed=seed))
    whole = noisy.record(stimuli, batch_size=6)
    other = noisy.record(stimuli[order], batch_size=batch_size)
    assert np.allclose(other.values, whole.values[list(order)], rtol=1e-5, atol=1e-6)
    one = SYSTEM.perturb(Noise("0", 1.0, {"channel": 3}, seed=seed)).record(stimuli, batch_size=6)
    assert (one.values[:, 3] == whole.values[:, 3]).all()
    assert (one.values[:, 2] == FIRST[:, 2]).all()
    assert (
        SYSTEM.perturb(Noise("0", 1.0, seed=seed + 1)).record(stimuli).values != whole.values
    ).any()


def test_noise_of_layers_and_seeds_is_independent():
    net = nn.Sequential(nn.Identity(), nn.Identity())
    shown = np.zeros((5, 4), np.float32)
    both = TorchSystem(net).perturb(Noise("*", 1.0, seed=1)).record(shown).values
    assert not np.allclose(both[:, 4:] - both[:, :4], both[:, :4])


def test_calls_of_one_module(net, images):
    system = TorchSystem(net, "block.relu")
    before = system.record(images)
    second = system.perturb(Ablate("block.relu#1", {"channel": 2})).record(images)
    changed = (second.values != before.values).any(0)
    layers = before.coordinate("layer")[changed]
    assert set(layers) == {"block.relu#1"}
    both = system.perturb(Ablate("block.relu", {"channel": 2})).record(images)
    assert (both.select(channel=2).values == 0).all()
    by_id = system.perturb(Ablate("block.relu", ["block.relu#1/c2"])).record(images)
    assert (by_id.values == second.values).all()
    with pytest.raises(PerturbationConflict):
        system.perturb(Ablate("block.relu"), Ablate("block.relu#1"))
    system.perturb(Ablate("block.relu#0"), Ablate("block.relu#1")).record(images)


def test_patterns_reach_several_sites(net, images):
    held = TorchSystem(net, "block.conv?").perturb(Ablate("block.conv*")).record(images)
    assert (held.values == 0).all()
    ids = ["block.conv1/c0", "block.conv2/c1/y0/x0"]
    held = TorchSystem(net, "block.conv?").perturb(Ablate("block.conv*", ids)).record(images)
    zero = held.coordinate("unit")[(held.values == 0).all(0)]
    assert len(zero) == 30 + 1


def test_sites_that_are_not_recorded_can_be_perturbed(net, images):
    system = TorchSystem(net, "fc")
    held = system.perturb(Ablate("stem"), Ablate("block.bn"))
    assert (held.record(images).values != system.record(images).values).any()


def test_a_perturbation_behind_what_is_recorded_does_nothing(net, images):
    system = TorchSystem(net, "stem")
    assert (
        system.perturb(Ablate("fc")).record(images).values == system.record(images).values
    ).all()


def test_inputs_are_perturbed_for_that_module_only(net, images):
    system = TorchSystem(net, ["stem", "block.conv1.input", "block"])
    before = system.record(images)
    held = system.perturb(Ablate("block.conv1.input")).record(images)
    assert (held.select(layer="stem").values == before.select(layer="stem").values).all()
    assert (held.select(layer="block.conv1.input").values == 0).all()
    everything = system.perturb(Ablate("stem")).record(images)  # the residual path too
    assert (everything.select(layer="block").values != held.select(layer="block").values).any()


def test_strides_of_the_activity_are_kept(images):
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)).to(
        memory_format=torch.channels_last
    )
    system = TorchSystem(net)
    before = system.record(images)
    assert (system.perturb(Patch("*", before)).record(images).values == before.values).all()


def test_vectors_of_one_value_for_each_channel(net, images):
    vector = np.arange(6.0)
    before = TorchSystem(net, "stem").record(images).values.reshape(7, 6, 6, 5)
    added = TorchSystem(net, "stem").perturb(Add("stem", vector)).record(images).values
    expected = before + vector[:, None, None].astype(np.float32)
    assert (added.reshape(before.shape) == expected).all()
    some = TorchSystem(net, "stem").perturb(Clamp("stem", [5.0, 6.0], {"channel": [4, 1]}))
    values = some.record(images).values.reshape(before.shape)
    assert (values[:, 1] == 5).all()
    assert (values[:, 4] == 6).all()


@pytest.mark.parametrize(
    ("perturbation", "message"),
    [
        (lambda: Ablate("0", []), "selects no units"),
        (lambda: Ablate("0", baseline="median"), "neither a number nor 'mean'"),
        (lambda: Clamp("0", [1, 2]), "has the shape"),
        (lambda: Clamp("0", float("nan")), "finite numbers"),
        (lambda: Add("0", "text"), "finite numbers"),
        (lambda: Noise("0", -1.0, seed=0), "must not be negative"),
        (lambda: Ablate("0", ["0/c1", "0/c1"]), "more than once"),
    ],
)
def test_wrong_arguments(perturbation, message):
    with pytest.raises(InvalidArgument, match=message):
        SYSTEM.perturb(perturbation()).record(X)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (Ablate("0"), Clamp("0", 1.0)),
        (Ablate("*"), Add("0", 1.0, {"channel": 1})),
        (Ablate("0", ["0/c1"]), Add("0", 1.0, ["0/c2", "0/c1"])),
        (Clamp("0", 0.0), Ablate("?", ["0/c1"])),
    ],
)
def test_certain_collisions_are_found_before_the_run(one, two):
    with pytest.raises(PerturbationConflict, match=r"both act on"):
        SYSTEM.perturb(one).perturb(two)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (Ablate("0", {"channel": [0, 1]}), Clamp("0", 1.0, {"channel": slice(1, 3)})),
        (Ablate("0", ["0"]), Clamp("0", 1.0, ["0/c3"])),
        (Patch("0", BEFORE), Ablate("0", ["0/c3"])),
    ],
)
def test_other_collisions_are_found_when_it_runs(one, two):
    with pytest.raises(PerturbationConflict, match=r"both act on '0/c\d'"):
        SYSTEM.perturb(one, two).record(X)


def test_what_does_not_collide():
    SYSTEM.perturb(Ablate("0"), Ablate("2")).record(X)
    SYSTEM.perturb(Ablate("0", {"channel": 0}), Clamp("0", 1.0, {"channel": 1})).record(X)
    SYSTEM.perturb(Ablate("0"), Ablate("*", ["2/c1"])).record(X)
    SYSTEM.perturb(Ablate("0.input"), Ablate("0")).record(X)


def test_a_pattern_whose_parts_do_not_run(net, images):
    with pytest.raises(InvalidArgument, match="none of its sites runs"):
        TorchSystem(net, "fc").perturb(Ablate("un*")).record(images)
    with pytest.raises(InvalidArgument, match="does not run"):
        TorchSystem(net, "fc").perturb(Ablate("unused")).record(images)


def test_perturbations_say_what_they_are():
    assert (
        str(Ablate("0", [f"0/c{i}" for i in range(5)])) == "Ablate('0', units=['0/c0', ... 5 ids])"
    )
    assert str(Add("0", 1.0, {"channel": 1})) == "Add('0', units={'channel': 1})"
    assert (
        SYSTEM.perturb(Ablate("0"), Ablate("2")).name == "Sequential with Ablate(0) and Ablate(2)"
    )

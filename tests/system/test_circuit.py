"""Circuits as systems: what stimuli become, what is recorded, and what perturbations mean."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bregma import compare
from bregma.dynamics import (
    AllToAll,
    Drive,
    FixedProbability,
    FromMatrix,
    Network,
    Neuron,
    Poisson,
    Population,
    Projection,
    Synapse,
    silence,
)
from bregma.errors import (
    CannotPerturb,
    InvalidArgument,
    PerturbationConflict,
    UnknownName,
)
from bregma.recording import Recording, Stimuli
from bregma.system import (
    Ablate,
    Add,
    CircuitSystem,
    Clamp,
    Noise,
    Patch,
    TorchSystem,
    rewired,
    shuffled,
)

DT = 1e-3
LEAKY = Neuron("dv/dt = (I - v)/tau\ntwice = 2*v", params={"tau": "10 ms"})
CELL = Neuron(
    "dv/dt = (I - v)/tau : 1 (unless refractory)", spike="v > 1", reset="v = 0",
    refractory="1 ms", params={"tau": "10 ms"}, init={"v": "rand"},
)  # fmt: skip
WEIGHTS = np.random.default_rng(3).uniform(0, 0.5, (6, 5))
STIMULI = Stimuli(np.random.default_rng(1).uniform(0, 1, (3, 6)), kind="array")


def network():
    """Random sources drive cells that excite each other."""
    return Network(
        {"P": Population(Poisson(0), 6), "E": Population(CELL, 5)},
        [
            Projection("P", "E", Synapse(on_pre="v += w", params={"w": "weight"}),
                       FromMatrix(WEIGHTS)),
            Projection(
                "E", "E", Synapse(on_pre="v += w", params={"w": 0.2}), FixedProbability(0.5),
                delay="2 ms",
            ),
        ],
        [Drive("E", "I", 0.8)],
    )  # fmt: skip


def circuit(**options):
    settings = {
        "seed": 3,
        "dt": DT,
        "engine": "reference",
        "window": (0.01, 0.05),
        "dtype": "float64",
    }
    return CircuitSystem(network(), {"P": 120.0}, 0.05, **{**settings, **options})


def leaky(**options):
    settings = {"seed": 0, "dt": DT, "engine": "reference", "sites": "L.v", "dtype": "float64"}
    n = Network({"L": Population(LEAKY, 3)})
    return CircuitSystem(n, {"L.I": 2.0}, 0.03, **{**settings, **options})


def test_an_input_follows_the_stimulus():
    shown = np.array([[1.0, 0.0, -1.0], [0.5, 0.25, 3.0]])
    recording = leaky().record(shown, bin=DT)
    t = np.arange(1, 31) * DT  # a bin of one step has the value at its end
    expected = 2 * shown[:, None] * (1 - np.exp(-t / 0.01))[None, :, None]
    np.testing.assert_allclose(recording.values, expected, rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(recording.times, t - DT / 2)
    mean = leaky(window=(0.01, 0.03)).record(shown)
    np.testing.assert_allclose(mean.values, expected[:, 10:].mean(1), rtol=1e-9, atol=1e-15)
    twice = leaky(sites=["L.t*"]).record(shown, bin=DT)
    np.testing.assert_allclose(twice.values, 2 * expected, rtol=1e-9, atol=1e-15)


def test_frames_of_a_film_follow_each_other():
    film = np.zeros((1, 2, 2, 3, 1))  # stimulus, frame, row, column and one more axis
    film[0, 0, 0, 1], film[0, 1, 1, 2] = 1, 1
    retina = Network({"R": Population(Poisson(0), 6)})
    system = CircuitSystem(retina, {"R": 1000.0}, 0.02, seed=0, dt=DT, engine="reference")
    seen = system.record(Stimuli(film, kind="array"), bin=0.01)
    assert (seen.values[0] == [[0, 1000, 0, 0, 0, 0], [0, 0, 0, 0, 0, 1000]]).all()


def test_an_image_is_its_grey_values():
    image = np.zeros((1, 2, 2, 3), np.uint8)
    image[0, 0, 1], image[0, 1, 0, 0] = 255, 255
    shown = []
    retina = Network({"R": Population(Poisson(0), 4)})
    system = CircuitSystem(
        retina, {"R": lambda x: shown.append(x) or 1000 * (x > 0.5)}, 0.01, seed=0, dt=DT,
        engine="reference",
    )  # fmt: skip
    seen = system.record(Stimuli(image, kind="image"))
    np.testing.assert_allclose(shown[0], [0, 1, 1 / 3, 0])
    assert seen.values.tolist() == [[0, 1000, 0, 0]]


def test_repeats_have_noise_of_their_own_and_bins_add_up():
    system = circuit()
    recording = system.record(STIMULI, repeats=3)
    assert recording.coordinate("repeat").tolist() == [0, 1, 2] * 3
    assert recording.stimuli.tolist() == ["0"] * 3 + ["1"] * 3 + ["2"] * 3
    each = recording.values.reshape(3, 3, -1)
    assert (each[:, 0] != each[:, 1]).any(axis=1).all()
    assert (each[:, 0] == system.record(STIMULI).values).all()
    assert (system.record(STIMULI, seed=1).values != each[:, 0]).any()
    over_time = system.record(STIMULI, repeats=3, bin=0.01)
    np.testing.assert_allclose(over_time.values.mean(1), recording.values, rtol=1e-12)
    assert over_time.measured_in == "spikes/s"


def test_rates_of_sources_are_those_of_the_stimulus():
    retina = Network({"R": Population(Poisson(0), 2)})
    system = CircuitSystem(retina, {"R": 100.0}, 1.0, seed=0, dt=DT, engine="cpu")
    seen = system.record(np.array([[1.0, 0.3]]), repeats=60).values.mean(0)
    # the mean of 60 binomial counts lies within 4 standard errors
    np.testing.assert_allclose(seen, [100, 30], atol=4 * np.sqrt(100 / 60))


def test_units_say_what_they_are():
    system = circuit(sites=["E", "E.v"])
    assert system.units.index.tolist() == [f"E/c{i}" for i in range(5)] + [
        f"E.v/c{i}" for i in range(5)
    ]
    assert system.units["kind"].tolist() == ["spikes"] * 5 + ["variable"] * 5
    assert set(system.units["population"]) == {"E"}
    assert system.sites() == ["P", "E", "E.v", "E.I"]


# Perturbations


def test_ablation_of_spikes_is_silence():
    ablated = circuit().perturb(Ablate("E", ["E/c1", "E/c3"])).record(STIMULI, bin=DT)
    system = circuit()
    silent = system.with_network(silence(network(), "E", [1, 3]), "silent").record(STIMULI, bin=DT)
    assert (ablated.values == silent.values).all()
    assert (ablated.select(unit=["E/c1", "E/c3"]).values == 0).all()
    assert (ablated.values != system.record(STIMULI, bin=DT).values).any()


def test_replaying_the_input_replays_the_answer():
    """Noise comes from the sources alone: with their spikes of another run it is the other run."""
    system = circuit()
    other = system.record(STIMULI, bin=DT, seed=8)
    assert (system.record(STIMULI, bin=DT).values != other.values).any()
    whole = circuit(window=(0.0, 0.05)).record(STIMULI, bin=DT, seed=8)
    replayed = system.perturb(Patch("P", whole)).record(STIMULI, bin=DT)
    assert (replayed.values == other.values).all()


@pytest.mark.parametrize("bin", [None, 0.02, 0.005, DT])
@pytest.mark.parametrize("sites", ["P", "E", "*"])
def test_own_spikes_replayed_in_bins_of_any_width_change_nothing(bin, sites):
    system = circuit()
    recording = system.record(STIMULI, bin=bin)
    fine = system.record(STIMULI, bin=DT)
    patches = [Patch(site, recording) for site in (["P", "E"] if sites == "*" else [sites])]
    assert (system.perturb(*patches).record(STIMULI, bin=DT).values == fine.values).all()


def test_a_recording_of_rates_keeps_own_spikes_and_draws_what_lacks():
    system = circuit()
    own = system.record(STIMULI, bin=DT)
    counts = np.rint(own.values.sum(1) * DT)
    changed = counts.copy()
    changed[0, 0] += 4
    changed[1, 2] = max(changed[1, 2] - 1, 0)
    wanted = system.record(STIMULI).with_values(changed / 0.04, measured_in="spikes/s")
    found = system.perturb(Patch("P", wanted)).record(STIMULI, bin=DT).values
    np.testing.assert_array_equal(np.rint(found.sum(1) * DT)[:, :6], changed[:, :6])
    before, after = own.values[0, :, 0] > 0, found[0, :, 0] > 0
    assert (after | ~before).all()  # all own spikes are there still
    before, after = own.values[1, :, 2] > 0, found[1, :, 2] > 0
    assert (before | ~after).all()  # and none came


def test_a_clamped_rate_is_the_recorded_rate():
    system = circuit()
    clamped = system.perturb(Clamp("P", [100, 50, 0, 25, 200, -5])).record(STIMULI)
    expected = np.tile([100, 50, 0, 25, 200, 0], (3, 1))
    np.testing.assert_allclose(clamped.select(layer="P").values, expected)


def test_spikes_are_added_to_a_silent_unit():
    dark = Stimuli(np.zeros((2, 6)), kind="array")
    added = circuit().perturb(Add("P", 50.0, ["P/c2"]), Add("P", 25.0), Add("P", -500.0, ["P/c5"]))
    found = added.record(dark).select(layer="P").values
    np.testing.assert_allclose(found, [[25, 25, 75, 25, 25, 0]] * 2)


def test_a_current_is_added_to_an_input():
    shown = np.array([[1.0, 0.0, -1.0]])
    plain, system = (
        leaky().record(shown),
        leaky().perturb(Add("L.I", [1.0, 2.0], ["L.I/c0", "L.I/c2"])),
    )
    found = system.record(shown)
    t = np.arange(1, 31) * DT
    rise = (1 - np.exp(-t / 0.01)).mean()
    np.testing.assert_allclose(found.values - plain.values, [[rise, 0, 2 * rise]], atol=1e-12)
    noisy = leaky().perturb(Noise("L.I", 2.0, seed=1)).record(np.zeros((1, 3))).values / rise
    assert np.abs(noisy).min() > 0.01  # the same current in all of the trial, other for each unit
    assert len(np.unique(noisy)) == 3


def test_variables_are_held_and_replayed():
    system = circuit(sites=["E.v", "E"], window=(0.0, 0.05))
    own = system.record(STIMULI, bin=DT)
    patched = system.perturb(Patch("E.v", own, ["E.v/c1", "E.v/c4"])).record(STIMULI, bin=DT)
    assert (patched.values == own.values).all()
    held = system.perturb(Clamp("E.v", 0.25, ["E.v/c2"])).record(STIMULI)
    assert (held.select(unit=["E.v/c2"]).values == 0.25).all()
    assert (held.select(unit=["E/c2"]).values == 0).all()
    gone = system.perturb(Ablate("E.v")).record(STIMULI)
    assert (gone.values == 0).all()
    with pytest.raises(CannotPerturb, match="bin=dt"):
        system.perturb(Patch("E.v", system.record(STIMULI)))
    with pytest.raises(InvalidArgument, match="bin=dt"):
        system.perturb(Patch("E.v", system.record(STIMULI, bin=0.01))).record(STIMULI)


def test_what_cannot_be_done_is_refused():
    system = circuit(sites=["E", "E.v"])
    for perturbation, words in (
        (Add("E.v", 1.0), "add to an input of 'E'"),
        (Ablate("E.I"), "can be added to"),
    ):
        with pytest.raises(CannotPerturb, match=words):
            system.perturb(perturbation)
    with pytest.raises(CannotPerturb, match="follows from"):
        leaky().perturb(Ablate("L.twice"))
    with pytest.raises(PerturbationConflict):
        system.perturb(Ablate("E"), Clamp("E", 5.0, ["E/c0"]))
    with pytest.raises(UnknownName, match="nearest"):
        system.perturb(Ablate("E.w"))
    with pytest.raises(UnknownName, match="nearest"):
        circuit(sites="X")
    with pytest.raises(InvalidArgument, match="is an input"):
        circuit(sites="E.I")
    with pytest.raises(InvalidArgument, match="does not lie in"):
        circuit(window=(0.01, 0.06))
    with pytest.raises(InvalidArgument, match="does not divide"):
        system.record(STIMULI, bin=0.03)
    with pytest.raises(InvalidArgument, match="one of its inputs, such as E.I"):
        CircuitSystem(network(), {"E": 1.0}, 0.05, seed=0)
    with pytest.raises(UnknownName, match="nearest"):
        CircuitSystem(network(), {"PP": 1.0}, 0.05, seed=0)
    timed = Recording.from_array(
        np.zeros((3, 2, 6)), time=[0.0123, 0.0323], presentation=["0", "1", "2"],
        unit=[f"P/c{i}" for i in range(6)],
    )  # fmt: skip
    with pytest.raises(InvalidArgument, match="not whole steps"):
        system.perturb(Patch("P", timed)).record(STIMULI)


# Nulls, and what circuits are compared with


def test_twins_of_a_circuit():
    system = circuit()
    [twin], [other] = shuffled(system, seeds=1), rewired(system, seeds=1)
    assert twin.name == "circuit (shuffled weights, seed 1)"
    assert other.name == "circuit (rewired, seed 1)"
    before = system.record(STIMULI)
    for changed in (twin, other):
        assert (changed.record(STIMULI).values != before.values).any()
        assert (changed.record(STIMULI).select(layer="P").values
                == before.select(layer="P").values).all()  # fmt: skip
    assert system.record(STIMULI).identical(before)
    assert isinstance(rewired(network(), seeds=0)[0], Network)
    with pytest.raises(CannotPerturb, match="nothing to shuffle"):
        shuffled(
            Network({"E": Population(CELL, 3)},
                    [Projection("E", "E", Synapse(on_pre="v += 1"), AllToAll())]), seeds=1,
        )  # fmt: skip
    with pytest.raises(CannotPerturb, match="no connections"):
        rewired(leaky(), seeds=1)
    with pytest.raises(CannotPerturb, match="no synapses"):
        rewired(TorchSystem(torch.nn.Linear(2, 2)), seeds=1)


def test_a_circuit_is_compared_with_itself():
    stimuli = Stimuli(np.random.default_rng(0).uniform(0, 1, (8, 6)), kind="array")
    recording = circuit(sites="E").record(stimuli, repeats=2).average_repeats()
    [result] = compare(recording, recording, seed=0, n_bootstrap=50, n_permutations=50)
    assert result.score == pytest.approx(1)

"""The contract of a System: laws that hold for every kind of it.

A new kind of system adds one line to `KINDS`; perturbations of kinds that can be perturbed are
taken from `PERTURBATIONS`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from bregma.dynamics import (
    AllToAll,
    Drive,
    FixedProbability,
    Network,
    Neuron,
    Poisson,
    Population,
    Projection,
    Synapse,
)
from bregma.errors import CannotPerturb, PerturbationConflict, UnknownName
from bregma.recording import Recording, Stimuli
from bregma.system import (
    Ablate,
    Add,
    CircuitSystem,
    Clamp,
    Noise,
    Patch,
    RecordedSystem,
    System,
    TorchSystem,
    load,
    shuffled,
    untrained,
)

IMAGES = Stimuli(
    np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3)).astype(np.uint8),
    stimulus=["cat", "dog", "car", "cup", "sky"],
)
ARRAYS = Stimuli(np.random.default_rng(1).standard_normal((5, 6)).astype(np.float32), kind="array")


class Attention(nn.Module):
    """Tokens through one block of self-attention with two heads."""

    def __init__(self) -> None:
        super().__init__()
        self.num_heads = 2
        self.embed = nn.Linear(2, 8)
        self.qkv = nn.Linear(8, 24)
        self.proj = nn.Linear(8, 8)
        self.norm = nn.LayerNorm(8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.embed(x.unflatten(1, (3, 2)))
        q, k, v = self.qkv(x).unflatten(2, (3, 2, 4)).permute(2, 0, 3, 1, 4)
        heads = torch.softmax(q @ k.mT / 2, -1) @ v
        return self.norm(x + self.proj(heads.transpose(1, 2).flatten(2)))


class Recurrent(nn.Module):
    """A cell that is called three times and gives tuples."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(2, 4)
        self.out = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        state = None
        for part in x.unflatten(1, (3, 2)).unbind(1):
            state = self.cell(part, state)
        return self.out(state[0])


def seeded(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make()


def conv() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=4), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Flatten(),
        nn.Linear(64, 3),
    )  # fmt: skip


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Dropout(0.5), nn.Linear(5, 3))


def circuit() -> CircuitSystem:
    """Noise that a stimulus shapes drives cells that excite and inhibit each other."""
    cell = Neuron(
        "dv/dt = (I - v)/tau : 1 (unless refractory)", spike="v > 1", reset="v = 0",
        refractory="1 ms", params={"tau": "10 ms"}, init={"v": "rand"},
    )  # fmt: skip
    kick = Synapse(on_pre="v += w", params={"w": "0.4*rand"})
    brake = Synapse(on_pre="v += w", params={"w": -0.3})
    network = Network(
        {"P": Population(Poisson(0), 6), "E": Population(cell, 5), "I": Population(cell, 3)},
        [
            Projection("P", "E", kick, AllToAll(), delay="1 ms"),
            Projection("E", "I", kick, FixedProbability(0.6), delay="1*ms + 1*ms*rand"),
            Projection("I", "E", brake, AllToAll()),
        ],
        [Drive("E", "I", 0.9), Drive("I", "I", 0.95)],
    )
    return CircuitSystem(
        network, {"P": lambda x: 60 * np.abs(x)}, 0.04, seed=3, window=(0.01, 0.04), dt=1e-3,
        engine="reference",
    )  # fmt: skip


KINDS: dict[str, Callable[[], tuple[System, Stimuli]]] = {
    "convolutional": lambda: (TorchSystem(seeded(conv), example=IMAGES), IMAGES),
    "arrays": lambda: (TorchSystem(seeded(mlp), example=ARRAYS), ARRAYS),
    "half precision": lambda: (TorchSystem(seeded(mlp).bfloat16(), example=ARRAYS), ARRAYS),
    "attention": lambda: (
        TorchSystem(seeded(Attention), ["proj.input", "*"], example=ARRAYS),
        ARRAYS,
    ),
    "recurrent": lambda: (
        TorchSystem(seeded(Recurrent), ["cell[0]", "cell[1]", "out"], example=ARRAYS),
        ARRAYS,
    ),
    "untrained": lambda: (
        untrained(TorchSystem(seeded(conv), example=IMAGES), seeds=1)[0],
        IMAGES,
    ),
    "shuffled": lambda: (shuffled(TorchSystem(seeded(mlp), example=ARRAYS), seeds=1)[0], ARRAYS),
    "perturbed": lambda: (
        TorchSystem(seeded(mlp), ["1", "3"], example=ARRAYS).perturb(Noise("0", 0.1, seed=1)),
        ARRAYS,
    ),
    "pixels": lambda: (load("pixels"), IMAGES),
    "v1": lambda: (load("v1@normalised"), IMAGES),
    "cnn": lambda: (load("cnn@relu3,readout", untrained=True), IMAGES),
    "circuit": lambda: (circuit(), ARRAYS),
    "recorded": lambda: (
        RecordedSystem(TorchSystem(seeded(mlp)).record(ARRAYS)),
        ARRAYS,
    ),
}
TO_PERTURB = [kind for kind in KINDS if kind != "recorded"]


@functools.cache
def of_kind(kind: str) -> tuple[System, Stimuli]:
    return KINDS[kind]()


every_kind = pytest.mark.parametrize("kind", KINDS)
every_kind_to_perturb = pytest.mark.parametrize("kind", TO_PERTURB)
checked = settings(
    max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
finite = st.floats(-3, 3, width=32)


def sites_of(system: System) -> list[str]:
    return list(dict.fromkeys(system.units["layer"]))


def some_units(draw: st.DrawFn, system: System) -> tuple[str, list[str]]:
    """A site of the system and some of its units."""
    site = draw(st.sampled_from(sites_of(system)))
    ids = system.units.index[system.units["layer"] == site].tolist()
    return site, draw(st.lists(st.sampled_from(ids), min_size=1, max_size=4, unique=True))


@every_kind
def test_it_is_a_system(kind):
    system, stimuli = of_kind(kind)
    assert isinstance(system, System)
    assert system.name
    assert isinstance(system.name, str)
    recording = system.record(stimuli)
    assert isinstance(recording, Recording)
    assert recording.stimuli.tolist() == stimuli.ids.tolist()
    assert system.units.equals(recording.units)
    assert {"layer", "kind", "channel"} <= set(system.units)
    assert system.units.index.is_unique


@every_kind
def test_it_answers_the_same_again_whatever_the_global_generators_do(kind):
    system, stimuli = of_kind(kind)
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    first = system.record(stimuli)
    torch.manual_seed(2)
    np.random.seed(2)  # noqa: NPY002
    state = torch.get_rng_state()
    assert system.record(stimuli).identical(first)
    assert torch.equal(torch.get_rng_state(), state)


@every_kind
def test_each_stimulus_is_answered_for_itself(kind):
    system, stimuli = of_kind(kind)
    whole = system.record(stimuli)
    part = system.record(stimuli[[3, 1]])
    assert part.stimuli.tolist() == stimuli.ids[[3, 1]].tolist()
    tolerance = 2e-2 if kind == "half precision" else 1e-5  # kernels depend on the batch size
    assert np.allclose(part.values, whole.values[[3, 1]], rtol=tolerance, atol=tolerance)


@every_kind
def test_no_perturbation_is_the_identity(kind):
    system, stimuli = of_kind(kind)
    assert system.perturb().record(stimuli).identical(system.record(stimuli))


def test_what_was_recorded_refuses_perturbations():
    system, _ = of_kind("recorded")
    with pytest.raises(CannotPerturb, match=r"Ablate\('0'\) was never measured.*TorchSystem"):
        system.perturb(Ablate("0"))


@every_kind_to_perturb
def test_patching_with_its_own_activity_is_the_identity(kind):
    system, stimuli = of_kind(kind)
    own = system.record(stimuli)
    for site in sites_of(system):
        patched = system.perturb(Patch(site, own)).record(stimuli)
        assert (patched.values == own.values).all(), site


@every_kind_to_perturb
@checked
@given(data=st.data())
def test_patching_some_units_with_their_own_activity_is_the_identity(kind, data):
    system, stimuli = of_kind(kind)
    site, units = some_units(data.draw, system)
    own = system.record(stimuli)
    patched = system.perturb(Patch(site, own, units)).record(stimuli)
    assert (patched.values == own.values).all()


@every_kind_to_perturb
@checked
@given(data=st.data(), baseline=finite)
def test_ablating_equals_clamping_to_the_baseline(kind, data, baseline):
    system, stimuli = of_kind(kind)
    site, units = some_units(data.draw, system)
    zero = system.perturb(Ablate(site, units)).record(stimuli)
    assert (zero.values == system.perturb(Clamp(site, 0.0, units)).record(stimuli).values).all()
    assert (zero.select(unit=units).values == 0).all()
    held = system.perturb(Ablate(site, units, baseline)).record(stimuli)
    clamp = Clamp(site, [baseline] * len(units), units)
    assert (held.values == system.perturb(clamp).record(stimuli).values).all()


@every_kind_to_perturb
def test_ablating_to_the_mean_equals_clamping_to_the_recorded_mean(kind):
    system, stimuli = of_kind(kind)
    site = sites_of(system)[0]
    mean = system.record(stimuli).select(layer=site).values.mean(0, dtype=np.float64)
    if kind == "perturbed":  # the mean is that of the system without perturbations
        system = TorchSystem(system.module, system.layers)
        mean = system.record(stimuli).select(layer=site).values.mean(0, dtype=np.float64)
    ablated = system.perturb(Ablate(site, baseline="mean")).record(stimuli)
    clamped = system.perturb(Clamp(site, mean)).record(stimuli)
    assert np.allclose(ablated.values, clamped.values, rtol=1e-5, atol=1e-6)
    assert np.ptp(ablated.select(layer=site).values, axis=0).max() == 0


@every_kind_to_perturb
@checked
@given(data=st.data(), seed=st.integers(0, 9))
def test_the_order_of_perturbations_has_no_meaning(kind, data, seed):
    system, stimuli = of_kind(kind)
    site, units = some_units(data.draw, system)
    all_of_it = [
        Add(site, 0.3, units),
        Add(site, 1e-3, scale=7),
        Noise(site, 0.7, seed=seed),
        Noise(site, 1e3, units, seed=seed + 1),
    ]
    order = data.draw(st.permutations(all_of_it))
    together = system.perturb(*all_of_it).record(stimuli)
    one_by_one = system
    for perturbation in order:
        one_by_one = one_by_one.perturb(perturbation)
    assert (one_by_one.record(stimuli).values == together.values).all()


@every_kind_to_perturb
@checked
@given(data=st.data())
def test_perturbations_of_the_same_units_collide(kind, data):
    system, stimuli = of_kind(kind)
    site, units = some_units(data.draw, system)
    kinds = [
        Ablate(site, units),
        Clamp(site, 1.0, units),
        Patch(site, system.record(stimuli), units),
    ]
    two = data.draw(st.permutations(kinds))[:2]
    with pytest.raises(
        PerturbationConflict, match=f"{type(two[0]).__name__}.*{type(two[1]).__name__}"
    ):
        system.perturb(*two).record(stimuli)
    with pytest.raises(PerturbationConflict):
        system.perturb(two[0], Add(site, 1.0)).record(stimuli)


@every_kind_to_perturb
def test_perturbing_leaves_the_system_as_it_was(kind):
    system, stimuli = of_kind(kind)
    before, name = system.record(stimuli), system.name
    other = system.perturb(Ablate(sites_of(system)[0]))
    other.record(stimuli)
    assert other.name != name
    assert system.name == name
    assert system.record(stimuli).identical(before)


@every_kind_to_perturb
def test_unknown_sites_and_units_name_the_nearest(kind):
    system, stimuli = of_kind(kind)
    with pytest.raises(UnknownName, match="nearest"):
        system.perturb(Ablate("no such site"))
    site = sites_of(system)[0]
    with pytest.raises(UnknownName, match="nearest"):
        system.perturb(Ablate(site, ["no such unit"])).record(stimuli)
    with pytest.raises(UnknownName, match="go from"):
        system.perturb(Ablate(site, [f"{site}/c99999"])).record(stimuli)

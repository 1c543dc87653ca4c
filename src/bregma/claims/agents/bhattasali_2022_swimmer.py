"""A worm's motor circuit as a policy: it swims before it learns, and learns from little."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector

from bregma.agents import UndulationCircuit, evolution_strategy, policy_batch
from bregma.claims import Curve, Expect, Measures, Paper, claim
from bregma.datasets import Swimmer
from bregma.run import derive, spawn, spawn_torch

PERIOD = 60  # steps of the oscillator


class ClockedMLP(nn.Module):
    """A generic policy that gets the same clock as the circuit."""

    def __init__(self, joints: int = 5, width: int = 64) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Linear(joints + 2, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh()),
            *(nn.Linear(width, joints), nn.Tanh()),
        )

    def forward(self, angles: Tensor, step: int) -> Tensor:
        phase = 2 * math.pi * step / PERIOD
        clock = angles.new_tensor([math.sin(phase), math.cos(phase)])
        return self.layers(torch.cat([angles, clock], -1))


@claim(
    paper=Paper(
        "Neural circuit architectural priors for embodied control",
        "Nikhil X. Bhattasali, Anthony M. Zador, Tatiana A. Engel",
        2022,
        arxiv="2201.05242",
    ),
    sentence="The motor circuit of C. elegans as a policy swims well untrained, learns from fewer "
    "trials than a generic network, and moves to another body as it is.",
    systems="a circuit of six weights on a swimmer of six links in a viscous fluid",
    controls={
        "speed_mlp": "the best of ten random networks with the same clock",
        "speed_numb": "the circuit without proprioception",
        "speed_isotropic": "the circuit in a fluid with equal drag along and across",
        "trained_unsigned": "the circuit with random and free signs, trained as long",
        "evaluations_mlp": "a network of two layers of 64, trained by the same evolution strategy",
    },
    expects=[
        Expect(
            measure="speed_circuit",
            above="speed_mlp",
            times=4.0,
            says="untrained, the circuit swims four times as fast as the best of ten random "
            "networks",
            paper="good performance before any training",
        ),
        Expect(
            measure="speed_numb",
            below="speed_circuit",
            times=0.25,
            says="without proprioception it loses 75 % of its speed",
        ),
        Expect(
            measure="speed_isotropic",
            below="speed_circuit",
            times=0.1,
            says="without anisotropic drag there is no thrust: it swims, and is not carried by "
            "errors of the integration",
        ),
        Expect(
            measure="speed_long",
            above="speed_circuit",
            times=0.55,
            says="on a body of twelve links it keeps 55 % of its speed per length, untrained",
            paper="transfers to other numbers of links",
        ),
        Expect(
            measure="evaluations_circuit",
            below="evaluations_mlp",
            times=0.25,
            says="it is at 90 % of its final speed after a quarter of the evaluations that the "
            "network needs for that speed, or fewer",
            paper="far fewer samples, 4 parameters against 10^4 or more",
        ),
        Expect(
            measure="speed_unsigned",
            below="speed_circuit",
            times=0.5,
            says="with random signs it starts at less than half of the speed",
        ),
        Expect(
            measure="trained_unsigned",
            below="trained_circuit",
            times=0.8,
            says="and with free signs it learns to less than 80 %",
            paper="sign constraints are essential for learning",
        ),
    ],
    smoke={"steps": 60, "generations": 1, "population": 4},
    check={"steps": 300, "generations": 15, "population": 64},
    full={"steps": 1000, "generations": 200, "population": 256},
    equations=[
        r"B_i = f(w_{prop} f(q_{i-1}) + w_{osc} o(t) [i = 0])",
        r"\tau_i = f(w_{ipsi} B_i + w_{contra} B'_i) - f(w_{ipsi} B'_i + w_{contra} B_i)",
        r"R(q) \dot q = Q, \quad R = \sum_i J_i^\top C_i J_i",
    ],
    use="""
import torch
from bregma.agents import UndulationCircuit
from bregma.datasets import Swimmer

circuit = UndulationCircuit(period=60)       # a torch module: train it with anything
swimmer = Swimmer(8)                         # or your own body: angles in, torques out
angles = swimmer.reset(4, seed=0)
for step in range(120):
    with torch.no_grad():
        torques = circuit(torch.as_tensor(angles), step, speed=1.0, turn=0.1)
    angles = swimmer.step(torques.numpy())
path = swimmer.centre                        # (swimmer, 2), in links
""",
    area=("ventral nerve cord",),
    species=("C. elegans",),
)
def swimmer(*, seed: int, steps: int, generations: int, population: int) -> Measures:
    """Time swimmers under every policy; then train three of them alike."""
    long = 4 * steps  # speeds that are compared are those of a longer swim

    def speeds(
        policy: nn.Module, rows: np.ndarray, *, n_links: int = 6, time: int = steps, **body: object
    ) -> np.ndarray:
        """Forward speed of every set of parameters, in body lengths per second."""
        fluid = Swimmer(n_links, **body)  # type: ignore[arg-type]
        act, noise = policy_batch(policy, rows), spawn(seed, "action noise")
        angles = fluid.reset(len(rows), seed=derive(seed, "posture"))
        start = fluid.centre
        for step in range(time):
            action = act(angles, step)
            angles = fluid.step(action + 0.1 * noise.standard_normal(action.shape))
        return (start - fluid.centre)[:, 0] / (time * fluid.dt * n_links)

    circuit, numb, mlp = UndulationCircuit(PERIOD), UndulationCircuit(PERIOD), ClockedMLP()
    nn.init.zeros_(numb.proprioception)
    innate = np.tile(_vector(circuit), (4, 1))  # four postures
    free = UndulationCircuit(PERIOD, signed=False)
    flipped = _vector(circuit) * spawn(seed, "signs").choice([-1.0, 1.0], (40, 6))
    generator = spawn_torch(seed, "networks")
    random = np.stack([_random(mlp, generator) for _ in range(10)])
    measures: dict[str, float | Curve] = {
        "speed_circuit": float(speeds(circuit, innate, time=long).mean()),
        "speed_mlp": float(speeds(mlp, random, time=long).max()),
        "speed_numb": float(speeds(numb, np.tile(_vector(numb), (4, 1)), time=long).mean()),
        "speed_isotropic": float(speeds(circuit, innate, time=long, drag=(1.0, 1.0)).mean()),
        "speed_long": float(speeds(circuit, innate, n_links=12, time=long).mean()),
        "speed_unsigned": float(speeds(free, flipped, time=long).mean()),
    }
    courses = {}
    for name, policy, first in (
        ("circuit", circuit, innate[0]),
        ("mlp", mlp, random[0]),
        ("unsigned", free, flipped[0]),
    ):
        found = evolution_strategy(
            lambda rows, policy=policy: speeds(policy, rows),  # type: ignore[misc]
            first,
            generations=generations,
            population=population,
            seed=derive(seed, "evolution"),
        )
        courses[name] = found
        measures[f"trained_{name}"] = float(found.rewards[-1])
        measures[f"course {name}"] = Curve(
            found.evaluations, found.rewards, "evaluations", "body lengths per second"
        )
    goal = 0.9 * courses["circuit"].rewards[-1]
    for name in ("circuit", "mlp"):
        there = np.append(np.flatnonzero(courses[name].rewards >= goal), generations + 1)[0]
        measures[f"evaluations_{name}"] = float(there * population)
    return measures


def _vector(policy: nn.Module) -> np.ndarray:
    return parameters_to_vector(policy.parameters()).detach().double().numpy()


def _random(mlp: ClockedMLP, generator: torch.Generator) -> np.ndarray:
    """Weights at the usual scale, one over the root of the inputs."""
    with torch.no_grad():
        for p in mlp.parameters():
            scale = p.shape[1] ** -0.5 if p.ndim == 2 else 0.0
            p.copy_(scale * torch.randn(p.shape, generator=generator))
    return _vector(mlp)

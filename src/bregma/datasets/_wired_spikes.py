"""A spiking circuit whose wiring is known: which side a stimulus is on goes through relays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Int

from bregma.dynamics import (
    AllToAll,
    FromMatrix,
    Network,
    Neuron,
    Poisson,
    Population,
    Projection,
    Rule,
    Synapse,
)
from bregma.errors import InvalidArgument
from bregma.run import spawn
from bregma.system import CircuitSystem

Edge = tuple[str, str]
UNIT = Neuron(
    """dv/dt = (-v + g)/tau
    dg/dt = -g/tau_s""",
    spike="v > 1", reset="v = 0", refractory="2 ms", params={"tau": "20 ms", "tau_s": "5 ms"},
)  # fmt: skip


@dataclass(frozen=True)
class WiredSpikes:
    """A spiking circuit, stimuli for it, and the edges that do the task.

    Parameters
    ----------
    system : CircuitSystem
        Shown a stimulus on the left, unit 0 of ``"O"`` fires most; on the right, unit 1.
    clean, corrupt : array (pair, unit)
        Stimuli on either side; corrupt ones are on the other.
    right, wrong : array (pair,)
        The unit of ``"O"`` that answers the clean and the corrupt one.
    circuit : frozenset of (str, str)
        Sender and receiver of each edge that carries which side it was.
    roles : mapping of str to str
        What each population does.
    """

    system: CircuitSystem
    clean: Float[np.ndarray, "pair unit"]
    corrupt: Float[np.ndarray, "pair unit"]
    right: Int[np.ndarray, " pair"]
    wrong: Int[np.ndarray, " pair"]
    circuit: frozenset[Edge]
    roles: Mapping[str, str]


def wired_spikes(n: int = 8, *, n_relays: int = 1, n_units: int = 20, seed: int) -> WiredSpikes:
    """A stimulus on one side of a retina decides, through relays, which of two units answers.

    Beside the relays there are populations that matter for the answers' rates, or know the side,
    but do not tell the answers apart: *drive* hears the whole retina and excites both answers,
    *listener* knows the side and tells both answers alike, *brake* inhibits the first relay
    whatever it sees. Their weights are drawn.

    Parameters
    ----------
    n : int
        Pairs of stimuli, left and right in turn.
    n_relays : int
        Populations between the retina and the answers.
    n_units : int
        Units of a population; even.
    seed : int
        Draws weights, and the noise of the retina.

    Returns
    -------
    WiredSpikes
        A trial lasts 200 ms, and the rates of all but the first 50 ms are recorded.

    Raises
    ------
    InvalidArgument
        No pairs, no relay, or an odd number of units.

    Examples
    --------
    >>> wired = wired_spikes(2, seed=0)
    >>> sorted(wired.circuit)
    [('R0', 'O'), ('S', 'R0')]
    >>> wired.system.with_layers("O").record(wired.clean).values.argmax(1) == wired.right
    array([ True,  True])
    """
    if min(n, n_relays) < 1 or n_units < 2 or n_units % 2:
        raise InvalidArgument(
            f"a circuit needs pairs, relays and an even number of units, not n={n}, "
            f"n_relays={n_relays}, n_units={n_units}"
        )
    rng = spawn(seed, "wired_spikes")
    half = n_units // 2

    def kick(total: float) -> Synapse:
        """A weight that is drawn, within a fifth of what all units of a side give together."""
        return Synapse(on_pre="g += w", params={"w": float(total / half * rng.uniform(0.8, 1.2))})

    def sides(post: int) -> Rule:
        return FromMatrix(np.kron(np.eye(2), np.ones((half, post // 2))))

    relays = [f"R{i}" for i in range(n_relays)]
    path = ["S", *relays, "O"]
    roles = {"S": "retina", **dict.fromkeys(relays, "relay"), "O": "answers"}
    roles |= {"D": "drive", "L": "listener", "B": "brake"}
    size = {name: 2 if name == "O" else n_units for name in roles}
    projections = [
        Projection(pre, post, kick(8.0), sides(size[post]), delay="1 ms")
        for pre, post in pairwise(path)
    ]
    projections += [
        Projection("S", "D", kick(3.0), AllToAll()),
        Projection("D", "O", kick(1.0), AllToAll(), delay="1*ms + 1*ms*rand"),
        Projection("D", "D", kick(-0.5), AllToAll()),
        Projection("S", "L", kick(5.0), sides(n_units)),
        Projection("L", "O", kick(0.5), AllToAll()),
        Projection("D", "B", kick(3.0), AllToAll()),
        Projection("B", "R0", kick(-1.0), AllToAll()),
    ]
    populations = {
        name: Population(Poisson(0) if name == "S" else UNIT, n_units)
        for name, n_units in size.items()
    }
    system = CircuitSystem(
        Network(populations, projections), {"S": 60.0}, 0.2, seed=seed, window=(0.05, 0.2),
        dt=5e-4, name="wired spikes",
    )  # fmt: skip
    side = np.arange(n) % 2
    clean = np.repeat(np.arange(2) == side[:, None], half, axis=1).astype(float)
    return WiredSpikes(
        system, clean, clean[:, ::-1].copy(), side, 1 - side,
        frozenset(pairwise(path)), roles,
    )  # fmt: skip

"""Run by torchrun: networks in several processes, each of which writes down what it saw.

``torchrun spread.py FOLDER`` runs all `NETWORKS`; with ``fail`` behind the folder the last process
has an error. With ``die``, for processes that nobody watches over, it leaves in the middle.
"""

import os
import sys
import time
from pathlib import Path

import numpy as np
import torch

from bregma.dynamics import (
    Drive,
    FixedInDegree,
    FixedOutDegree,
    FixedProbability,
    FromMatrix,
    Hold,
    Network,
    Neuron,
    Poisson,
    PoissonDrive,
    Population,
    Projection,
    Spikes,
    Synapse,
    simulate_distributed,
)
from bregma.dynamics.running import _distributed, _ranks
from bregma.recording import SpikeTrains

LIF = Neuron(
    "dv/dt = (I - v)/tau : 1 (unless refractory)\ndu/dt = -u/tau",
    spike="v > 1", reset="v = 0; u += 0.1", refractory="2 ms", params={"tau": "20 ms"},
    init={"v": "rand"},
)  # fmt: skip
EXCITE = Synapse(on_pre="v += w", params={"w": "0.04 + 0.02*rand"})
INHIBIT = Synapse(on_pre="v -= w", params={"w": 0.2})
STDP = Synapse(
    "dx/dt = -x/tau_plus (pre)\ndy/dt = -y/tau_minus (post)\nw",
    on_pre="v += w; x += 1; w = clip(w - A*y, 0, 0.2)",
    on_post="y += 1; w = clip(w + A*x, 0, 0.2)",
    params={"tau_plus": "20 ms", "tau_minus": "30 ms", "A": 0.01},
    init={"w": "0.05 + 0.02*rand"},
)  # fmt: skip
RECORD = {
    "balanced": {"E": ["v"]},
    "plastic": {"E": ["v"], "plastic": ["w", "x", "y"]},
    "mixed": {"A": ["v", "drive"], "C": ["v"]},
}
DURATION = "100 ms"


def balanced():
    """Excitation and inhibition with one delay of 1.5 ms, which is the length of a window."""
    sizes, delay = {"E": 80, "I": 21}, "1.5 ms"
    return Network(
        {n: Population(LIF, size) for n, size in sizes.items()},
        [
            Projection("E", "E", EXCITE, FixedProbability(0.1), delay=delay),
            Projection("E", "I", EXCITE, FixedOutDegree(3), delay=delay),
            Projection("I", "E", INHIBIT, FixedInDegree(3), delay=delay),
        ],
        [Drive(n, "I", np.linspace(0.9, 1.3, size)) for n, size in sizes.items()],
    )


def plastic():
    """Plasticity with traces that processes share, and Poisson units without a delay."""
    return Network(
        {"E": Population(LIF, 50), "P": Population(Poisson("80 Hz"), 30)},
        [
            Projection("E", "E", STDP, FixedProbability(0.2), delay="0.3 ms", name="plastic"),
            Projection("P", "E", EXCITE, FixedProbability(0.3)),
        ],
        [Drive("E", "I", 1.02), PoissonDrive("E", "v", "300 Hz", 0.01)],
    )


def mixed():
    """Delays and numbers of each synapse, listed and drawn; noise, frames, holds, one lone unit."""
    rng = np.random.default_rng(4)
    cell = Neuron(
        "dv/dt = (I - v)/tau\ndrive = I - v", spike="v > 1", reset="v = 0",
        noise={"v": "0.8"}, params={"tau": rng.uniform(0.01, 0.03, 23)},
    )  # fmt: skip
    weights = np.where(rng.random((23, 17)) < 0.4, rng.uniform(0, 0.3, (23, 17)), 0)
    delays = rng.uniform(2e-4, 3e-3, int((weights != 0).sum()))
    trains = {f"s{i}": np.sort(rng.uniform(0, 0.09, 8)) for i in range(5)}
    kinetics = Synapse(
        "ds/dt = -s/(5*ms) (post)", on_pre="s += k", current={"I": "s*(1.5 - v_post)"},
        params={"k": "0.05*rand"},
    )  # fmt: skip
    weighted = Synapse(on_pre="v += w", params={"w": "weight"})
    return Network(
        {
            "A": Population(cell, 23),
            "B": Population(LIF, 17),
            "C": Population(LIF, 1),
            "S": Population(Spikes(SpikeTrains.from_dict(trains, support=[(0, 1)])), 5),
        },
        [
            Projection("A", "B", weighted, FromMatrix(weights), delay=delays),
            Projection("B", "A", kinetics, FixedProbability(0.4), delay="1*ms + 2*ms*rand"),
            Projection("A", "C", EXCITE, FixedProbability(0.5), delay="0.4 ms"),
            Projection("S", "B", EXCITE, FixedProbability(0.9), delay="2*ms*rand"),
        ],
        [
            Drive("A", "I", rng.uniform(0.5, 1.5, (20, 23)), frame="3 ms"),
            Drive("B", "I", 1.1),
            Drive("C", "I", 0.9),
        ],
        [
            Hold("A", "spikes", 1, units=[3, 20], start="10 ms", stop="10.4 ms"),
            Hold("B", "v", 0.5, units=[16], stop="30 ms"),
        ],
    )


NETWORKS = {"balanced": balanced, "plastic": plastic, "mixed": mixed}


def explosive():
    """A network whose last unit becomes infinite."""
    start = np.zeros(6)
    start[-1] = 5.0
    bad = Neuron("dv/dt = v*v/(1*ms)", spike="v > 1e30", reset="v = v", init={"v": start})
    kick = Synapse(on_pre="v += 0")
    return Network(
        {"A": Population(bad, 6)}, [Projection("A", "A", kick, FixedProbability(0.5), delay="1 ms")]
    )


def main(folder, how=""):
    rank, last = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]) - 1
    if how == "die":
        torch.distributed.init_process_group(
            "gloo", f"file://{folder}/meeting", rank=rank, world_size=last + 1
        )
        if rank == last:
            _distributed._Run.learn = lambda *_: os._exit(3)
    if how:
        network = explosive() if how == "fail" else balanced()
        begin = time.monotonic()
        try:
            simulate_distributed(network, DURATION, seed=3, timeout="20 s")
        except Exception as error:
            text = f"{type(error).__name__}: {error}\n{time.monotonic() - begin}"
            Path(folder, f"{how}_{rank}.txt").write_text(text)
        os._exit(0)
    _ranks.ROOM = 1  # so that messages have to grow
    for name, network in NETWORKS.items():
        found = simulate_distributed(
            network(), DURATION, seed=3, record=RECORD[name], every="1 ms", engine="auto"
        )
        if rank != 0:
            assert found is None
            continue
        arrays = {f"spikes {n} times": s.times for n, s in found.spikes.items()}
        arrays |= {f"spikes {n} units": s.unit_index for n, s in found.spikes.items()}
        arrays |= {f"trace {n}": t.values for n, t in found.traces.items()}
        arrays |= {f"state {n}": v for n, v in found.state.values.items()}
        np.savez(Path(folder, f"{name}.npz"), step=found.state.step, **arrays)


if __name__ == "__main__":
    main(*sys.argv[1:])

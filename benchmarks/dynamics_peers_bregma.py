"""bregma on the balanced networks: the fast engine for CPUs, from the text of the equations.

Run by ``dynamics.py`` beside the peers, or by itself with a request as JSON; the mode is the
precision. The time is that of the engine from a plan to spikes: it copies the state, loops over
time and collects spikes.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from scipy import sparse

import bregma
import dynamics_settings as s
from bregma.dynamics import FromMatrix, Network, Neuron, Population, Projection, Synapse
from bregma.dynamics.engines import _cpu
from bregma.dynamics.network._plan import plan
from bregma.dynamics.network._state import initial_state

CUBA = "dv/dt = (g_e + g_i - (v - E_L))/tau_m (unless refractory)"
COBA = "dv/dt = (g_e*(E_exc - v) + g_i*(E_inh - v) - (v - E_L))/tau_m (unless refractory)"
SYNAPSES = "dg_e/dt = -g_e/tau_e\ndg_i/dt = -g_i/tau_i"
STDP = "dx/dt = -x/tau_stdp (pre)\ndy/dt = -y/tau_stdp (post)\nw"
SECONDS = 1e-3  # of a millisecond


def build(network: s.Network) -> Network:
    """The network; voltages are plain numbers of millivolts."""
    constants = {
        "tau_m": s.TAU_M * SECONDS, "tau_e": s.TAU_E * SECONDS, "tau_i": s.TAU_I * SECONDS,
        "E_L": s.E_L, "threshold": s.THRESHOLD, "v_reset": s.RESET,
    }  # fmt: skip
    if network.kind == "coba":
        constants |= {"E_exc": s.E_EXC, "E_inh": s.E_INH}
    # We count the steps after that of the spike, Brian2 that one too: so both wait for 49.
    neuron = Neuron(
        (CUBA if network.kind == "cuba" else COBA) + "\n" + SYNAPSES,
        spike="v > threshold", reset="v = v_reset", refractory=(s.REFRACTORY - s.DT) * SECONDS,
        params=constants, init={"v": network.initial_voltage()},
    )  # fmt: skip
    pre, post = network.graph()
    w_e, w_i = s.WEIGHTS[network.kind]
    excitatory = Synapse(on_pre="g_e += w", params={"w": w_e})
    if network.plastic:
        excitatory = Synapse(
            STDP,
            on_pre="g_e += w; x += A_pre; w = clip(w + y, 0, w_max)",
            on_post="y += A_post; w = clip(w + x, 0, w_max)",
            params={
                "tau_stdp": s.TAU_STDP * SECONDS, "w_max": s.W_MAX, "A_pre": s.A_PRE,
                "A_post": s.A_POST,
            },
            init={"w": w_e},
        )  # fmt: skip
    inhibitory = Synapse(on_pre="g_i += w", params={"w": w_i})
    projections = []
    for name, synapse, mine in (
        ("E", excitatory, pre < network.n_exc), ("I", inhibitory, pre >= network.n_exc)
    ):  # fmt: skip
        ones = np.ones(mine.sum(), np.int8)
        graph = sparse.csr_array((ones, (pre[mine], post[mine])), shape=(network.n, network.n))
        projections.append(
            Projection("N", "N", synapse, FromMatrix(graph), network.delay * SECONDS, name)
        )
    return Network({"N": Population(neuron, network.n)}, projections)


def spikes(network: s.Network) -> tuple[np.ndarray, np.ndarray]:
    """Units and times (ms) of the spikes of a run in float32."""
    made = plan(build(network), dt=s.DT * SECONDS, seed=0, dtype="float32")
    n_steps = round(network.seconds / (s.DT * SECONDS))
    steps, units = _cpu.run(made, initial_state(made), n_steps).spikes["N"]
    return units, steps * s.DT


def main() -> None:
    request = s.Request.from_command_line(s.Network)
    task = request.task
    start = time.perf_counter()
    made = plan(build(task), dt=s.DT * SECONDS, seed=0, dtype=request.mode)
    state, n_steps = initial_state(made), round(task.seconds / (s.DT * SECONDS))
    outcome = _cpu.run(made, state, n_steps)  # compiles, or reads the cache
    build_s = time.perf_counter() - start
    times = s.Times()
    for _ in range(request.rounds):
        outcome = times.add(lambda: _cpu.run(made, state, n_steps))
    steps, units = outcome.spikes["N"]
    learned: dict[str, Any] = {}
    if task.plastic:
        learned = s.weight_statistics(outcome.state.values["E.syn_w"])
    s.report(
        "bregma", bregma.__version__, request, times, precision=request.mode, build_s=build_s,
        **s.spike_statistics(task, units, steps * s.DT), **learned,
    )  # fmt: skip


if __name__ == "__main__":
    main()

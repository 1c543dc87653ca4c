"""NEST on the balanced networks, in float64; its shortest delay, one step, stands for no delay.

COBA: ``iaf_cond_exp`` solves each neuron by an adaptive Runge-Kutta method, which is more exact and
slower than what the others do. Each round continues the run; spikes are those of the first second.
"""

from __future__ import annotations

import time
from typing import Any

import nest
import numpy as np

import dynamics_settings as s

CAPACITY = 200.0  # pF; the leak is CAPACITY / TAU_M = 10 nS
LEAK = CAPACITY / s.TAU_M


def build(network: s.Network, threads: int) -> Any:
    nest.verbosity = nest.VerbosityLevel.ERROR
    nest.ResetKernel()
    nest.set(resolution=s.DT, local_num_threads=threads)
    common = {
        "C_m": CAPACITY, "E_L": s.E_L, "V_th": s.THRESHOLD, "V_reset": s.RESET,
        "t_ref": s.REFRACTORY, "tau_syn_ex": s.TAU_E, "tau_syn_in": s.TAU_I,
    }  # fmt: skip
    if network.kind == "cuba":
        neurons = nest.Create("iaf_psc_exp", network.n, {**common, "tau_m": s.TAU_M})
    else:
        more = {"g_L": LEAK, "E_ex": s.E_EXC, "E_in": s.E_INH}
        neurons = nest.Create("iaf_cond_exp", network.n, {**common, **more})
    if network.plastic:
        neurons.tau_minus = s.TAU_STDP
    neurons.V_m = network.initial_voltage()
    pre, post = network.graph()
    ids = np.asarray(neurons.tolist())
    weights = np.abs(s.WEIGHTS[network.kind]) * (1, -1) * LEAK  # pA or nS
    for excitatory, weight in zip((True, False), weights, strict=True):
        mine = (pre < network.n_exc) == excitatory
        size = int(mine.sum())
        synapse = {
            "weight": np.full(size, weight),
            "delay": np.full(size, max(network.delay, s.DT)),
            "synapse_model": "static_synapse",
        }
        if network.plastic and excitatory:  # mu = 0: additive
            nest.CopyModel("stdp_synapse", "additive", {
                "Wmax": s.W_MAX * LEAK, "lambda": s.A_PRE / s.W_MAX, "alpha": -s.A_POST / s.A_PRE,
                "mu_plus": 0.0, "mu_minus": 0.0, "tau_plus": s.TAU_STDP,
            })  # fmt: skip
            synapse["synapse_model"] = "additive"
        nest.Connect(ids[pre[mine]], ids[post[mine]], "one_to_one", synapse)
    recorder = nest.Create("spike_recorder")
    nest.Connect(neurons, recorder)
    return recorder


def main() -> None:
    request = s.Request.from_command_line(s.Network)
    network, start = request.task, time.perf_counter()
    recorder = build(network, request.threads)
    build_s = time.perf_counter() - start
    nest.Simulate(network.seconds * 1000)
    first = recorder.events
    learned = {}
    if network.plastic:
        synapses = nest.GetConnections(synapse_model="additive")
        learned = s.weight_statistics(np.asarray(synapses.weight) / LEAK)
    times = s.Times()
    for _ in range(request.rounds):
        times.add(lambda: nest.Simulate(network.seconds * 1000))
    s.report(
        "nest", nest.__version__, request, times, precision="float64",
        build_s=build_s,
        **s.spike_statistics(network, first["senders"] - 1, first["times"]), **learned,
    )  # fmt: skip


if __name__ == "__main__":
    main()

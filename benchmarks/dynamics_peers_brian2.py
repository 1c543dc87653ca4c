"""Brian2 on the balanced networks: C++ standalone (1 thread or OpenMP) and Cython, in float64.

Run by ``dynamics_peers.py``, or by itself with a request as JSON. The time of C++ standalone is
that of the time loop by Brian's own clock, without starting the program and writing its results
(which is CPU time in 2.9 with one thread); its CPU time is the whole program's.
"""

from __future__ import annotations

import tempfile
import time
from typing import Any

import brian2 as b
from brian2 import ms, mV

import dynamics_settings as s

CUBA = "dv/dt = (ge + gi - (v - E_L)) / tau_m : volt (unless refractory)"
COBA = "dv/dt = (ge*(E_exc - v) + gi*(E_inh - v) - (v - E_L)) / tau_m : volt (unless refractory)"
SYNAPSES = "dge/dt = -ge / tau_e : {unit}\ndgi/dt = -gi / tau_i : {unit}"
TRACES = "\ndpre/dt = -pre / tau_stdp : volt\ndpost/dt = -post / tau_stdp : volt"
CONSTANTS = {
    "tau_m": s.TAU_M * ms, "tau_e": s.TAU_E * ms, "tau_i": s.TAU_I * ms, "E_L": s.E_L * mV,
    "E_exc": s.E_EXC * mV, "E_inh": s.E_INH * mV, "threshold": s.THRESHOLD * mV,
    "v_reset": s.RESET * mV, "tau_stdp": s.TAU_STDP * ms, "w_max": s.W_MAX * mV,
    "A_pre": s.A_PRE * mV, "A_post": s.A_POST * mV,
}  # fmt: skip


def build(network: s.Network) -> tuple[b.Network, b.SpikeMonitor, b.Synapses]:
    """The network, its monitor, its excitatory synapses.

    STDP keeps its traces in the neurons, not in the synapses: fewer exponentials.
    """
    unit, scale = ("volt", mV) if network.kind == "cuba" else ("1", 1)
    equations = (CUBA if network.kind == "cuba" else COBA) + "\n" + SYNAPSES.format(unit=unit)
    reset = "v = v_reset"
    if network.plastic:
        equations += TRACES
        reset += "; pre += A_pre; post += A_post"
    neurons = b.NeuronGroup(
        network.n, equations, threshold="v > threshold", reset=reset, namespace=CONSTANTS,
        refractory=s.REFRACTORY * ms,
        method="exact" if network.kind == "cuba" else "exponential_euler",
    )  # fmt: skip
    neurons.v = network.initial_voltage() * mV
    pre, post = network.graph()
    parts: list[Any] = [neurons]
    for source, weight in zip(("e", "i"), s.WEIGHTS[network.kind], strict=True):
        mine = (pre < network.n_exc) == (source == "e")
        plastic = network.plastic and source == "e"
        synapses = b.Synapses(
            neurons, neurons, "w : volt" if plastic else "",
            on_pre="ge_post += w; w = clip(w + post_post, 0*volt, w_max)" if plastic
            else f"g{source}_post += w_{source}",
            on_post="w = clip(w + pre_pre, 0*volt, w_max)" if plastic else None,
            delay=network.delay * ms if network.delay else None,
            namespace={**CONSTANTS, f"w_{source}": weight * scale},
        )  # fmt: skip
        synapses.connect(i=pre[mine], j=post[mine])
        if plastic:
            synapses.w = weight * mV
        parts.append(synapses)
    monitor = b.SpikeMonitor(neurons)
    return b.Network(*parts, monitor), monitor, parts[1]


def standalone(request: s.Request, folder: str) -> tuple[s.Times, float, Any, Any]:
    b.set_device("cpp_standalone", build_on_run=False)
    b.prefs.devices.cpp_standalone.openmp_threads = request.threads if request.threads > 1 else 0
    start = time.perf_counter()
    net, monitor, excitatory = build(request.task)
    net.run(request.task.seconds * b.second)
    b.device.build(directory=folder, run=False, compile=True)
    build_s = time.perf_counter() - start
    times = s.Times()
    for i in range(1 + request.rounds):
        timed = s.Times() if i == 0 else times  # the first warms up
        timed.add(lambda: b.device.run(directory=folder, with_output=False))
        timed.wall_s[-1] = b.device._last_run_time
    return times, build_s, monitor, excitatory


def cython(request: s.Request) -> tuple[s.Times, float, Any, Any]:
    b.prefs.codegen.target = "cython"
    start = time.perf_counter()
    net, monitor, excitatory = build(request.task)
    net.store()
    net.run(request.task.seconds * b.second)  # compiles, or reads Brian's cache
    build_s = time.perf_counter() - start
    times = s.Times()
    for _ in range(request.rounds):
        net.restore()
        times.add(lambda: net.run(request.task.seconds * b.second))
    return times, build_s, monitor, excitatory


def main() -> None:
    request = s.Request.from_command_line(s.Network)
    task = request.task
    b.defaultclock.dt = s.DT * ms
    with tempfile.TemporaryDirectory() as folder:
        times, build_s, monitor, excitatory = (
            standalone(request, folder) if request.mode == "C++ standalone" else cython(request)
        )
        units, spikes = monitor.i[:], monitor.t[:] / ms
        learned = s.weight_statistics(excitatory.w[:] / mV) if task.plastic else {}
    s.report(
        "brian2", b.__version__, request, times, precision="float64", build_s=build_s,
        **s.spike_statistics(task, units, spikes), **learned,
    )  # fmt: skip


if __name__ == "__main__":
    main()

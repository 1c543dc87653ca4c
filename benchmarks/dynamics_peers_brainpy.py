"""BrainPy (``brainpy.state``, XLA on the CPU) on the balanced networks, in float32.

STDP uses brainevent's kernels for weights in CSR form. One thread means that the process is bound
to one core: XLA takes what it finds.
"""

from __future__ import annotations

import os
import time
from typing import Any

import brainevent
import brainpy
import brainstate
import braintools
import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np

import dynamics_settings as s


class Projection(brainstate.nn.Module):
    """Spikes through a sparse matrix; one weight for all synapses, or one each (plastic)."""

    def __init__(self, network: s.Network, excitatory: bool, weight: Any, unit: Any) -> None:
        super().__init__()
        self.in_size = self.out_size = (network.n,)
        pre, post = network.graph()
        mine = (pre < network.n_exc) == excitatory
        pre, post = pre[mine], post[mine]
        self.shape = (network.n, network.n)
        self.indices = jnp.asarray(post)
        self.indptr = jnp.asarray(np.searchsorted(pre, np.arange(network.n + 1)), jnp.int32)
        self.unit, self.weight = unit, jnp.asarray([weight], jnp.float32)
        if network.plastic and excitatory:
            by_post = np.argsort(post, kind="stable")
            ends = np.searchsorted(post[by_post], np.arange(network.n + 1))
            self.by_post = [jnp.asarray(x, jnp.int32) for x in (pre[by_post], ends, by_post)]
            self.weight = brainstate.ShortTermState(jnp.full(len(pre), weight, jnp.float32))
            self.traces = brainstate.ShortTermState(jnp.zeros((2, network.n), jnp.float32))

    def update(self, spikes: Any) -> Any:
        plastic = isinstance(self.weight, brainstate.State)
        weight = self.weight.value if plastic else self.weight
        matrix = brainevent.CSR((weight, self.indices, self.indptr), shape=self.shape)
        current = brainevent.BinaryArray(spikes) @ matrix * self.unit
        if plastic:
            self.learn(spikes)
        return current

    def learn(self, spikes: Any) -> None:
        bounds = {"w_min": 0.0, "w_max": s.W_MAX, "shape": self.shape}
        pre, post = self.traces.value * np.exp(-s.DT / s.TAU_STDP)
        weight = brainevent.update_csr_on_binary_pre(
            self.weight.value, self.indices, self.indptr, spikes, post, **bounds
        )
        self.weight.value = brainevent.update_csr_on_binary_post(
            weight, *self.by_post, pre, spikes, **bounds
        )
        self.traces.value = jnp.stack([pre + s.A_PRE * spikes, post + s.A_POST * spikes])


class Balanced(brainstate.nn.Module):
    def __init__(self, network: s.Network) -> None:
        super().__init__()
        cuba, n = network.kind == "cuba", network.n
        voltage = network.initial_voltage()
        self.neurons = brainpy.state.LIFRef(
            n, R=1 * u.ohm, tau=s.TAU_M * u.ms, tau_ref=s.REFRACTORY * u.ms, V_rest=s.E_L * u.mV,
            V_th=s.THRESHOLD * u.mV, V_reset=s.RESET * u.mV, spk_reset="hard",
            V_initializer=lambda *_, **__: jnp.asarray(voltage, jnp.float32) * u.mV,
        )  # fmt: skip
        unit = u.mA if cuba else u.siemens
        self.projections = []
        for source, weight in zip(("e", "i"), s.WEIGHTS[network.kind], strict=True):
            reversal = s.E_EXC if source == "e" else s.E_INH
            tau = s.TAU_E if source == "e" else s.TAU_I
            projection = brainpy.state.AlignPostProj(
                comm=Projection(network, source == "e", weight, unit),
                syn=brainpy.state.Expon.desc(
                    n, tau=tau * u.ms, g_initializer=braintools.init.Constant(0.0 * unit)
                ),
                out=brainpy.state.CUBA.desc(scale=1.0)
                if cuba
                else brainpy.state.COBA.desc(E=reversal * u.mV),
                post=self.neurons,
                delay=network.delay * u.ms if network.delay else None,
            )
            self.projections.append(projection)

    def update(self, step: Any) -> Any:
        with brainstate.environ.context(t=step * s.DT * u.ms, i=step):
            spikes = self.neurons.get_spike() != 0
            for projection in self.projections:
                projection(spikes)
            return self.neurons() != 0


def main() -> None:
    request = s.Request.from_command_line(s.Network)
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: request.threads])
    brainstate.environ.set(dt=s.DT * u.ms)
    start = time.perf_counter()
    net = Balanced(request.task)
    steps = np.arange(round(request.task.seconds * 1000 / s.DT))

    @brainstate.transform.jit
    def run() -> Any:
        return brainstate.transform.for_loop(net.update, steps)

    brainstate.nn.init_all_states(net)
    states = net.states()
    initial = {name: state.value for name, state in states.items()}
    spikes = np.asarray(run())
    learned = {}
    if request.task.plastic:
        learned = s.weight_statistics(net.projections[0].comm.weight.value)
    build_s = time.perf_counter() - start
    times = s.Times()
    for _ in range(request.rounds):
        for name, state in states.items():
            state.value = initial[name]
        again = times.add(lambda: jax.block_until_ready(run()))
        assert np.array_equal(again, spikes)
    at, units = np.nonzero(spikes)
    s.report(
        "brainpy", brainpy.__version__, request, times, precision="float32",
        build_s=build_s, **s.spike_statistics(request.task, units, at * s.DT), **learned,
    )  # fmt: skip


if __name__ == "__main__":
    main()

"""What the tests of Triton's kernels run, in a process of its own: see `test_triton`.

``on_triton.py TASK OUT``, where a task is a function below, which compares with the reference;
see `triton_launches`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

# Networks


def compare(plan, state, n_steps, probes, rtol, atol):
    import test_engines as engines

    expected = engines.ENGINE["reference"].run(plan, state, n_steps, probes)
    found = engines.ENGINE["triton"].run(plan, state, n_steps, probes)
    engines.check_same(found, expected, rtol, atol)
    return engines.n_spikes(expected)


def networks():
    """Each network goes on from a state of the reference, in which much is under way."""
    import test_engines as engines

    from bregma.dynamics.network._plan import plan
    from bregma.dynamics.network._state import Probe, initial_state

    v = Probe("E", "v", np.array([3, 0]), every=7)
    late = engines.balanced("coba", "1*ms*rand")
    cases = {"coba, delays that differ": (late, [v], 400, 6)}
    windows = {  # where enough happens
        "cuba": (400, 40), "coba": (400, 20), "stdp": (80, 20), "stdp, late": (80, 15),
        "stdp, delays that differ": (70, 7), "driven": (40, 20), "noisy": (251, 12),
        "in order": (180, 12),
    }  # fmt: skip
    for name, window in windows.items():
        network, probes = engines.NETWORKS[name]
        cases[name] = network(), probes, *window
    for name, (network, probes, first, n_steps) in cases.items():
        kinds = [(np.float64, 1e-9, 1e-13, n_steps), (np.float32, 2e-4, 1e-6, 3)]
        for dtype, rtol, atol, n_steps in kinds if name in ("cuba", "stdp", "noisy") else kinds[:1]:
            made = plan(network, dt=engines.DT, seed=3, dtype=dtype)
            state = engines.ENGINE["reference"].run(made, initial_state(made), first).state
            n = compare(made, state, n_steps, probes, rtol, atol)
            assert n > 1 or dtype == np.float32, name


def perturbed():
    import test_perturb

    from bregma.dynamics.network._plan import plan
    from bregma.dynamics.network._state import Probe, initial_state

    made = plan(test_perturb.perturbed_in_every_way(), dt=1e-3, seed=1, dtype=np.float64)
    assert compare(made, initial_state(made), 60, [Probe("E", "v")], 1e-9, 1e-13) > 40


def room():
    """More spikes than room was made for; the same bits again; pieces; not a single synapse."""
    import test_engines as engines

    from bregma.dynamics import Drive, FixedProbability, Network, Neuron, Population, Projection
    from bregma.dynamics.network._plan import plan
    from bregma.dynamics.network._state import initial_state

    always = Neuron("dv/dt = 0/ms", spike="v > -1", reset="v = v", params={})
    projections = [
        Projection("E", "A", engines.KICK, FixedProbability(p), name=n)
        for n, p in {"some": 0.7, "none": 0.0}.items()
    ]
    n = Network(
        {"E": Population(always, 21), "A": Population(engines.LIF, 3)}, projections,
        [Drive("A", "I", 0.0)],
    )  # fmt: skip
    made = plan(n, dt=engines.DT, seed=0, dtype=np.float64)
    assert compare(made, initial_state(made), 12, [], 1e-12, 0) >= 12 * 21
    run, state = engines.ENGINE["triton"].run, initial_state(made)
    whole, again = run(made, state, 6), run(made, state, 6)
    engines.check_same(again, whole, 0, 0)
    parts = run(made, run(made, state, 2).state, 4)
    engines.check_same_spikes(run(made, whole.state, 1), run(made, parts.state, 1))
    for name, value in whole.state.values.items():
        np.testing.assert_array_equal(parts.state.values[name], value, err_msg=name)


# The loop over time


def scan():
    import test_scan as scans

    from bregma.dynamics.training import _scan
    from bregma.dynamics.training._eager_scan import eager_scan

    def on(where, problem, segment=None):
        """What comes out, and its gradients."""
        run, loss, tensors = problem
        _scan.on_gpu = lambda tensor: where == "triton"
        found = run(eager_scan) if where == "eager" else run(_scan.scan, segment)
        return found, scans.gradients(loss(found), tensors)

    models = {**scans.SPIKING, **scans.SMOOTH}
    single, double = (torch.float32, True, ("tau",), 1e-5), (torch.float64, False, (), 1e-11)
    cases = {n: [single] for n in models if n not in ("QIF", "current synapse", "rate")}
    cases |= {"LIF to zero, refractory": [single, double], "QIF": [double], "rate": [double]}
    for name, kinds in cases.items():
        neuron, options = models[name], {} if name in scans.SPIKING else {"scale": 0.5, "dt": 0.3}
        for dtype, detached, per_unit, tolerance in kinds:
            per_unit = tuple(set(per_unit) & set(neuron.values))
            problem = scans.problem(
                neuron, dtype=dtype, detached=detached, per_unit=per_unit, **options
            )
            found, gradients = on("triton", problem)
            plain, wanted = on("eager", problem)
            on_cpu, close = on("cpu", problem)
            for n in found[0]:
                assert scans.relative(found[0][n], plain[0][n]) < tolerance, (name, n)
                assert dtype == torch.float64 or torch.equal(found[0][n], on_cpu[0][n]), (name, n)
            assert torch.equal(found[2], plain[2])
            for n, g in wanted.items():
                assert (gradients[n] is None) == (g is None), (name, n)
                assert g is None or scans.relative(gradients[n], g) < tolerance, (name, n)
                assert g is None or scans.relative(gradients[n], close[n]) < 1e-6, (name, n)
    problem = scans.problem(scans.SPIKING["LIF to zero, refractory"])
    _, whole = on("triton", problem)
    _, parts = on("triton", problem, 7)
    for n, g in whole.items():
        assert torch.equal(g, parts[n]), n


def layers():
    """Layers on what stands for a GPU here: the same as on the CPU, with parameters that learn."""
    import test_scan as scans

    from bregma.dynamics.training import _scan
    from bregma.nn import Spiking

    neuron = scans.SPIKING["LIF to zero, refractory"]
    rng = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(20, 2, 7, generator=rng) for _ in range(2))
    found = []
    for on_gpu in (False, True):
        _scan.on_gpu = lambda tensor, on_gpu=on_gpu: on_gpu
        layer = Spiking(neuron, 7, learnable=["tau", "theta"], dt=1.0, checkpoint=on_gpu)
        y, state = layer(3 * x + 1)
        (y * weight).sum().backward()
        found.append([y, *state.values(), layer.tau.grad, layer.theta.grad])
    for a, b in zip(*found, strict=True):
        assert torch.equal(a, b)
    assert 0.02 < found[0][0].mean() < 0.7


def functions():
    """Functions of equations against those of the CPU: the same bits in float32."""
    from numba import njit
    from numba.core.registry import CPUDispatcher as Dispatcher

    from bregma.dynamics.engines import _math_triton as ours
    from bregma.dynamics.engines._math_numba import NAMES
    from bregma.dynamics.engines._triton_print import load

    @njit(error_model="numpy")
    def each(function, x):
        out = np.empty_like(x)
        for i in range(x.size):
            out[i] = function(x[i])
        return out

    rng = np.random.default_rng(0)
    special = [0, 1, -1, 1e-30, 1e-42, 89, -104, 200, -200, np.inf, -np.inf, np.nan]
    wide = np.concatenate([rng.normal(0, 1, 1000), rng.normal(0, 40, 1000), special])
    for dtype in ("float32", "float64"):
        x = wide.astype(dtype)
        for name in ("exp", "log", "tanh", "exprel", "dexprel", "sqrt", "floor", "sin", "power"):
            assert hasattr(ours, name)
            second = ", tl__.load(y__ + i__)" if name == "power" else ""
            source = (
                "@kernel__\ndef kernel(x__, y__, out__, BLOCK__: constexpr):\n"
                "    i__ = tl__.arange(0, BLOCK__)\n"
                f"    tl__.store(out__ + i__, math__.{name}(tl__.load(x__ + i__){second}))\n"
            )
            padded = np.append(x, np.ones(2048 - len(x), dtype))
            y = np.round(rng.normal(0, 3, 2048)).astype(dtype)
            out = torch.empty(2048, dtype=getattr(torch, dtype))
            with np.errstate(all="ignore"):
                kernel = load(source, dtype, "gpu_function").kernel
                kernel[(1,)](torch.from_numpy(padded), torch.from_numpy(y), out, BLOCK__=2048)
                theirs = NAMES[dtype].get(name)
                if isinstance(theirs, Dispatcher):
                    expected = each(theirs, padded)
                else:
                    both = (padded.astype(np.float64), y)[: 2 if name == "power" else 1]
                    expected = getattr(np, name)(*both).astype(dtype)
            rtol = 0 if dtype == "float32" else 5e-14 if name == "power" else 5e-15
            np.testing.assert_allclose(out.numpy(), expected, rtol=rtol, atol=0, err_msg=name)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    sys.path.insert(0, str(Path(__file__).parents[1]))
    import triton_launches

    triton_launches.main(globals(), exact=True)

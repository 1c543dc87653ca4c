"""Fused loops over time against a plain loop of torch operations and finite differences."""

from __future__ import annotations

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from bregma.dynamics import Neuron
from bregma.dynamics.language._evaluate import prepare
from bregma.dynamics.language._step import step_of
from bregma.dynamics.training._eager_scan import eager_scan
from bregma.dynamics.training._scan import scan
from bregma.dynamics.training._scan_program import ScanProgram
from bregma.dynamics.training._scan_run import ScanSettings
from bregma.errors import InvalidArgument, UnstableSimulation

T, B, N = 30, 3, 5

SPIKING = {
    "LIF": Neuron("dv/dt = (v_0 - v + I)/tau", spike="v > theta", reset="v = v - theta",
                  surrogate="fast_sigmoid(5)", params={"v_0": 0.1, "theta": 1, "tau": 10}),
    "LIF to zero, refractory": Neuron(
        "dv/dt = (I - v)/tau (unless refractory)", spike="v > theta", reset="v = v_r",
        refractory=3.0, params={"theta": 1, "tau": 8, "v_r": -0.2}),
    "ALIF": Neuron("dv/dt = (I - v)/tau\ndw/dt = -w/tau_w", spike="v > theta + beta*w",
                   reset="v = v - theta; w += 1", surrogate="triangle(0.3)",
                   params={"theta": 1, "tau": 8, "tau_w": 40, "beta": 0.2}),
    "QIF": Neuron("dv/dt = (v**2 + I - eta)/tau", spike="v > 3", reset="v = -3",
                  surrogate="sigmoid(4)", params={"tau": 10, "eta": 0.2}),
    "AdEx": Neuron("dv/dt = (-(v - e) + d*exp((v - v_t)/d) - w + I)/tau\n"
                   "dw/dt = (a*(v - e) - w)/tau_w", spike="v > 2", reset="v = v_r; w += b",
                   surrogate="gaussian(0.5)",
                   params={"e": 0, "d": 0.3, "v_t": 0.6, "tau": 9, "tau_w": 30, "a": 0.1, "b": 0.2,
                           "v_r": 0.2}),
    "current synapse": Neuron("dv/dt = (g - v)/tau\ndg/dt = (I - g)/tau_g", spike="v > theta",
                              reset="v = 0", params={"theta": 0.5, "tau": 10, "tau_g": 4}),
    "conductance": Neuron("dv/dt = (-v + g*(e - v))/tau\ndg/dt = -g/tau_g + relu(I)",
                          spike="v > theta", reset="v = 0; g = g/2",
                          params={"theta": 0.5, "tau": 10, "tau_g": 4, "e": 4}),
    "refractory while": Neuron("dv/dt = (I - v)/tau\ndu/dt = -u/5", spike="v > theta",
                               reset="v = v_r; u = 1", refractory="u > 0.5",
                               params={"theta": 1, "tau": 8, "v_r": 0}),
}  # fmt: skip
SMOOTH = {
    "rate": Neuron("dr/dt = (tanh(I + b) - r)/tau", params={"tau": 5, "b": 0.1}),
    "FitzHugh-Nagumo": Neuron("dv/dt = v - v**3/3 - w + I\ndw/dt = (v + a - b*w)/tau",
                              params={"a": 0.7, "b": 0.8, "tau": 12}, method="rk4"),
    "gate": Neuron("dm/dt = alpha*(1 - m) - m\nalpha = exprel(I - m/2) + log(1 + c*m**2)"
                   " + sigmoid(sin(I)) + cos(m)*sqrt(1 + m**2)", params={"c": 0.5}),
}  # fmt: skip


def problem(neuron, *, dtype=torch.float32, per_unit=(), seed=0, scale=2.0, dt=1.0, detached=True):
    """Program, tensors that have derivatives, and a function that runs an engine on them."""
    rng = torch.Generator().manual_seed(seed)
    program = ScanProgram(step_of(neuron, ["I"]), neuron.surrogate, ("I",), detached)
    x = (torch.randn(T, B, N, generator=rng, dtype=dtype) * scale + 0.8).requires_grad_()
    start = {
        n: (torch.rand(B, N, generator=rng, dtype=dtype) * 0.5).requires_grad_()
        for n in neuron.states
    }
    values = {}
    for n, v in neuron.values.items():
        value = torch.tensor(v, dtype=torch.float64)
        if n in per_unit:
            value = value * (1 + 0.1 * torch.rand(N, generator=rng, dtype=torch.float64))
        values[n] = value.requires_grad_()
    outputs = (*(("spikes",) if program.fires else ()), *neuron.states)
    weights = {n: torch.randn(T, B, N, generator=rng, dtype=dtype) for n in outputs}

    def run(engine, segment=None, x=x, start=start, values=values, outputs=outputs):
        made = prepare(program.step.constants, values, dt)
        constants = {n: made[n].to(dtype) for n in program.constants}
        resting = torch.zeros(B, N, dtype=torch.int32)
        rest = round(program.step.refractory_time / dt)
        if engine is eager_scan:
            return eager_scan(program, {"I": x}, constants, start, resting, rest)
        given = ScanSettings(program, outputs, rest, segment)
        return scan(given, {"I": x}, constants, start, resting)

    def loss(found):
        out, end, _ = found
        return sum((out[n] * w).sum() for n, w in weights.items()) + sum(
            (e * (k + 1)).sum() for k, e in enumerate(end.values())
        )

    tensors = {"I": x, **{f"start {n}": s for n, s in start.items()}, **values}
    return run, loss, tensors


def gradients(value, tensors):
    found = torch.autograd.grad(value, list(tensors.values()), allow_unused=True)
    return dict(zip(tensors, found, strict=True))


def relative(a, b):
    return ((a - b).norm() / b.norm().clamp(min=1e-12)).item()


@pytest.mark.parametrize(("detached", "dtype", "tolerance"), [
    (True, torch.float32, 1e-5), (True, torch.float64, 1e-11), (False, torch.float64, 1e-11),
])  # fmt: skip
@pytest.mark.parametrize("name", SPIKING)
def test_spikes_are_equal_and_derivatives_agree(name, detached, dtype, tolerance):
    run, loss, tensors = problem(SPIKING[name], detached=detached, dtype=dtype)
    fused, plain = run(scan), run(eager_scan)
    assert 0.02 < plain[0]["spikes"].mean() < 0.7
    assert torch.equal(fused[0]["spikes"], plain[0]["spikes"])
    for n, x in plain[0].items():
        assert relative(fused[0][n], x) < tolerance, n
    assert torch.equal(fused[2], plain[2])
    found, wanted = gradients(loss(fused), tensors), gradients(loss(plain), tensors)
    for n, g in wanted.items():
        assert (found[n] is None) == (g is None), n
        assert g is None or relative(found[n], g) < tolerance, n


@pytest.mark.parametrize("name", SMOOTH)
def test_derivatives_of_smooth_models_against_finite_differences(name):
    run, loss, tensors = problem(SMOOTH[name], dtype=torch.float64, scale=0.5, dt=0.3)
    found = gradients(loss(run(scan)), tensors)
    rng = torch.Generator().manual_seed(1)
    for n, x in tensors.items():
        direction = torch.randn(x.shape, generator=rng, dtype=x.dtype)
        ends = []
        for h in (1e-5, -1e-5):
            moved = {**tensors, n: (x + h * direction).detach()}
            start = {
                m.removeprefix("start "): s for m, s in moved.items() if m.startswith("start ")
            }
            values = {m: s for m, s in moved.items() if m != "I" and not m.startswith("start ")}
            ends.append(loss(run(scan, x=moved["I"], start=start, values=values)))
        numeric = (ends[0] - ends[1]) / 2e-5
        assert torch.isclose((found[n] * direction).sum(), numeric, rtol=1e-6, atol=1e-7), n


@pytest.mark.parametrize("name", ["LIF", "ALIF", "LIF to zero, refractory"])
def test_parameters_of_each_unit(name):
    run, loss, tensors = problem(SPIKING[name], per_unit=("tau", "theta"))
    found = gradients(loss(run(scan)), tensors)
    wanted = gradients(loss(run(eager_scan)), tensors)
    assert found["tau"].shape == (N,)
    for n, g in wanted.items():
        assert relative(found[n], g) < 1e-5, n


@pytest.mark.parametrize("segment", [1, 7, 30])
@pytest.mark.parametrize("name", ["ALIF", "LIF to zero, refractory"])
def test_checkpoints_change_nothing(name, segment):
    run, loss, tensors = problem(SPIKING[name])
    whole, parts = run(scan), run(scan, segment)
    for n, x in whole[0].items():
        assert torch.equal(parts[0][n], x)
    found, wanted = gradients(loss(parts), tensors), gradients(loss(whole), tensors)
    for n, g in wanted.items():
        assert torch.equal(found[n], g), n


@pytest.mark.parametrize("name", ["ALIF", "LIF to zero, refractory"])
def test_the_way_back_can_be_taken_twice(name):
    run, _, tensors = problem(SPIKING[name])
    spikes = run(scan, outputs=("spikes",))[0]["spikes"]
    given = torch.randn(spikes.shape, generator=torch.Generator().manual_seed(5))
    wanted = list(tensors.values())
    first, second = (
        torch.autograd.grad(spikes, wanted, given, retain_graph=True, allow_unused=True)
        for _ in range(2)
    )
    for a, b in zip(first, second, strict=True):
        assert (a is None) == (b is None)
        assert a is None or torch.equal(a, b)
    (plain,) = torch.autograd.grad(run(eager_scan)[0]["spikes"], tensors["I"], given)
    assert relative(first[0], plain) < 1e-5


def test_a_hand_written_loop_gives_the_same():
    """v <- beta v + I, spike above 1, subtract 1 at the same step: reset by subtraction."""
    beta, slope = 0.9, 25.0
    tau = -1 / torch.log(torch.tensor(beta, dtype=torch.float64))
    neuron = Neuron(
        "dv/dt = (gain*I - v)/tau", spike="v > 1", reset="v -= 1", surrogate="fast_sigmoid(25)",
        params={"tau": float(tau), "gain": 1 / (1 - beta)},
    )  # fmt: skip
    run, _, tensors = problem(neuron)
    x = tensors["I"]
    spikes = run(scan, start={"v": torch.zeros(B, N)})[0]["spikes"]
    weight = torch.randn(T, B, N, generator=torch.Generator().manual_seed(3))
    (found,) = torch.autograd.grad((spikes * weight).sum(), x)
    v, wanted = torch.zeros(B, N), []
    y = x.detach().clone().requires_grad_()
    for current in y.unbind(0):
        v = beta * v + current
        d = v - 1
        fired = (d > 0).float()
        s = fired + (d - d.detach()) / (1 + slope * d.detach().abs()) ** 2
        wanted.append(s)
        v = v - fired
    wanted = torch.stack(wanted)
    assert torch.equal(spikes, wanted)
    (expected,) = torch.autograd.grad((wanted * weight).sum(), y)
    assert relative(found, expected) < 1e-5


def test_the_same_bits_on_any_number_of_threads():
    neuron = SPIKING["ALIF"]
    program = ScanProgram(step_of(neuron, ["I"]), neuron.surrogate, ("I",))
    made = prepare(program.step.constants, neuron.values, 1.0)
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(20, 7, 3001, generator=rng).requires_grad_()
    weight = torch.randn(20, 7, 3001, generator=rng)
    before, found = torch.get_num_threads(), []
    try:
        for n_threads in (1, 2, 3):
            torch.set_num_threads(n_threads)
            constants = {n: made[n].float().requires_grad_() for n in program.constants}
            start = {n: torch.zeros(7, 3001) for n in neuron.states}
            resting = torch.zeros(7, 3001, dtype=torch.int32)
            out, _, _ = scan(
                ScanSettings(program, ("spikes",)), {"I": x}, constants, start, resting
            )
            wanted = [x, *constants.values()]
            grads = torch.autograd.grad((out["spikes"] * weight).sum(), wanted, allow_unused=True)
            found.append([out["spikes"], *grads])
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            assert torch.equal(a, b)


def test_what_is_not_finite_is_named():
    run, _, tensors = problem(SPIKING["LIF"])
    x = tensors["I"].detach().clone()
    x[4, 1, 2] = float("nan")
    with pytest.raises(InvalidArgument, match=r"'I' is nan at step 4 in unit 2 of batch element 1"):
        run(scan, x=x)
    with pytest.raises(InvalidArgument, match=r"'I' is nan at step 4 in unit 2 of batch element 1"):
        run(scan, 6, x=x)
    run, _, tensors = problem(Neuron("dv/dt = v**2 + I"))
    with pytest.raises(UnstableSimulation, match=r"'v' became inf at step \d+ in unit"):
        run(scan, x=tensors["I"] * 0 + 3)
    with pytest.raises(InvalidArgument, match="first value of 'v' is not finite in unit 0"):
        run(scan, start={"v": torch.full((B, N), torch.inf)})


term = st.sampled_from([
    "-v/3", "-w/5", "tanh(v)", "tanh(v*w)", "I", "sin(w)", "exp(-v**2)", "relu(v)/9", "exprel(-v)",
    "abs(w - v)/7", "min(v, w)/6", "sqrt(1 + w**2)/8", "c*I",
])  # fmt: skip
terms = st.lists(term, min_size=1, max_size=3, unique=True).map(" + ".join)
resets = st.sampled_from(["v = 0", "v -= theta", "v = v_r; w += 0.3", "w = w/2 + v; v = w"])


@settings(max_examples=6, deadline=None, derandomize=True, phases=[Phase.generate])
@given(terms, terms, resets, st.sampled_from([0.0, 2.0]), st.booleans())
def test_random_models(dv, dw, reset, refractory, detached):
    params = {"tau": 6, "theta": 0.6}
    params |= {"c": 0.3} if "c*I" in dv + dw else {}
    params |= {"v_r": -0.1} if "v_r" in reset else {}
    neuron = Neuron(
        f"dv/dt = ({dv} + I - v)/tau\ndw/dt = ({dw} - w)/4", spike="v > theta", reset=reset,
        refractory=refractory, params=params,
    )  # fmt: skip
    run, loss, tensors = problem(neuron, dtype=torch.float64, detached=detached)
    fused, plain = run(scan), run(eager_scan)
    assert torch.equal(fused[0]["spikes"], plain[0]["spikes"])
    found, wanted = gradients(loss(fused), tensors), gradients(loss(plain), tensors)
    for n, g in wanted.items():
        assert (found[n] is None) == (g is None)
        assert g is None or relative(found[n], g) < 1e-9, n

"""Neurons: values, first values, spikes, noise, and how they look."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch

from bregma.dynamics.language._initial import initial_values
from bregma.dynamics.language._neuron import Neuron
from bregma.dynamics.language._step import step_of
from bregma.errors import InvalidArgument, InvalidEquation, UnknownName

TEXT = "dv/dt = (E - v + R*I)/tau : volt"
PARAMS = {"E": "-70 mV", "R": "100 Mohm", "tau": "20 ms", "theta": "-50 mV"}


def lif(**options):
    given = {"spike": "v > theta", "reset": "v = E", "params": PARAMS}
    options["params"] = PARAMS | options.get("params", {})
    return Neuron(TEXT, **(given | options))


def test_names_and_values():
    n = lif()
    assert n.names == {"v", "E", "R", "I", "tau", "theta"}
    assert n.open_names == ("I",)
    assert n.values["R"] == 1e8
    assert n.with_params(tau="10 ms").values["tau"] == 0.01
    assert n.values["tau"] == 0.02
    assert str(n.distance) == "-theta + v"
    assert str(lif(spike="theta < v").distance) == "-theta + v"
    assert Neuron("dv/dt = -v", spike="v >= 1").condition is not None


def test_later_changes_of_a_dict_have_no_effect():
    params = {"tau": "20 ms"}
    n = Neuron(TEXT, params=params)
    params["tau"] = "1 ms"
    assert n.values["tau"] == 0.02


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"params": {"tua": 1}}, "'tau'"),
        ({"init": {"E": 1}}, "nearest of 1: 'v'"),
        ({"noise": {"u": 1}}, "nearest of 1: 'v'"),
        ({"method": "eulr"}, "'euler'"),
        ({"surrogate": "atn"}, "'atan'"),
    ],
)
def test_unknown_names_show_those_that_are_near(options, message):
    with pytest.raises(UnknownName, match=message):
        lif(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"params": {"tau": float("nan")}}, "not finite"),
        ({"params": {"tau": "inf"}}, "not finite"),
        ({"params": {"tau": np.array([0.1, np.nan])}}, "not finite"),
        ({"params": {"tau": torch.tensor([1.0, float("inf")])}}, "not finite"),
        ({"params": {"tau": np.ones((2, 2))}}, "2 axes"),
        (
            {"params": {"tau": [0.1, 0.2], "R": [1.0, 2.0, 3.0]}},
            "2 for 'tau', 3 for 'R'|3 for 'R', 2 for 'tau'",
        ),
        ({"params": {"tau": "20 mV"}}, "units do not match"),
        ({"params": {"tau": "20 mss"}}, "no unit 'mss'"),
        ({"params": {"tau": None}}, "neither a number"),
        ({"init": {"v": "nan"}}, "not finite"),
        ({"init": {"v": "20 ms"}}, "is in ms"),
        ({"init": {"v": "v + 1"}}, "depend on parameters"),
        ({"init": {"v": "E > 1"}}, "a number"),
        ({"noise": {"v": "5*mV"}}, "units do not match: the noise of v"),
        ({"noise": {"v": "v > E"}}, "not a condition"),
        ({"spike": "v > theta and v < E"}, "one comparison"),
        ({"spike": "v + theta"}, "one comparison"),
        ({"spike": "theta > tau"}, "units do not match"),
        ({"reset": "E = v"}, "changes variables"),
        ({"reset": "v = tau"}, "units do not match"),
        ({"reset": "v += 1"}, "units do not match"),
        ({"refractory": "-5 ms"}, "must not be negative"),
        ({"refractory": "5 mV"}, "duration"),
        ({"refractory": "v > tau"}, "units do not match"),
        ({"surrogate": "atan(-1)"}, "above 0"),
        ({"surrogate": "atan(-)"}, "above 0"),
        ({"surrogate": "exp(-y)"}, "distance x"),
        ({"surrogate": "x > 1"}, "distance x"),
    ],
)
def test_what_does_not_fit_is_refused_at_once(options, message):
    with pytest.raises(InvalidArgument, match=message):
        lif(**options)


def test_values_for_what_has_an_equation_or_is_fed():
    with pytest.raises(InvalidEquation, match="defined here"):
        Neuron("dx/dt = -y\ny = 2*x", params={"y": 1})
    with pytest.raises(InvalidEquation, match="is an input here"):
        Neuron("dx/dt = -x + I\nI (input)", params={"I": 1})
    with pytest.raises(InvalidArgument, match="meaning of its own"):
        Neuron("dx/dt = F*x", params={"F": 1.0})
    with pytest.raises(InvalidArgument, match="need spike="):
        Neuron("dx/dt = -x", reset="x = 0")
    with pytest.raises(InvalidArgument, match="neither a variable"):
        Neuron("x")


def test_first_values():
    n = lif(init={"v": "E + 5*mV + rand*10*mV"})
    v = initial_values(n, 2000, 3)["v"]
    np.testing.assert_array_equal(v, initial_values(n, 2000, 3)["v"])
    assert not np.array_equal(v, initial_values(n, 2000, 4)["v"])
    np.testing.assert_array_equal(v[:10], initial_values(n, 10, 3)["v"])  # whatever the size
    assert -0.065 <= v.min() < -0.0648 < -0.0552 < v.max() <= -0.055
    normal = initial_values(lif(init={"v": "E + randn*mV"}), 4000, 0)["v"]
    assert normal.mean() == pytest.approx(-0.07, abs=5e-5)
    assert normal.std() == pytest.approx(1e-3, rel=0.05)
    for given in ("-65 mV", -0.065, "-65*mV", "E + 5*mV"):
        np.testing.assert_allclose(
            initial_values(lif(init={"v": given}), 3, 0)["v"], -0.065, rtol=1e-15
        )
    assert initial_values(lif(), 2, 0)["v"].tolist() == [0.0, 0.0]
    assert initial_values(lif(init={"v": [1.0, 2.0]}), 2, 0)["v"].tolist() == [1.0, 2.0]
    with pytest.raises(InvalidArgument, match="give one number, or 3"):
        initial_values(lif(init={"v": [1.0, 2.0]}), 3, 0)
    with pytest.raises(InvalidArgument, match="without a value: mystery"):
        initial_values(lif(init={"v": "E + mystery"}), 3, 0)
    with pytest.raises(InvalidArgument, match="not finite"):
        initial_values(lif(init={"v": "mV*log(E/mV)"}), 3, 0)


def test_how_it_looks():
    n = Neuron(
        "dv/dt = (E - v)/tau_m\nw = where(v > 1, v, 2)",
        spike="v > theta", reset="v = 0; v += 1", refractory="2 ms", noise={"v": "sigma"},
        params={"tau_m": "20 ms", "theta": np.ones(3)},
    )  # fmt: skip
    latex = n.latex()
    assert r"\frac{d v}{d t} &= \frac{E - v}{\tau_{m}} + \sigma\,\xi_{v}(t)" in latex
    assert r"\begin{cases} v & \text{for}\: v > 1" in latex
    assert r"v > \theta &\Rightarrow \text{spike}, v \leftarrow 0,\; v \leftarrow v + 1" in latex
    assert n._repr_latex_() == f"$${latex}$$"
    text = repr(n)
    assert "dv/dt = (E - v)/tau_m" in text
    assert "spike: v > theta" in text
    assert "noise of v: sigma" in text
    assert "tau_m = 20 ms, theta = (3 values)" in text


def test_neurons_travel_between_processes():
    n = lif(refractory="2 ms")
    assert n.rates  # worked out before
    again = pickle.loads(pickle.dumps(n))
    assert again.rates == n.rates
    assert step_of(again, ["I"]).advance == step_of(n, ["I"]).advance


def test_a_neuron_needs_neither_torch_nor_numba_nor_pint():
    code = (
        "import sys\nfrom bregma.dynamics import Neuron, models\n"
        "models.adex('tonic').rates\n"
        "print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "bregma.dynamics.language._neuron" in done.stdout.split()
    assert not {"torch", "numba", "pint", "scipy", "xarray"} & set(done.stdout.split())

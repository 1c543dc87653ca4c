"""Findings about networks against null systems: hand-counted p-values, calibration, bad input."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import cross_val_score
from torch import nn

from bregma.errors import CannotPerturb, InvalidArgument, NotIdentifiable, UnknownName
from bregma.evidence import Evidence
from bregma.mechanism import null_test
from bregma.recording import Recording
from bregma.system import RecordedSystem, TorchSystem, load, untrained


def data(n=60, d=5, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d)).astype(np.float32)
    return x, (x[:, 0] > 0).astype(int)


def network(seed=0, d=5, units=4):
    [net] = untrained(nn.Sequential(nn.Linear(d, units), nn.ReLU()), seeds=seed)
    return net


def first_unit(traces, targets):
    varies = traces[:, 0].std() > 0 and targets.std() > 0
    return float(np.corrcoef(traces[:, 0], targets)[0, 1]) if varies else -1.0


class Scaled(nn.Module):
    """Gives its input, times a number."""

    def __init__(self, factor):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(float(factor)))

    def forward(self, x):
        return self.factor * x


def total(traces):
    return float(traces.sum())


@pytest.mark.parametrize(("factor", "p"), [(25.5, 1 / 20), (18.5, 2 / 20), (-5, 1.0)])
def test_p_is_counted_by_hand(factor, p):
    x = np.ones((8, 2))
    nulls = [Scaled(i) for i in range(1, 20)]  # totals 16, 32, ..., 304
    found = null_test(total, Scaled(factor), x, nulls=nulls, n=19, seed=0)
    assert found.score == pytest.approx(16 * factor)
    assert found.system_null.p_value == pytest.approx(p)
    np.testing.assert_allclose(found.system_null.values, 16 * np.arange(1, 20))
    assert found.null == found.system_null  # without targets there is nothing else to exchange


def test_the_null_of_the_data_exchanges_the_targets_and_nothing_else():
    x, y = data()
    net = network()
    found = null_test(first_unit, net, x, y, n=200, seed=3)
    traces = net(torch.as_tensor(x)).detach().double().numpy()
    assert found.score == pytest.approx(first_unit(traces, y), abs=1e-12)
    # Exchanged labels leave no correlation; its spread is the textbook's 1 / sqrt(n - 1).
    assert found.null.values.mean() == pytest.approx(0, abs=4 / np.sqrt(59 * 200))
    assert found.null.values.std() == pytest.approx(1 / np.sqrt(59), rel=0.2)


def test_the_interval_has_the_standard_error_of_a_mean():
    x = np.random.default_rng(0).standard_normal((400, 1))
    nulls = [Scaled(0)] * 19
    found = null_test(lambda t: float(t.mean()), Scaled(1.0), x, nulls=nulls, n=2000, seed=0)
    half = (found.interval.high - found.interval.low) / 2
    assert half == pytest.approx(1.96 * x.std(ddof=1) / np.sqrt(400), rel=0.06)


def test_a_winner_is_compared_with_winners():
    x, y = data(seed=2)
    net = network(units=6)

    def every_unit(traces, targets):
        return [abs(np.corrcoef(u, targets)[0, 1]) if u.std() else 0.0 for u in traces.T]

    found = null_test(every_unit, net, x, y, n=39, seed=1)
    best = null_test(lambda t, c: max(every_unit(t, c)), net, x, y, n=39, seed=1)
    assert found.n["candidates"] == 6
    assert found.method == "the best of 6 candidates of every_unit"
    assert (found.score, found.null) == (best.score, best.null)
    np.testing.assert_array_equal(found.system_null.values, best.system_null.values)


def test_random_networks_are_found_as_often_as_the_level_says():
    """Network and nulls are exchangeable, so that p is uniform on 1/20 ... 1."""
    x, y = data(40)
    draw = lambda _, seed: np.random.default_rng(seed).standard_normal((5, 4))  # noqa: E731
    rectified = lambda weights, given: np.maximum(given @ weights, 0)  # noqa: E731
    ps = [
        null_test(
            first_unit, draw(None, i), x, y, nulls=draw, trace=rectified, n=19, seed=i
        ).system_null.p_value
        for i in range(80)
    ]
    assert np.mean(ps) == pytest.approx(0.525, abs=0.13)  # 4 standard errors
    assert np.mean(np.asarray(ps) <= 0.1) < 0.1 + 4 * np.sqrt(0.1 * 0.9 / 80)
    assert np.mean(np.asarray(ps) <= 0.1) > 0.1 - 4 * np.sqrt(0.1 * 0.9 / 80)


def test_what_was_wired_is_found():
    x, y = data()
    net = network()
    with torch.no_grad():
        net[0].weight[0] = torch.tensor([5.0, 0, 0, 0, 0])
        net[0].bias[0] = 0
    assert null_test(first_unit, net, x, y, n=39, seed=0).system_null.p_value == 1 / 40


def test_an_estimator_of_scikit_learn_is_cross_validated():
    x, y = data()
    system = TorchSystem(network(), "1", name="net")
    found = null_test(LinearRegression(), system, x, y, n=19, seed=0)
    traces = system.record(x).values.astype(float)
    assert found.score == pytest.approx(cross_val_score(LinearRegression(), traces, y).mean())
    assert found.question == "cross-validated LinearRegression in net"
    assert Evidence.from_json(found.to_json()) == found
    assert "dead salmons" in found.cite()


@pytest.mark.parametrize("nulls", ["untrained", "shuffled", lambda net, seed: network(seed)])
def test_the_network_stays_and_the_seed_decides(nulls):
    x, y = data(20)
    net = network()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    torch.manual_seed(1)
    one = null_test(first_unit, net, x, y, nulls=nulls, n=19, seed=4)
    torch.manual_seed(2)
    two = null_test(first_unit, net, x, y, nulls=nulls, n=19, seed=4)
    assert one == two
    assert one != null_test(first_unit, net, x, y, nulls=nulls, n=19, seed=5)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert net.training


@settings(max_examples=10)
@given(shift=st.floats(-50, 50), scale=st.floats(0.1, 20))
def test_what_ignores_scale_gives_the_same_evidence(shift, scale):
    x, y = data(30)
    trace = lambda net, given: net(torch.as_tensor(given)).detach().double().numpy()  # noqa: E731
    moved = lambda net, given: shift + scale * trace(net, given)  # noqa: E731
    one = null_test(first_unit, network(), x, y, trace=trace, n=19, seed=0)
    two = null_test(first_unit, network(), x, y, trace=moved, n=19, seed=0)
    np.testing.assert_allclose(one.null.values, two.null.values, atol=1e-6)
    assert one.system_null.p_value == two.system_null.p_value


@pytest.mark.parametrize("nulls", ["untrained", "shuffled"])
def test_norm_layers_of_null_systems_measure_anew(nulls):
    net = nn.Sequential(
        nn.Conv2d(1, 3, 2), nn.BatchNorm2d(3), nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2)
    )
    with torch.no_grad():
        net[1].running_mean += 100  # statistics that fit the learned weights only
        net[3].running_var += 1000
    x = np.random.default_rng(0).standard_normal((30, 1, 4, 4)).astype(np.float32)
    seen = []

    def spread(traces):
        seen.append(traces.reshape(30, 2, 9).std(axis=(0, 2)) if len(traces) == 30 else None)
        return 0.0

    null_test(spread, net, x, nulls=nulls, n=19, seed=0)
    first, *others = [s for s in seen if s is not None]
    assert (first < 0.2).all()
    for s in others:
        np.testing.assert_allclose(s, 1, rtol=1e-3)


def test_a_network_of_timm():
    system = load("timm:test_convnext@stages.0", untrained=True)
    images = (np.random.default_rng(0).random((8, 32, 32, 3)) * 255).astype(np.uint8)
    trace = lambda s, x: s.record(x, reduce="mean").values  # noqa: E731
    found = null_test(first_unit, system, images, np.arange(8) % 2, trace=trace, n=19, seed=0)
    assert found.model == "timm:test_convnext@stages.0 (untrained, seed 0)"
    assert found.system_null.values.std() > 0


def test_a_network_of_transformers(transformers):
    config = transformers.GPT2Config(n_layer=1, n_head=2, n_embd=8, vocab_size=11, n_positions=6)
    net = transformers.GPT2Model(config)
    tokens = np.random.default_rng(0).integers(11, size=(10, 6))

    def attention(model, given):
        with torch.no_grad():
            out = model(torch.as_tensor(given), output_attentions=True)
        return out.attentions[0][:, :, -1, :].numpy()  # (example, head, source)

    net.set_attn_implementation("eager")
    found = null_test(
        lambda heads: heads.max(-1).mean(0), net, tokens, trace=attention, n=19, seed=0
    )
    assert found.n["candidates"] == 2
    assert 1 / 6 < found.score < 1


def test_bad_input():
    x, y = data(20)
    net = network()
    with pytest.raises(NotIdentifiable, match=r"p = 0.1 at best.*at least 19"):
        null_test(first_unit, net, x, y, n=9, seed=0)
    with pytest.raises(NotIdentifiable, match="4 inputs can be exchanged in 24 ways"):
        null_test(first_unit, network(), x[:4], y[:4], n=99, level=0.99, seed=0)
    with pytest.raises(NotIdentifiable, match="3 inputs"):
        null_test(first_unit, net, x[:3], y[:3], n=19, seed=0)
    with pytest.raises(InvalidArgument, match="19 targets for 20 inputs"):
        null_test(first_unit, net, x, y[1:], n=19, seed=0)
    with pytest.raises(UnknownName, match="'untrained'"):
        null_test(first_unit, net, x, y, nulls="untrainde", n=19, seed=0)
    with pytest.raises(InvalidArgument, match="gives nan for"):
        null_test(lambda t, c: np.nan, net, x, y, n=19, seed=0)
    with pytest.raises(InvalidArgument, match="gives no score"):
        null_test(lambda t, c: [], net, x, y, n=19, seed=0)
    with pytest.raises(InvalidArgument, match="not finite"):
        null_test(first_unit, net, np.where(x > 2, np.nan, x), y, n=19, seed=0)
    with pytest.raises(InvalidArgument, match="5 rows of traces for 20 inputs"):
        null_test(first_unit, net, x, y, trace=lambda s, i: np.ones((5, 2)), n=19, seed=0)
    with pytest.raises(InvalidArgument, match=r"level lies in \(0, 1\)"):
        null_test(first_unit, net, x, y, n=19, level=1.0, seed=0)
    with pytest.raises(InvalidArgument, match="name the part"):
        null_test(first_unit, nn.LSTM(5, 2), x, y, n=19, seed=0)
    brain = RecordedSystem(Recording.from_array(np.eye(5)))
    with pytest.raises(CannotPerturb, match="evidence"):
        null_test(
            lambda t: float(t.sum()), brain, brain.recording.coordinate("stimulus"), n=19, seed=0
        )

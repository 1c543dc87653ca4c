"""The circuit by hand and by plain loops; evolution against a known optimum; bodies of others."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from bregma.agents import UndulationCircuit, evolution_strategy, policy_batch
from bregma.datasets import Swimmer
from bregma.errors import InvalidArgument


def f(x):
    return min(max(x, 0.0), 1.0)


def by_loops(q, step, weights, period=60, speed=1.0, turn=0.0):
    """Equations of the paper, one neuron at a time."""
    prop, osc, ipsi, contra, slow, right = weights
    out = []
    for i in range(len(q)):
        b = {}
        for side, phase in ((1, step % period < period / 2), (-1, step % period >= period / 2)):
            drive = prop * f(side * q[i - 1]) if i else osc * phase + right * max(side * turn, 0)
            b[side] = f(drive - slow * (1 - speed))
        out.append(f(ipsi * b[1] + contra * b[-1]) - f(ipsi * b[-1] + contra * b[1]))
    return out


@settings(max_examples=30)
@given(
    q=st.lists(st.floats(-1, 1), min_size=2, max_size=6),
    step=st.integers(0, 200),
    weights=st.tuples(*[st.floats(0, 2)] * 3, st.floats(-2, 0), *[st.floats(0, 2)] * 2),
    speed=st.floats(0, 1),
    turn=st.floats(-1, 1),
)
def test_equals_plain_loops(q, step, weights, speed, turn):
    circuit = UndulationCircuit()
    nn.utils.vector_to_parameters(torch.tensor(weights), circuit.parameters())
    with torch.no_grad():
        found = circuit(torch.tensor(q, dtype=torch.float32), step, speed=speed, turn=turn)
    assert np.allclose(found, by_loops(q, step, weights, speed=speed, turn=turn), atol=1e-5)


def test_a_bent_joint_bends_the_next_one():
    with torch.no_grad():
        torque = UndulationCircuit()(torch.tensor([0.0, 0.6, 0.0]), 0)
        late = UndulationCircuit()(torch.zeros(3), 30)
        still = UndulationCircuit()(torch.zeros(3), 0, speed=0.0)
        ventral = UndulationCircuit()(torch.zeros(3), 0, turn=-0.5)
    assert torque.tolist() == pytest.approx([1.0, 0.0, 0.6])
    assert late.tolist() == [-1, 0, 0]
    assert still.tolist() == [0, 0, 0]
    assert ventral.tolist() == [0.5, 0, 0]


def test_signs_are_kept_unless_freed():
    wrong = torch.tensor([1.0, 1.0, 1.0, 1.0, 1.0, 1.0])  # the other side excites
    q = torch.tensor([0.5, -0.5, 0.2])
    signed, free = UndulationCircuit(), UndulationCircuit(signed=False)
    for circuit in (signed, free):
        nn.utils.vector_to_parameters(wrong, circuit.parameters())
    with torch.no_grad():
        assert signed(q, 0).tolist() == [1, 0.5, -0.5]
        assert free(q, 0).tolist() == [0, 0, 0]


def test_swims_untrained_and_gradients_reach_every_weight():
    circuit, swimmer = UndulationCircuit(), Swimmer(6)
    angles = swimmer.reset(2, seed=0)
    for step in range(240):
        with torch.no_grad():
            angles = swimmer.step(circuit(torch.as_tensor(angles), step).numpy())
    assert (swimmer.centre[:, 0] < 3.0 - 2.0).all()  # the middle began at 3
    circuit(torch.tensor([0.3, -0.4, 0.2]), 0, speed=0.9, turn=0.0).square().sum().backward()
    reached = {n for n, p in circuit.named_parameters() if p.grad is not None and p.grad != 0}
    assert {"proprioception", "ipsilateral", "speed"} <= reached


def test_a_batch_of_policies_equals_one_by_one():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    rows = np.random.default_rng(0).standard_normal((5, 26))
    seen = np.random.default_rng(1).standard_normal((5, 3))
    found = policy_batch(net, rows)(seen)
    for k in range(5):
        nn.utils.vector_to_parameters(torch.as_tensor(rows[k]).float(), net.parameters())
        with torch.no_grad():
            assert np.allclose(found[k], net(torch.as_tensor(seen[k]).float()), atol=1e-5)
    with pytest.raises(InvalidArgument):
        policy_batch(net, rows[:, 1:])


def test_evolution_finds_a_maximum_and_remembers_its_seed():
    goal = np.array([0.5, -0.3, 0.8])
    course = [
        evolution_strategy(
            lambda x: -((x - goal) ** 2).sum(1), np.zeros(3), generations=80, seed=seed
        )
        for seed in (0, 0, 1)
    ]
    assert np.abs(course[0].parameters - goal).max() < 0.1
    assert course[0].rewards[-1] > -0.02 > course[0].rewards[0]
    assert np.array_equal(course[0].parameters, course[1].parameters)
    assert not np.array_equal(course[0].parameters, course[2].parameters)
    assert course[0].evaluations.tolist() == [64 * k for k in range(81)]


def test_only_the_order_of_rewards_counts():
    def reward(x):
        return -((x - 1) ** 2).sum(1)

    plain, bent = (
        evolution_strategy(how, np.zeros(2), generations=5, seed=0)
        for how in (reward, lambda x: np.tanh(reward(x) / 10) * 3)
    )
    assert np.allclose(plain.parameters, bent.parameters)


@pytest.mark.parametrize(
    "wish",
    [
        lambda: UndulationCircuit(1),
        lambda: evolution_strategy(lambda x: x[:, 0], np.zeros(2), generations=0, seed=0),
        lambda: evolution_strategy(
            lambda x: x[:, 0], np.zeros(2), generations=1, population=3, seed=0
        ),
        lambda: evolution_strategy(lambda x: x[:, 0] * np.nan, np.zeros(2), generations=1, seed=0),
    ],
)
def test_impossible_wishes(wish):
    with pytest.raises(InvalidArgument):
        wish()


def test_swims_in_mujoco():
    """The same circuit, untrained, on the Swimmer of Gymnasium: another body, with inertia."""
    gym = pytest.importorskip("gymnasium")
    pytest.importorskip("mujoco")
    circuit = UndulationCircuit()
    ways = []
    for active in (True, False):
        env = gym.make("Swimmer-v5")
        env.reset(seed=0)
        for step in range(400):
            if step == 200:  # by then it does not coast any more
                start = env.unwrapped.data.qpos[:2].copy()
            angles = np.clip(env.unwrapped.data.qpos[3:5] / 1.75, -1, 1)  # limits of 100 degrees
            with torch.no_grad():
                torque = circuit(torch.as_tensor(angles), step).numpy()
            env.step(active * torque.astype(np.float32))
        ways.append(float(np.linalg.norm(env.unwrapped.data.qpos[:2] - start)))
        env.close()
    assert ways[0] > 1
    assert ways[0] > 3 * ways[1]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_same_on_a_gpu():
    q = torch.rand(4, 5) * 2 - 1
    with torch.no_grad():
        here = UndulationCircuit()(q, 3, turn=0.2)
        there = UndulationCircuit().cuda()(q.cuda(), 3, turn=0.2).cpu()
    assert torch.allclose(here, there, atol=1e-6)

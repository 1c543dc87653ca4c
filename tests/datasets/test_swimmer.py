"""The swimmer against what is known of motion without inertia."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bregma.datasets import Swimmer, swimmer_env
from bregma.errors import InvalidArgument, UnstableSimulation


def swim(swimmer, wave, steps=120, before=0, seed=0):
    """Way of the middle in `steps` steps, after some in which a start wears off."""
    swimmer.reset(1, seed=seed)
    for t in range(before):
        swimmer.step(wave(t)[None])
    start = swimmer.centre
    for t in range(before, before + steps):
        swimmer.step(wave(t)[None])
    return (swimmer.centre - start)[0]


def travelling(joints):
    return lambda t: np.sin(2 * math.pi * (t / 60 - np.arange(joints) / joints))


def test_a_rod_that_is_pulled_obeys_the_drag():
    """A straight swimmer under a force along or across itself: velocity is force over drag."""
    swimmer = Swimmer(4, drag=(1.0, 5.0))
    swimmer.reset(1, spread=0.0, seed=0)
    resistance = swimmer.resistance()[0]
    along = np.array([1.0, 0, 0, 0, 0, 0])
    across = np.array([0, 1.0, 0, 0, 0, 0])
    assert along @ resistance @ along == pytest.approx(4 * 1.0)
    assert across @ resistance @ across == pytest.approx(4 * 5.0)
    # turning about the head as a rigid rod: the integral of c_n s^2 over a length of 4
    turning = np.array([0, 0, 1.0, 1, 1, 1])
    assert turning @ resistance @ turning == pytest.approx(5.0 * 4**3 / 3)


@settings(max_examples=15)
@given(st.integers(2, 7), st.integers(0, 100))
def test_resistance_loses_power_and_internal_torques_push_nothing(n_links, seed):
    swimmer = Swimmer(n_links)
    swimmer.reset(2, spread=0.5, seed=seed)
    resistance = swimmer.resistance()
    assert np.allclose(resistance, np.swapaxes(resistance, 1, 2))
    assert (np.linalg.eigvalsh(resistance) > 0).all()
    torque = np.random.default_rng(seed).standard_normal((2, n_links - 1))
    velocity = swimmer.velocities(torque)
    drag = np.einsum("nij,nj->ni", resistance, velocity)
    assert np.allclose(drag[:, :2], 0, atol=1e-10)  # no net force
    # no net torque either: turning everything about the head
    along = np.stack([np.cos(swimmer.heading), np.sin(swimmer.heading)], -1)
    assert np.allclose(drag[:, 2:].sum(1), 0, atol=1e-9)
    assert along.shape == (2, n_links, 2)


def test_two_links_cannot_swim():
    """Purcell's scallop: with one joint every stroke is undone by its way back."""
    beat = swim(Swimmer(2), lambda t: np.array([math.sin(2 * math.pi * t / 60)]), before=120)
    wave = swim(Swimmer(6), travelling(5), before=120)
    assert np.linalg.norm(beat) < 0.01
    assert np.linalg.norm(wave) > 0.3


def test_without_anisotropy_the_middle_stays():
    coarse, fine = (swim(Swimmer(6, drag=(1.0, 1.0), substeps=k), travelling(5)) for k in (2, 6))
    assert np.linalg.norm(coarse) < 0.03
    assert np.linalg.norm(fine) < 0.2 * np.linalg.norm(coarse)  # an error, of second order


def test_waves_to_the_tail_go_forward_and_back_again():
    there = swim(Swimmer(6), travelling(5))
    back = swim(Swimmer(6), lambda t: travelling(5)(-t))
    assert there[0] < -0.3  # the head points to negative x
    assert back[0] > 0.3


def test_integration_converges_with_its_order():
    ends = [swim(Swimmer(5, substeps=k), travelling(4), 20) for k in (2, 4, 8, 64)]
    errors = [np.linalg.norm(end - ends[-1]) for end in ends[:-1]]
    assert 3 < errors[0] / errors[1] < 6  # second order: a factor of 4
    assert 3 < errors[1] / errors[2] < 6


def test_springs_straighten_and_limits_hold():
    swimmer = Swimmer(4)
    swimmer.reset(1, spread=0.5, seed=0)
    for _ in range(250):
        swimmer.step(np.zeros((1, 3)))
    assert np.allclose(swimmer.angles, 0, atol=5e-3)
    for _ in range(100):
        swimmer.step(np.ones((1, 3)))
    bent = np.diff(swimmer.heading)[0]
    # balance of the torque with spring and limit: 3 = q + 5 (q - pi / 2)
    assert np.allclose(bent, (3 + 5 * math.pi / 2) / 6, atol=5e-3)
    assert (swimmer.angles == 1).all()


def test_swimmers_side_by_side_do_not_meet():
    swimmer, alone = Swimmer(4), Swimmer(4)
    both = swimmer.reset(3, seed=1)
    action = np.random.default_rng(0).uniform(-1, 1, (3, 3))
    alone.reset(3, seed=1)
    alone.head, alone.heading = alone.head[1:2], alone.heading[1:2]
    assert np.allclose(swimmer.step(action)[1], alone.step(action[1:2])[0])
    assert np.array_equal(both, Swimmer(4).reset(3, seed=1))


def test_environment_keeps_the_contract_of_gymnasium():
    checker = pytest.importorskip("gymnasium.utils.env_checker")
    env = swimmer_env(4, steps=20)
    checker.check_env(env, skip_render_check=True)
    first, _ = env.reset(seed=3)
    again, _ = env.reset(seed=3)
    assert np.array_equal(first, again)
    ends = [env.step(np.zeros(3))[2:4] for _ in range(20)]
    assert ends == [(False, False)] * 19 + [(False, True)]


def test_reward_is_the_way_forward():
    pytest.importorskip("gymnasium")
    env, swimmer = swimmer_env(6), Swimmer(6)
    env.reset(seed=0)
    total = sum(float(env.step(travelling(5)(t))[1]) for t in range(90))
    moved = swim(swimmer, travelling(5), 90)
    assert total * 0.05 == pytest.approx(-moved[0] / 6, abs=0.03)


@pytest.mark.parametrize(
    "wish",
    [
        lambda: Swimmer(1),
        lambda: Swimmer(3, drag=(0.0, 1.0)),
        lambda: Swimmer(3, damping=-1.0),
        lambda: Swimmer(3).step(np.zeros((1, 2))),
        lambda: swim(Swimmer(3), lambda t: np.full(2, np.nan)),
    ],
)
def test_impossible_wishes(wish):
    with pytest.raises(InvalidArgument):
        wish()


def test_steps_that_are_too_long():
    with pytest.raises(UnstableSimulation, match="smaller dt"):
        swim(Swimmer(6, dt=20.0, damping=0.0, gear=50.0), travelling(5))

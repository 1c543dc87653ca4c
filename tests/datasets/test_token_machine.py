"""The machine does what its table says, and nothing does better than its Bayes level."""

import math

import pytest
import torch

from bregma.datasets import token_machine
from bregma.errors import InvalidArgument


def test_walks_follow_the_table_and_are_written_in_digits():
    machine = token_machine(500, states=20, successors=3, steps=6, seed=1)
    now, after = machine.states[:, :-1], machine.states[:, 1:]
    assert machine.successors[now, after].all()
    assert (machine.successors.sum(1) == 3).all()
    assert (machine.successors.sum(0) == 3).all()  # all are visited equally often
    inputs, targets = machine.task.inputs, machine.task.targets
    assert torch.equal(inputs.view(500, 6, 2), machine.digits[machine.states])
    assert torch.equal(targets[:, :-1], inputs[:, 1:])
    assert (targets[:, -1] == -1).all()
    assert len({tuple(d) for d in machine.digits.tolist()}) == 20
    seen = torch.zeros(20, 20, dtype=torch.bool)
    seen[now, after] = True
    assert torch.equal(seen, machine.successors)


def guesses(machine):
    """The best answer at each place by counting successors, one place after another."""
    digits, states = machine.digits.tolist(), machine.states.tolist()
    right, surprise, n = 0.0, 0.0, 0
    for walk in states:
        for step, state in enumerate(walk):
            if step:
                may = [
                    digits[j] for j in range(len(digits)) if machine.successors[walk[step - 1], j]
                ]
            else:
                may = digits
            first, second = digits[state]
            if step:
                of_first = [sum(d[0] == digit for d in may) for digit in range(10)]
                right += of_first.index(max(of_first)) == first
                surprise -= math.log(of_first[first] / len(may))
                n += 1
            here = [d[1] for d in may if d[0] == first]
            most = max(range(10), key=here.count)
            right += most == second
            surprise -= math.log(here.count(second) / len(here))
            n += 1
    return right / n, surprise / n


def test_bayes_by_counting():
    machine = token_machine(3000, states=12, successors=4, steps=4, seed=0)
    right, surprise = guesses(machine)
    assert machine.task.best == pytest.approx(right, abs=0.01)
    assert machine.loss == pytest.approx(surprise, abs=0.02)
    asked = machine.task.targets[:, :-1].flatten()
    common = asked.bincount().max() / len(asked)
    assert machine.task.chance == pytest.approx(float(common), abs=0.01)
    certain = token_machine(10, states=9, successors=1, steps=5, seed=0)  # known after one state
    start = token_machine(10, states=9, successors=9, steps=5, seed=0)
    assert certain.loss < 0.2 * start.loss


def test_validity_of_the_machine_itself_and_of_knowing_nothing():
    machine = token_machine(40, seed=0)
    states = machine.states[:, 3]
    nothing = machine.valid(states, torch.zeros(40, 10), torch.zeros(40, 10, 10))
    torch.testing.assert_close(nothing, torch.full((40,), 5 / 100))
    joint = torch.zeros(50, 10, 10)
    joint[:, machine.digits[:, 0], machine.digits[:, 1]] = machine.successors / 5
    first, second = joint.sum(2).log(), (joint / joint.sum(2, keepdim=True).clamp_min(1e-9)).log()
    second = second.clamp_min(-1e4)
    known = machine.valid(states, first[states], second[states])
    torch.testing.assert_close(known, torch.ones(40))


def test_seeds_and_bad_input():
    one, two = (token_machine(5, seed=s) for s in (1, 2))
    assert torch.equal(one.successors, two.successors)  # the same machine, other walks
    assert not torch.equal(one.states, two.states)
    assert not torch.equal(one.successors, token_machine(5, machine_seed=1, seed=1).successors)
    for bad in ({"n": 0}, {"states": 101}, {"successors": 0}, {"successors": 51}, {"steps": 1}):
        with pytest.raises(InvalidArgument):
            token_machine(**{"n": 5, **bad}, seed=0)

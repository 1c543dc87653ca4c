"""Weights that are written down do what was written."""

from __future__ import annotations

import pytest
import torch

from bregma.errors import InvalidArgument, UnknownName
from bregma.nn import Copy, Match, WiredHead, hand_wired

SPACES = {"token": 5, "place": 6, "copied": 5, "answer": 5, "scratch": 4}
BEFORE = torch.eye(6).roll(-1, 1)
TOKENS = torch.tensor([[4, 0, 3, 1, 1, 2], [2, 2, 0, 1, 4, 3]])


def previous(target="answer", strength=100.0):
    return WiredHead([Match("place", "place", BEFORE, strength)], [Copy("token", target)])


def test_a_head_copies_what_it_looks_at():
    scores = hand_wired(SPACES, [[previous()]], seed=1)(TOKENS)
    wanted = torch.nn.functional.one_hot(TOKENS.roll(1, 1), 5).float()
    torch.testing.assert_close(scores[:, 1:], wanted[:, 1:], atol=1e-4, rtol=0)


def test_heads_go_on_where_others_ended():
    later = WiredHead([Match("place", "place", BEFORE, 100.0)], [Copy("copied", "answer")])
    scores = hand_wired(SPACES, [[previous("copied")], [later]], seed=1)(TOKENS)
    assert torch.equal(scores[:, 2:].argmax(-1), TOKENS[:, :-2])


def test_attention_is_the_softmax_of_the_terms():
    """Place t looks at its past with 1.5 for the same token and -0.5 for itself."""
    head = WiredHead(
        [Match("token", "token", None, 1.5), Match("place", "place", None, -0.5)],
        [Copy("token", "answer")],
    )
    scores = hand_wired(SPACES, [[head, None]], seed=2)(TOKENS)
    for row, tokens in zip(scores, TOKENS.tolist(), strict=True):
        for t in range(6):
            weights = torch.tensor(
                [1.5 * (tokens[t] == tokens[s]) - 0.5 * (s == t) for s in range(t + 1)]
            ).softmax(0)
            wanted = torch.zeros(5).index_add(0, torch.tensor(tokens[: t + 1]), weights)
            torch.testing.assert_close(row[t], wanted, atol=1e-5, rtol=0)


def test_weights_join_spaces_of_any_size():
    few = {"token": 5, "place": 6, "kind": 2, "answer": 5}
    kind = torch.tensor([[1.0, 0], [1, 0], [0, 1], [0, 1], [0, 1]])
    head = WiredHead([Match("place", "place", BEFORE, 100.0)], [Copy("token", "kind", kind)])
    last = WiredHead([Match("place", "place", None, 100.0)], [Copy("kind", "answer", kind.T)])
    scores = hand_wired(few, [[head], [last]], seed=0)(TOKENS)
    wanted = kind[TOKENS.roll(1, 1)] @ kind.T
    torch.testing.assert_close(scores[:, 1:], wanted[:, 1:], atol=1e-4, rtol=0)


@pytest.mark.parametrize("gain", [-0.7, 0.0, 0.4, 1.0, 1.8])
def test_perceptrons_cut_off_below_0_and_above_1(gain):
    scaled = [Copy("token", "copied", gain * torch.eye(5))]
    head = WiredHead([Match("place", "place", BEFORE, 100.0)], scaled)
    perceptron = [Copy("copied", "answer", torch.full((5, 5), 2.0))]
    scores = hand_wired(SPACES, [[head]], [perceptron], seed=0)(TOKENS)
    wanted = 2 * (torch.tensor(gain).clamp(0, 1) + 0.01 * max(gain - 1, 0)).expand(2, 5, 5)
    torch.testing.assert_close(scores[:, 1:], wanted, atol=5e-3, rtol=0)


def test_random_heads_change_nothing_but_scratch():
    alone = hand_wired(SPACES, [[previous()], [previous("copied")]], seed=3)
    both = hand_wired(SPACES, [[previous(), None], [None, previous("copied")]], seed=3)
    torch.testing.assert_close(both(TOKENS), alone(TOKENS), atol=1e-5, rtol=0)
    spread = both.blocks[1].project.weight @ both.blocks[1].project.weight.T
    assert torch.linalg.matrix_rank(spread, tol=1e-4) == 4 + 5


def test_spaces_are_at_right_angles_and_turned_by_the_seed():
    net, again, other = (hand_wired(SPACES, [[previous()]], seed=s) for s in (0, 0, 1))
    basis = torch.cat([net.embed.token, net.embed.place, net.unembed.weight])
    torch.testing.assert_close(basis @ basis.T, torch.eye(16), atol=1e-5, rtol=0)
    assert basis.abs().max() < 0.9  # no unit is a feature
    assert torch.equal(net(TOKENS), again(TOKENS))
    assert not torch.equal(net.embed.token, other.embed.token)


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: hand_wired({"token": 3, "place": 3}, [[None]], seed=0), UnknownName, "answer"),
        (lambda: hand_wired({**SPACES, "answer": 4}, [[None]], seed=0), InvalidArgument, "one ans"),
        (lambda: hand_wired({**SPACES, "copied": 0}, [[None]], seed=0), InvalidArgument, "1 feat"),
        (lambda: hand_wired(SPACES, [[None], []], seed=0), InvalidArgument, "common number"),
        (lambda: hand_wired(SPACES, [[None]], [[], []], seed=0), InvalidArgument, "2 perceptrons"),
        (lambda: hand_wired(SPACES, [[previous("copy")]], seed=0), UnknownName, "copied"),
        (lambda: hand_wired(SPACES, [[previous("place")]], seed=0), InvalidArgument, "a weight"),
        (
            lambda: hand_wired(
                SPACES,
                [[WiredHead([Match("token", "token", BEFORE)], [Copy("token", "copied")])]],
                seed=0,
            ),
            InvalidArgument,
            "does not join the 5",
        ),
        (
            lambda: hand_wired(SPACES, [[WiredHead([], [])]], seed=0),
            InvalidArgument,
            "looks and copies",
        ),
    ],
)
def test_what_is_wrong_is_said(make, error, says):
    with pytest.raises(error, match=says):
        make()

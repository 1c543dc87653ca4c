"""GRPO against the policy gradient, divergences written out, and samples by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bregma.errors import InvalidArgument
from bregma.learning import group_advantage, group_relative_loss
from bregma.run import spawn_torch


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=spawn_torch(seed, "grpo"), dtype=torch.float64)


@given(st.lists(st.lists(st.floats(-5, 5), min_size=3, max_size=3), min_size=1, max_size=5))
@settings(max_examples=30)
def test_advantages_are_standard_scores_of_a_prompt(rewards):
    reward = torch.tensor(rewards, dtype=torch.float64)
    found = group_advantage(reward, eps=1e-6)
    for row, got in zip(reward, found, strict=True):
        if (row == row[0]).all():
            assert (got == 0).all()
        else:
            want = (row - row.mean()) / (row.std(correction=0) + 1e-6)
            torch.testing.assert_close(got, want)


def test_rewards_that_are_alike_teach_nothing_even_without_eps():
    assert (group_advantage(torch.full((2, 3), 0.1), eps=0.0) == 0).all()


def test_the_loss_is_the_formula_written_out():
    new, old, reference = (0.3 * drawn(4, 3, seed=i) - 1 for i in range(3))
    advantage = drawn(4, seed=3)
    mask = torch.tensor([[1, 1, 1], [1, 1, 0], [1, 0, 0], [1, 1, 1]], dtype=torch.bool)
    found = group_relative_loss(new, old, reference, advantage, mask=mask, clip=0.1, beta=0.3)
    total = 0.0
    for i in range(4):
        terms = []
        for t in range(int(mask[i].sum())):
            rho = float((new[i, t] - old[i, t]).exp())
            gain, apart = float(advantage[i]), float(reference[i, t] - new[i, t])
            inside = min(max(rho, 0.9), 1.1)
            kl = math.exp(apart) - apart - 1
            terms.append(min(rho * gain, inside * gain) - 0.3 * kl)
        total -= sum(terms) / len(terms) / 4
    assert found.item() == pytest.approx(total, rel=1e-12)


def test_on_policy_its_gradient_is_the_policy_gradient():
    log_p = drawn(6, 1).requires_grad_()
    advantage = drawn(6, seed=1)
    loss = group_relative_loss(log_p, log_p, log_p, advantage, beta=0.0)
    (slope,) = torch.autograd.grad(loss, log_p)
    torch.testing.assert_close(slope[:, 0], -advantage / 6)


def test_beyond_the_clip_there_is_no_gradient_where_it_would_go_further():
    old = torch.zeros(4, 1, dtype=torch.float64)
    new = torch.tensor([[0.5], [0.5], [-0.5], [-0.5]], dtype=torch.float64).requires_grad_()
    gain = torch.tensor([1.0, -1.0, 1.0, -1.0], dtype=torch.float64)
    (slope,) = torch.autograd.grad(
        group_relative_loss(new, old, old, gain, clip=0.2, beta=0.0), new
    )
    assert (slope[:, 0] != 0).tolist() == [False, True, True, False]


def test_the_divergence_is_that_of_kullback_and_leibler_on_average():
    p, q = drawn(5).log_softmax(-1), drawn(5, seed=1).log_softmax(-1)
    # Every token once, weighted by its probability: the mean over samples from p.
    each = torch.stack(
        [group_relative_loss(a.view(1, 1), a.view(1, 1), b.view(1, 1), torch.zeros(1).double(),
                             beta=1.0) for a, b in zip(p, q, strict=True)]
    )  # fmt: skip
    assert (each >= 0).all()
    torch.testing.assert_close((p.exp() * each).sum(), (p.exp() * (p - q)).sum())


def test_what_is_masked_has_no_say_and_no_gradient():
    new = drawn(2, 3)
    new[1, 2] = -torch.inf
    new.requires_grad_()
    mask = torch.tensor([[True, True, True], [True, True, False]])
    loss = group_relative_loss(new, new.detach(), new.detach(), torch.ones(2).double(), mask=mask)
    (slope,) = torch.autograd.grad(loss, new)
    assert slope.isfinite().all()
    assert slope[1, 2] == 0


def test_a_policy_learns_what_is_rewarded():
    scores = torch.zeros(1, 4, requires_grad=True)
    adam, draw = torch.optim.Adam([scores], lr=0.15), spawn_torch(0, "bandit")
    for _ in range(40):
        log_p = scores.log_softmax(-1)
        answers = torch.multinomial(log_p.detach().exp(), 8, True, generator=draw)
        own = log_p.gather(1, answers).view(-1, 1)
        gain = group_advantage((answers == 2).float()).flatten()
        loss = group_relative_loss(own, own, torch.full_like(own, 0.25).log(), gain, beta=0.01)
        adam.zero_grad()
        loss.backward()
        adam.step()
    assert scores.softmax(-1)[0, 2] > 0.8


def test_it_trains_a_model_of_transformers(transformers):
    config = transformers.GPT2Config(
        n_layer=1, n_head=2, n_embd=8, vocab_size=7, n_positions=5, bos_token_id=0, eos_token_id=0
    )
    torch.manual_seed(0)
    net = transformers.GPT2LMHeadModel(config)
    said = torch.randint(7, (4, 5), generator=spawn_torch(0, "said"))
    log_p = net(said).logits[:, :-1].log_softmax(-1).gather(2, said[:, 1:, None])[..., 0]
    gain = group_advantage((said == 3).sum(1).float().view(2, 2)).flatten()
    group_relative_loss(log_p, log_p, log_p, gain).backward()
    assert net.transformer.wte.weight.grad.abs().max() > 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_cuda_gives_what_the_cpu_gives():
    given = [drawn(4, 3, seed=i) for i in range(3)]
    gain = group_advantage(drawn(2, 2, seed=4)).flatten()
    here = group_relative_loss(*given, gain)
    there = group_relative_loss(*(x.cuda() for x in given), gain.cuda())
    torch.testing.assert_close(there.cpu(), here)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"clip": 0.0}, "clip"),
        ({"clip": 1.5}, "clip"),
        ({"beta": -1.0}, "beta"),
        ({"mask": torch.tensor([[True], [False]])}, "at least one token"),
    ],
)
def test_what_makes_no_loss_is_refused(changed, says):
    x = torch.zeros(2, 1)
    with pytest.raises(InvalidArgument, match=says):
        group_relative_loss(x, x, x, torch.zeros(2), **changed)


@pytest.mark.parametrize(
    ("rewards", "says"),
    [(torch.zeros(2, 1), "2 or more"), (torch.zeros(0, 3), "2 or more"),
     (torch.tensor([[1.0, torch.nan]]), "finite")],
)  # fmt: skip
def test_rewards_that_compare_nothing_are_refused(rewards, says):
    with pytest.raises(InvalidArgument, match=says):
        group_advantage(rewards)

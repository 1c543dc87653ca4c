"""Counter-current learning: locality against autograd, and against its layers written out."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from bregma.datasets import digits
from bregma.errors import InvalidArgument
from bregma.learning import CounterCurrent, FeedbackAligned, feedback_aligned
from bregma.run import fit, minibatches, spawn_torch

SIZES = [6, 5, 4, 3]


def batch(n=7, seed=0):
    rng = spawn_torch(seed, "test")
    return torch.randn(n, 6, generator=rng), torch.randint(3, (n,), generator=rng)


def written_out(net, x, y):
    """Every layer by itself, with its inputs as constants; nothing of the class but its weights."""
    grads = {}
    activity, signal = [x], [torch.eye(3)]
    with torch.no_grad():
        for layer in list(net.ahead)[:-1]:
            activity.append(F.elu(layer(activity[-1])))
        for layer in list(net.back)[::-1]:
            signal.append(F.elu(layer(signal[-1])))
    signal = signal[::-1]  # of hidden layer 1, 2, ..., and the labels
    own = F.one_hot(y, 3).float()
    for k in range(2):
        ahead, back = net.ahead[k], net.back[k]
        a = F.elu(F.linear(activity[k], ahead.weight, ahead.bias))
        s = F.elu(F.linear(signal[k + 1], back.weight, back.bias))
        cosines = (a / a.norm(dim=1, keepdim=True)) @ (s / s.norm(dim=1, keepdim=True)).T
        loss = net.weight * (cosines - own).square().mean()
        weights = (ahead.weight, ahead.bias, back.weight, back.bias)
        names = [f"{part}.{k}.{p}" for part in ("ahead", "back") for p in ("weight", "bias")]
        grads |= dict(zip(names, torch.autograd.grad(loss, weights), strict=True))
    top = net.ahead[2]
    loss = F.cross_entropy(F.linear(activity[2], top.weight, top.bias), y)
    both = torch.autograd.grad(loss, (top.weight, top.bias))
    return grads | dict(zip(("ahead.2.weight", "ahead.2.bias"), both, strict=True))


@settings(max_examples=10)
@given(seed=st.integers(0, 1000))
def test_gradients_are_those_of_single_layers(seed):
    net, (x, y) = CounterCurrent(SIZES, seed=seed), batch(seed=seed)
    net.loss(x, y).backward()
    expected = written_out(net, x, y)
    assert set(expected) == {name for name, _ in net.named_parameters()}
    for name, p in net.named_parameters():
        torch.testing.assert_close(p.grad, expected[name], rtol=1e-4, atol=1e-6)


def test_the_loss_of_a_layer_reaches_its_own_weights_only():
    net, (x, y) = CounterCurrent(SIZES, seed=0), batch()
    for k, loss in enumerate(net.losses(x, y)):
        net.zero_grad()
        loss.backward()
        reached = {n.rpartition(".")[0] for n, p in net.named_parameters() if p.grad is not None}
        assert reached == ({f"ahead.{k}", f"back.{k}"} if k < 2 else {"ahead.2"})


def test_nothing_flows_to_the_input():
    net, (x, y) = CounterCurrent(SIZES, seed=0), batch()
    x.requires_grad_()
    net.loss(x, y).backward()
    assert x.grad is None


def test_it_learns_digits_and_the_top_alone_does_not_as_well():
    train, test = digits(seed=0)

    def accuracy(loss):
        net = CounterCurrent([64, 40, 40, 10], seed=0)
        fit(
            net,
            loss,
            minibatches(train.inputs, train.targets, size=64),
            optimizer=torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9),
            epochs=10,
            seed=0,
        )
        with torch.no_grad():
            return test.accuracy(net(test.inputs))

    whole = accuracy(lambda net, b: net.loss(*b))
    assert whole > 0.8
    assert whole > accuracy(lambda net, b: net.losses(*b)[-1])


def test_the_seed_decides():
    x, _ = batch()
    torch.manual_seed(0)
    one = CounterCurrent(SIZES, seed=1)(x)
    torch.manual_seed(1)
    assert torch.equal(one, CounterCurrent(SIZES, seed=1)(x))
    assert not torch.equal(one, CounterCurrent(SIZES, seed=2)(x))


def test_feedback_alignment_is_backpropagation_with_other_weights():
    x, y = batch()
    net = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))
    first, last = net[0], net[2]
    same = feedback_aligned(net, seed=0)
    assert same is net
    h = torch.tanh(first(x))
    torch.testing.assert_close(net(x), last(h))
    F.cross_entropy(net(x), y).backward()
    delta = (torch.softmax(last(h), 1) - F.one_hot(y, 3)) / len(x)
    back = (delta @ net[2].feedback) * (1 - h.square())
    torch.testing.assert_close(last.weight.grad, delta.T @ h, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(first.weight.grad, back.T @ x, rtol=1e-4, atol=1e-6)
    assert "feedback" not in dict(net[2].named_parameters())
    # With the layer's own weights for feedback it is backpropagation.
    net[2].feedback.copy_(last.weight.detach())
    net.zero_grad()
    F.cross_entropy(net(x), y).backward()
    found = first.weight.grad.clone()
    first.zero_grad()
    F.cross_entropy(last(torch.tanh(first(x))), y).backward()
    torch.testing.assert_close(found, first.weight.grad)


def test_feedback_is_given_once():
    net = feedback_aligned(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), seed=0)
    assert [type(part) for part in net] == [FeedbackAligned, FeedbackAligned]
    assert not torch.equal(net[0].feedback, net[1].feedback)
    with pytest.raises(InvalidArgument, match="no linear layer"):
        feedback_aligned(net, seed=1)


def test_bad_input(unchecked_types):
    x, y = batch()
    net = CounterCurrent(SIZES, seed=0)
    with pytest.raises(InvalidArgument, match="hidden layer"):
        CounterCurrent([4, 3], seed=0)
    with pytest.raises(InvalidArgument, match="do not fit 6 inputs"):
        net.loss(x[:, :5], y)
    with pytest.raises(InvalidArgument, match="do not fit"):
        net.loss(x, y[:-1])
    with pytest.raises(InvalidArgument, match="do not fit"):
        net.loss(x[:0], y[:0])
    with pytest.raises(InvalidArgument, match="not finite"):
        net.loss(torch.full_like(x, torch.nan), y)
    with pytest.raises(InvalidArgument, match="0 to 2"):
        net.loss(x, y + 3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_the_same_on_a_gpu():
    x, y = batch()
    net = CounterCurrent(SIZES, seed=0)
    here = net.loss(x, y)
    torch.testing.assert_close(net.cuda().loss(x.cuda(), y.cuda()).cpu(), here)

"""Attention over a prompt, against PyTorch's own and a step of gradient descent."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bregma.datasets import linear_prompts
from bregma.errors import InvalidArgument, UnknownName
from bregma.nn import PromptAttention


def prompts(n=7, length=12, seed=0):
    return linear_prompts(n, n_features=3, length=length, seed=seed).inputs


def test_as_multihead_attention():
    """PyTorch's heads see parts of wider vectors; each gets as many entries as ours see."""
    net, z = PromptAttention(4, heads=2, scale=0.7, seed=3).double(), prompts().double()
    peer = nn.MultiheadAttention(8, 2, bias=False, kdim=4, vdim=4, batch_first=True).double()
    with torch.no_grad():
        # Its queries are as wide as all heads together: the second half of ours is empty.
        query = torch.cat([net.query.flatten(0, 1), torch.zeros(8, 4)], 1)
        peer.q_proj_weight.copy_(query * 4**0.5)
        peer.k_proj_weight.copy_(net.key.flatten(0, 1))
        peer.v_proj_weight.copy_(net.value.flatten(0, 1))
        peer.out_proj.weight.zero_()
        peer.out_proj.weight[0] = net.out.flatten()
    asked = torch.cat([z[:, -1:], torch.zeros_like(z[:, -1:])], -1)
    want = peer(asked, z[:, :-1], z[:, :-1])[0][:, 0, 0]
    torch.testing.assert_close(net(z), want)


@pytest.mark.parametrize("kind", ["mean", "sum", "softmax"])
def test_one_step_of_gradient_descent(kind):
    """By hand: even looks, the target alone; two softmax heads that cancel, for small looks."""
    net, z = PromptAttention(4, heads=2, kind=kind).double(), prompts().double()
    even, small = torch.diag(torch.tensor([1.0, 1, 1, 0]).double()), 1e-4
    with torch.no_grad():
        net.query[:] = torch.eye(4)
        net.key[:] = torch.stack([small * even, -small * even])
        net.value[:] = torch.eye(4)
        net.out[:] = torch.tensor([[0, 0, 0, 1.0], [0, 0, 0, -1.0]]) / (2 * small)
    x, y, asked = z[:, :-1, :3], z[:, :-1, 3], z[:, -1, :3]
    if kind == "softmax":
        x = x - x.mean(1, keepdim=True)
    step = (y * (x @ asked[..., None])[..., 0]).sum(1)
    want = step if kind == "sum" else step / y.shape[1]
    torch.testing.assert_close(net(z), want, atol=1e-5, rtol=1e-4)


def test_seeds_and_errors():
    one, same, other = (PromptAttention(4, heads=2, seed=s).query for s in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    with pytest.raises(InvalidArgument, match="heads"):
        PromptAttention(4, heads=0)
    with pytest.raises(InvalidArgument, match="scale"):
        PromptAttention(4, heads=1, scale=0.0)
    with pytest.raises(UnknownName, match="softmax"):
        PromptAttention(4, heads=1, kind="sotfmax")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_gives_what_the_cpu_gives():
    net, z = PromptAttention(4, heads=2, scale=0.7), prompts()
    here = net(z)
    torch.testing.assert_close(net.cuda()(z.cuda()).cpu(), here, atol=1e-4, rtol=1e-4)

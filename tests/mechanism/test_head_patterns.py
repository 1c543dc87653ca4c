"""The matrices of heads against what the heads do, and the meters against matrices by hand."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_nets import net, of_transformers

from bregma.errors import InvalidArgument
from bregma.mechanism import diagonality, head_circuits, homogeneity, zero_sum
from bregma.mechanism.circuits._read import stream_of


def matrix(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_scores_and_writings_of_a_network():
    """From the network's own parts, without their biases."""
    model = net()
    block, heads = model.blocks[1], head_circuits(model, 1)
    x = matrix(0, 5, 16)
    q, k, v = (
        part.unflatten(-1, (2, 8)).transpose(0, 1)
        for part in (x @ block.query_key_value.weight.T).unflatten(-1, (3, 16)).unbind(1)
    )
    scores = x @ heads.look @ x.T  # (head, key, query)
    torch.testing.assert_close(scores.mT, q @ k.mT / 8**0.5, atol=1e-5, rtol=1e-4)
    written = [v[h] @ block.project.weight[:, 8 * h : 8 * h + 8].T for h in range(2)]
    torch.testing.assert_close(x @ heads.say, torch.stack(written), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_models_of_transformers(transformers, family):
    """The attention that the model reports, at one token, where nothing is turned."""
    model = of_transformers(transformers, family)
    if family == "gpt2":
        for block in model.transformer.h:
            block.attn.c_attn.bias.data.zero_()
            block.attn.c_proj.bias.data.zero_()
    heads = head_circuits(model, -1)
    attention = stream_of(model).layers[-1].attention
    x = matrix(0, 1, 1, 32)
    with torch.no_grad():
        y = attention.norm(x)
        alone = attention.write_apart(attention.read(x))[0, :, 0]  # looks at itself
        q, k = attention.query(y)[0, :, 0], attention.key(y)[0, :, 0]
    k = k.repeat_interleave(4 // len(k), 0)
    torch.testing.assert_close(y[0, 0] @ heads.say, alone, atol=1e-4, rtol=1e-3)
    want = (q * k).sum(-1) * attention.scale
    got = (y[0, 0] @ heads.look) @ y[0, 0]
    torch.testing.assert_close(got, want, atol=1e-4, rtol=1e-3)
    assert 0 <= zero_sum(heads.say) < 1


def test_other_directions():
    model, basis = net(), torch.linalg.qr(matrix(1, 16, 3))[0]
    whole, part = head_circuits(model, 2), head_circuits(model, 2, basis=basis)
    torch.testing.assert_close(part.look, basis.T @ whole.look @ basis, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(part.say, basis.T @ whole.say @ basis, atol=1e-5, rtol=1e-4)


def test_nothing_hides_in_the_gauge():
    """Keys and queries turned against each other change neither the head nor the meters."""
    model, turn = net(), torch.linalg.inv(matrix(2, 8, 8))
    before = head_circuits(model, 0)
    weight = model.blocks[0].query_key_value.weight.data
    weight[:8] = turn.T @ weight[:8]  # queries of the first head
    weight[16:24] = torch.linalg.inv(turn) @ weight[16:24]  # its keys
    torch.testing.assert_close(head_circuits(model, 0).look, before.look, atol=1e-4, rtol=1e-3)


def test_by_hand():
    assert diagonality(torch.tensor([[3.0, 0.0], [4.0, 0.0]])).item() == pytest.approx(9 / 25)
    assert homogeneity(torch.diag(torch.tensor([1.0, 3.0]))).item() == pytest.approx(4 / 5)
    assert homogeneity(torch.diag(torch.tensor([1.0, -1.0]))).item() == 0
    assert zero_sum(torch.tensor([3.0, -1.0])) == pytest.approx(0.5)
    assert zero_sum(torch.tensor([[3.0, 0.0], [0.0, 4.0]])) == pytest.approx(1 - 5 / 7)


@settings(max_examples=20)
@given(seed=st.integers(0, 999), n=st.integers(2, 6), scale=st.floats(0.1, 10))
def test_sizes_and_orders_do_not_matter(seed, n, scale):
    heads, order = matrix(seed, 3, n, n), torch.randperm(n)
    for meter in (diagonality, homogeneity):
        values = meter(heads)
        assert ((values >= 0) & (values <= 1 + 1e-6)).all()
        torch.testing.assert_close(meter(-scale * heads), values, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(meter(heads[:, order][:, :, order]), values)
    assert zero_sum(torch.cat([heads, -heads])) == pytest.approx(1, abs=1e-5)
    assert zero_sum(heads[:1]) == pytest.approx(0, abs=1e-5)


def test_chance_is_one_by_the_rows():
    heads = matrix(0, 4000, 5, 5)
    assert diagonality(heads).mean().item() == pytest.approx(0.2, abs=0.01)
    assert homogeneity(heads).mean().item() == pytest.approx(0.2, abs=0.01)


def test_errors(transformers):
    for bad in (torch.ones(2, 3), torch.ones(0, 0)):
        with pytest.raises(InvalidArgument, match="square"):
            diagonality(bad)
    for bad in (torch.zeros(2, 2), torch.full((2, 2), torch.nan)):
        with pytest.raises(InvalidArgument, match="finite"):
            homogeneity(bad)
    with pytest.raises(InvalidArgument, match="diagonal of zeros"):
        homogeneity(torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
    with pytest.raises(InvalidArgument, match="all zero"):
        zero_sum(torch.zeros(3))
    with pytest.raises(InvalidArgument, match="finite"):
        zero_sum(torch.tensor([torch.inf]))
    with pytest.raises(InvalidArgument, match="layer 3 of 3"):
        head_circuits(net(), 3)
    with pytest.raises(InvalidArgument, match="does not fit"):
        head_circuits(net(), 0, basis=torch.eye(5))
    with pytest.raises(InvalidArgument, match="normed"):
        head_circuits(of_transformers(transformers, "qwen3"), 0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_gives_what_the_cpu_gives():
    here, there = head_circuits(net(), 1), head_circuits(net().cuda(), 1)
    torch.testing.assert_close(there.look.cpu(), here.look, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(diagonality(there.say).cpu(), diagonality(here.say))

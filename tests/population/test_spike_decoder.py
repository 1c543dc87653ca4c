"""The decoder of spikes against enumeration, loops and PyTorch's own attention."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch
from torch import nn

from bregma.errors import InvalidArgument, UnknownName
from bregma.population import (
    BehaviourReadout,
    LinearTokens,
    MovieTokens,
    SpikeDecoder,
    contrastive_loss,
)
from bregma.population._token_attention import AttentionBlock
from bregma.run import fit, minibatches

N_UNITS, N_BINS, N_PAST = 2, 3, 4
PAST = torch.tensor([[1, 4, 7]])
SEEN = {"drive": torch.tensor([[[0.5, -1.0], [2.0, 0.1]]], dtype=torch.float64)}


def decoder(**settings):
    """Small, in double precision, with weights large enough that everything matters."""
    modalities = {"drive": LinearTokens(2, 2, 8)}
    net = SpikeDecoder(
        N_UNITS, N_BINS, N_PAST, 8, heads=2, layers=2, modalities=modalities, seed=1, **settings
    ).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in net.parameters():
            weight += 0.4 * torch.randn(weight.shape, generator=generator, dtype=weight.dtype)
    return net.eval()


@pytest.fixture(scope="module")
def net():
    return decoder()


def every_window():
    """All sets of spikes, as rows that end with -1."""
    n = N_UNITS * N_BINS
    rows = [list(c) for k in range(n + 1) for c in combinations(range(n), k)]
    return torch.tensor([row + [-1] * (n - len(row)) for row in rows])


def seen(n):
    return {"drive": SEEN["drive"].expand(n, -1, -1)}


def test_probabilities_of_all_windows_sum_to_1(net):
    windows = every_window()
    assert len(windows) == 64
    with torch.no_grad():
        p = net.log_likelihood(windows, PAST.expand(64, -1), seen(64)).exp()
    assert p.sum().item() == pytest.approx(1, abs=1e-12)
    assert p.std() > 0.01  # not all alike


def test_each_step_is_the_sum_over_all_windows_that_go_on_like_this(net):
    windows = every_window()
    with torch.no_grad():
        p = net.log_likelihood(windows, PAST.expand(64, -1), seen(64)).exp()
        for prefix in ([], [1], [1, 2], [0, 3]):
            begun = torch.tensor([[-1, *prefix]])
            states, _ = net.states(begun, net.surroundings(PAST, SEEN))
            step = net.scores(states[-1], begun)[0, -1].softmax(-1)
            k = len(prefix)
            same = (windows[:, :k] == torch.tensor(prefix)).all(1)
            for token in range(-1, 6):
                of_it = p[same & (windows[:, k] == token)].sum() / p[same].sum()
                assert step[token].item() == pytest.approx(of_it.item(), abs=1e-12)


def test_unit_and_bin_are_scored_by_heads_of_their_own(net):
    begun = torch.tensor([[-1, 1]])
    states, _ = net.states(begun, net.surroundings(PAST, SEEN))
    x = net.norm(states[-1][0, 1])
    unit, bin = net.to_unit(x), net.to_bin(x)
    scores = net.scores(states[-1], begun)[0, 1]
    for token in range(6):
        expected = unit[token % 2] + bin[token // 2] if token > 1 else -torch.inf
        assert scores[token].item() == pytest.approx(
            expected if expected == -torch.inf else expected.item()
        )
    assert scores[6].item() == pytest.approx(unit[2].item())


def test_later_spikes_change_nothing_before_them(net):
    around = net.surroundings(PAST, SEEN)
    a, _ = net.states(torch.tensor([[-1, 0, 3, 4]]), around)
    b, _ = net.states(torch.tensor([[-1, 0, 2, 5]]), around)
    torch.testing.assert_close(a[:, :, :2], b[:, :, :2], rtol=0, atol=1e-12)
    assert (a[-1, 0, 2] - b[-1, 0, 2]).abs().max() > 1e-3


def test_token_by_token_is_the_same_as_at_once(net):
    tokens = torch.tensor([[-1, 0, 3, 4], [-1, 1, 2, 5]])
    around = net.surroundings(PAST.expand(2, -1), seen(2))
    whole, _ = net.states(tokens, around)
    kept = None
    for place in range(4):
        one, kept = net.states(tokens[:, place : place + 1], around, kept)
        torch.testing.assert_close(one[:, :, 0], whole[:, :, place], rtol=0, atol=1e-12)


def test_padding_and_the_order_of_the_past_do_not_count(net):
    tokens, past = torch.tensor([[0, 4]]), torch.tensor([[2, 5]])
    wide = torch.tensor([[0, 4, -1, -1], [1, 2, 3, 5]])
    pasts = torch.tensor([[5, -1, 2, -1], [0, 1, 2, 7]])
    alone = net.log_likelihood(tokens, past, SEEN)
    together = net.log_likelihood(wide, pasts, seen(2))
    assert together[0].item() == pytest.approx(alone.item(), abs=1e-12)
    assert net(wide, pasts, seen(2))[0].allclose(net(tokens, past, SEEN)[0])


def test_everything_that_is_seen_counts(net):
    tokens = torch.tensor([[0, 4]])
    base = net.log_likelihood(tokens, PAST, SEEN).item()
    assert net.log_likelihood(tokens, PAST[:, :2], SEEN).item() != pytest.approx(base)
    assert net.log_likelihood(tokens, PAST + 0, {"drive": 2 * SEEN["drive"]}).item() != (
        pytest.approx(base)
    )
    nothing = torch.full((1, 0), -1)
    assert np.isfinite(net.log_likelihood(nothing, nothing, SEEN).item())


def test_a_block_is_the_attention_of_pytorch():
    block = AttentionBlock(8, 2, 0.0).double()
    peer = nn.MultiheadAttention(8, 2, batch_first=True).double()
    x, keys = torch.randn(3, 4, 8).double(), torch.randn(3, 5, 8).double()
    visible = torch.rand(3, 4, 5) > 0.3
    visible[..., 0] = True
    with torch.no_grad():
        # ours: (key and value) x head x feature; PyTorch's: query, key, value one after the other
        pair = block.key_value.weight.reshape(2, 8, 8), block.key_value.bias.reshape(2, 8)
        peer.in_proj_weight.copy_(torch.cat([block.query.weight, *pair[0]]))
        peer.in_proj_bias.copy_(torch.cat([block.query.bias, *pair[1]]))
        peer.out_proj.weight.copy_(block.write.weight)
        peer.out_proj.bias.copy_(block.write.bias)
        context = block.norm_keys(keys)
        mask = (~visible).repeat_interleave(2, 0)
        read, weights = peer(
            block.norm(x), context, context, attn_mask=mask, average_attn_weights=False
        )
        y = x + read
        expected = y + block.narrow(nn.functional.gelu(block.widen(block.norm_wide(y))))
        pairs = block.keys_values(keys)
        torch.testing.assert_close(block(x, pairs, visible), expected)
        torch.testing.assert_close(block.weights(x, pairs, visible), weights)


def test_seeds_and_dropout():
    a, b, c = (SpikeDecoder(3, 2, 2, 8, heads=2, seed=s) for s in (0, 0, 1))
    torch.manual_seed(5)
    again = SpikeDecoder(3, 2, 2, 8, heads=2, seed=0)
    for x, y, z, w in zip(*(m.parameters() for m in (a, b, again, c)), strict=True):
        assert torch.equal(x, y)
        assert torch.equal(x, z)
        assert w.ndim < 2 or not torch.equal(x, w)
    noisy = decoder(dropout=0.5)
    tokens = torch.tensor([[0, 4]])
    assert noisy.log_likelihood(tokens, PAST, SEEN) == noisy.log_likelihood(tokens, PAST, SEEN)
    noisy.train()
    assert noisy.log_likelihood(tokens, PAST, SEEN) != noisy.log_likelihood(tokens, PAST, SEEN)


def test_patches_of_a_movie_are_cut_in_order():
    tokens = MovieTokens(4, 6, 5, 3, kernel=(2, 2, 3), stride=(2, 2, 2), seed=0)
    movie = torch.randn(2, 4, 6, 5)
    found = tokens(movie)
    assert found.shape == (2, 2 * 3 * 2, 3)
    weight, number = tokens.convolve.weight[:, 0], 0
    for f in (0, 2):
        for r in (0, 2, 4):
            for c in (0, 2):
                patch = movie[:, f : f + 2, r : r + 2, c : c + 3]
                expected = torch.einsum("bfrc,kfrc->bk", patch, weight) + tokens.convolve.bias
                torch.testing.assert_close(found[:, number], expected + tokens.place[number])
                number += 1


def test_a_movie_can_be_looked_at():
    movie = MovieTokens(3, 8, 8, 16, kernel=(3, 4, 4), stride=(3, 4, 4))
    net = SpikeDecoder(5, 2, 3, 16, heads=2, modalities={"movie": movie})
    tokens, past = torch.tensor([[0, 7], [3, -1]]), torch.tensor([[2], [-1]])
    (-net.log_likelihood(tokens, past, {"movie": torch.rand(2, 3, 8, 8)}).mean()).backward()
    assert movie.convolve.weight.grad.abs().max() > 0


def test_the_contrastive_loss_is_its_sum():
    a, b = (torch.randn(4, 3, generator=torch.Generator().manual_seed(s)) for s in (0, 1))
    x, y = (m.numpy() / np.linalg.norm(m.numpy(), axis=1, keepdims=True) for m in (a, b))
    odds = np.exp(x @ y.T / 0.5)
    expected = -np.mean(
        [np.log(odds[i, i] / odds[i].sum()) + np.log(odds[i, i] / odds[:, i].sum())
         for i in range(4)]
    ) / 2  # fmt: skip
    assert contrastive_loss(a, b).item() == pytest.approx(expected, rel=1e-5)
    assert contrastive_loss(3 * a, b).item() == pytest.approx(expected, rel=1e-5)
    assert contrastive_loss(torch.ones(4, 3), b).item() == pytest.approx(np.log(4), rel=0.5)


def paired(n=64, seed=0):
    """Windows in which unit 0 or unit 1 fires, and a drive that says which."""
    rng = np.random.default_rng(seed)
    which = rng.integers(0, 2, n)
    tokens = torch.as_tensor(which[:, None] + 2 * np.arange(N_BINS))
    drive = torch.as_tensor(rng.normal(0, 0.3, (n, 2, 2)) + 2 * which[:, None, None] - 1)
    return which, tokens, torch.full((n, 0), -1), drive.float()


def test_spikes_and_what_is_seen_can_be_aligned():
    _, tokens, past, drive = paired()
    net = SpikeDecoder(
        N_UNITS, N_BINS, N_PAST, 8, heads=2, modalities={"drive": LinearTokens(2, 2, 8)}
    )

    def loss(_, batch):
        views = net.embeddings(batch[0], batch[1], {"drive": batch[2]})
        assert set(views) == {"spikes", "drive"}
        return contrastive_loss(views["spikes"], views["drive"])

    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    batches = minibatches(tokens, past, drive, size=16)
    losses = fit(net, loss, batches, optimizer=optimizer, epochs=8, seed=0)
    # Two kinds of moments: at best, each is told from the half of the others, log(16 / 2).
    assert losses[:4].mean() > losses[-4:].mean() + 0.3


def test_it_learns_what_drives_the_spikes():
    which, tokens, past, drive = paired()
    net = SpikeDecoder(
        N_UNITS, N_BINS, N_PAST, 8, heads=2, modalities={"drive": LinearTokens(2, 2, 8)}
    )
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)

    def loss(_, batch):
        return -net.log_likelihood(batch[0], batch[1], {"drive": batch[2]}).mean()

    batches = minibatches(tokens, past, drive, size=16)
    fit(net, loss, batches, optimizer=optimizer, epochs=30, seed=0)
    with torch.no_grad():
        right = net.log_likelihood(tokens, past, {"drive": drive})
        wrong = net.log_likelihood(tokens, past, {"drive": -drive})
    assert right.mean() > -0.5  # a coin would be log 2, and the end of the window costs as well
    assert (right > wrong).float().mean() > 0.95
    readout = BehaviourReadout(net)
    optimizer = torch.optim.Adam(readout.head.parameters(), lr=3e-2)
    target = torch.as_tensor(which[:, None]).float()

    def error(_, batch):
        return (readout(batch[0], batch[1], {"drive": batch[2]}) - batch[3]).square().mean()

    batches = minibatches(tokens, past, drive, target, size=16)
    before = net.to_unit.weight.clone()
    losses = fit(readout, error, batches, optimizer=optimizer, epochs=30, seed=0)
    assert losses[-4:].mean() < 0.05
    assert torch.equal(before, net.to_unit.weight)  # only the head was trained


@pytest.mark.usefixtures("unchecked_types")
def test_what_is_wrong_is_said(net):
    tokens = torch.tensor([[0, 4]])
    for wrong, word in [
        ((torch.tensor([[4, 0]]), PAST), "rise"),
        ((torch.tensor([[-1, 0]]), PAST), "rise"),
        ((torch.tensor([[0, 0]]), PAST), "rise"),
        ((torch.tensor([[6]]), PAST), "from -1 to 5"),
        ((tokens, torch.tensor([[8]])), "from -1 to 7"),
        ((tokens, PAST.expand(2, -1)), "as many pasts"),
        ((tokens[:0], PAST[:0]), "one window or more"),
    ]:
        with pytest.raises(InvalidArgument, match=word):
            net.log_likelihood(*wrong, SEEN)
    with pytest.raises(UnknownName, match="drive"):
        net.log_likelihood(tokens, PAST)
    with pytest.raises(UnknownName, match="dive"):
        net.log_likelihood(tokens, PAST, {**SEEN, "dive": SEEN["drive"]})
    with pytest.raises(InvalidArgument, match="tokens of 'drive'"):
        net.log_likelihood(tokens, PAST, seen(3))
    for settings in ({"width": 9}, {"heads": 0}, {"dropout": 1.0}, {"n_past": 0}):
        sizes = {"n_units": 2, "n_bins": 3, "n_past": 4, "width": 8, "heads": 2, **settings}
        with pytest.raises(InvalidArgument, match="heads divide the width"):
            SpikeDecoder(**sizes)
    with pytest.raises(InvalidArgument, match="take another one"):
        SpikeDecoder(2, 3, 4, 8, heads=2, modalities={"past": LinearTokens(2, 2, 8)})
    with pytest.raises(InvalidArgument, match="samples and features"):
        net.modalities["drive"](torch.zeros(1, 2, 3))
    with pytest.raises(InvalidArgument, match="1 or more"):
        LinearTokens(0, 1, 1)
    with pytest.raises(InvalidArgument, match="no patch"):
        MovieTokens(2, 8, 8, 16)
    with pytest.raises(InvalidArgument, match="a movie must be"):
        MovieTokens(3, 8, 8, 16)(torch.zeros(1, 3, 8, 9))
    with pytest.raises(InvalidArgument, match="n_outputs"):
        BehaviourReadout(net, 0)
    for a, b, temperature in [
        (torch.zeros(2, 3), torch.zeros(3, 3), 0.5),
        (torch.zeros(1, 3), torch.zeros(1, 3), 0.5),
        (torch.zeros(2, 3), torch.zeros(2, 3), 0.0),
    ]:
        with pytest.raises(InvalidArgument, match="two views"):
            contrastive_loss(a, b, temperature)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_gives_what_the_cpu_gives(net):
    windows, past = every_window(), PAST.expand(64, -1)
    cpu = net.log_likelihood(windows, past, seen(64))
    gpu = (
        decoder()
        .cuda()
        .log_likelihood(windows.cuda(), past.cuda(), {"drive": seen(64)["drive"].cuda()})
    )
    torch.testing.assert_close(gpu.cpu(), cpu)

"""What is read from a decoder's attention, against loops and by hand; and a planted drive."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bregma.errors import InvalidArgument
from bregma.population import PastAttention, SpikeDecoder, past_attention, past_influence
from bregma.population import _wiring_readouts as module

TOKENS = torch.tensor([[0, 4], [2, -1], [-1, -1], [1, 3]])
PAST = torch.tensor([[1, 3, 8], [0, -1, -1], [2, 5, -1], [-1, -1, -1]])
N = 3


def decoder(layers=2):
    net = SpikeDecoder(N, 2, 3, 8, heads=2, layers=layers, dropout=0.3, seed=2).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in net.parameters():
            weight += 0.5 * torch.randn(weight.shape, generator=generator, dtype=weight.dtype)
    return net


def test_attention_is_added_up_as_loops_do():
    net = decoder().eval()
    given, uniform = np.zeros((2, N, N, 3))
    for row in range(4):
        tokens = [t for t in TOKENS[row].tolist() if t >= 0]
        past = [t for t in PAST[row].tolist() if t >= 0]
        begun = torch.tensor([[-1, *tokens]])
        around = net.surroundings(torch.tensor([past], dtype=torch.int64).view(1, -1))
        states, _ = net.states(begun, around)
        for layer in range(2):
            block = net.others["past"][layer]
            x = states[2 + layer]
            q = block.query(block.norm(x)).view(len(tokens) + 1, 2, 4)
            k = around.keys_values[layer][0][0]  # (head, key, feature)
            for place, target in enumerate(tokens):
                for number, source in enumerate(past):
                    weight = 0.0
                    for head in range(2):
                        scores = torch.stack(
                            [q[place, head] @ k[head, i] for i in range(len(past) + 1)]
                        )
                        weight += (scores / 4**0.5).softmax(0)[number + 1].item() / 2
                    given[target % N, source % N, source // N] += weight
                    uniform[target % N, source % N, source // N] += 1 / (len(past) + 1)
    found = past_attention(net, TOKENS, PAST)
    np.testing.assert_allclose(found.given, given, atol=1e-12)
    np.testing.assert_allclose(found.uniform, uniform, atol=1e-12)


def test_normalisations_by_hand():
    given = torch.tensor([[[0.6, 0.1], [0.2, 0.0]], [[0.3, 0.0], [0.0, 0.0]]])
    uniform = torch.tensor([[[0.3, 0.1], [0.1, 0.1]], [[0.1, 0.1], [0.0, 0.0]]])
    found = PastAttention(given, uniform)
    expected = torch.tensor([[0.7 / 0.4, 0.2 / 0.2], [0.3 / 0.2, 1.0]])  # the last pair never met
    torch.testing.assert_close(found.per_pair(), expected)
    young, old = 1.1 / 0.5, 0.1 / 0.3  # what spikes of an age get
    expected = torch.tensor(
        [
            [0.7 / (0.3 * young + 0.1 * old), 0.2 / (0.1 * young + 0.1 * old)],
            [0.3 / (0.1 * young + 0.1 * old), 1.0],
        ]
    )
    torch.testing.assert_close(found.per_pair_and_age(), expected)


def test_whoever_looks_at_everything_alike_shows_nothing():
    net = decoder()
    for block in net.others["past"]:
        torch.nn.init.zeros_(block.query.weight)
        torch.nn.init.zeros_(block.query.bias)
    found = past_attention(net, TOKENS, PAST)
    torch.testing.assert_close(found.per_pair(), torch.ones(N, N).double())
    torch.testing.assert_close(found.per_pair_and_age(), torch.ones(N, N).double())


def test_a_preference_for_recent_spikes_is_no_wiring():
    """Keys that know their age alone: pairs that follow each other stand out, but not by age."""
    net = decoder(layers=1)
    torch.nn.init.zeros_(net.unit.weight)
    rng = np.random.default_rng(0)
    source = rng.integers(0, 3, (400, 1))  # unit 0, 1 or 2 has fired
    age = np.where(source == 0, 0, rng.integers(0, 3, (400, 1)))  # unit 0 just now
    past = torch.as_tensor(age * N + source)
    tokens = torch.full((400, 1), 1)
    found = past_attention(net, tokens, past)
    assert found.per_pair()[1].std() > 0.02
    torch.testing.assert_close(found.per_pair_and_age()[1], torch.ones(N).double())


def test_influence_is_the_change_of_log_odds():
    net = decoder().eval()
    expected, times = np.zeros((N, N)), np.zeros(N)

    def log_odds(past):
        begun = torch.tensor([[-1]])
        around = net.surroundings(torch.tensor([past], dtype=torch.int64).view(1, -1))
        p = net.scores(net.states(begun, around)[0][-1], begun)[0, 0].softmax(-1)
        return np.array([torch.log((p[u] + p[N + u]) / p[-1]).item() for u in range(N)])

    for row in PAST.tolist():
        past = [t for t in row if t >= 0]
        for unit in range(N):
            rest = [t for t in past if t % N != unit]
            if len(rest) < len(past):
                expected[:, unit] += log_odds(past) - log_odds(rest)
                times[unit] += 1
    found = past_influence(net, TOKENS, PAST)
    np.testing.assert_allclose(found, expected / times, atol=1e-10)


def test_slices_and_modes_change_nothing(monkeypatch):
    net = decoder().train()
    whole = past_attention(net, TOKENS, PAST).given, past_influence(net, TOKENS, PAST)
    assert net.training
    monkeypatch.setattr(module, "SLICE", 2)
    parts = past_attention(net, TOKENS, PAST).given, past_influence(net, TOKENS, PAST)
    for a, b in zip(whole, parts, strict=True):
        torch.testing.assert_close(a, b)


def test_a_planted_drive_is_found():
    """Unit 1 fires where unit 0 has; unit 2 fires by itself."""
    generator = torch.Generator().manual_seed(0)
    n = 512
    has, own = torch.rand(n, generator=generator) < 0.5, torch.rand(n, generator=generator) < 0.5
    past = torch.stack([torch.where(has, 3, -1), torch.where(own, 2, -1)], 1)
    fires = torch.rand(n, generator=generator) < torch.where(has, 0.9, 0.1)
    tokens = torch.where(fires, 1, -1)[:, None]
    net = SpikeDecoder(3, 1, 2, 16, heads=2, seed=0)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        (-net.log_likelihood(tokens, past).mean()).backward()
        optimizer.step()
    found = past_influence(net, tokens, past)
    assert found[1, 0].item() == pytest.approx(2 * np.log(9), abs=1)  # log-odds of 0.9 - of 0.1
    assert abs(found[1, 2]) < 0.8


@pytest.mark.usefixtures("unchecked_types")
def test_what_is_wrong_is_said():
    net = decoder()
    for read in (past_attention, past_influence):
        with pytest.raises(InvalidArgument, match="as many, 1 or more"):
            read(net, TOKENS[:0], PAST[:0])
        with pytest.raises(InvalidArgument, match="as many, 1 or more"):
            read(net, TOKENS, PAST[:2])
        with pytest.raises(InvalidArgument, match="from -1 to 8"):
            read(net, TOKENS, PAST + 5)

"""Scores of dictionaries against plain formulas, and splicing into a network by hand."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from bregma import TorchSystem
from bregma.errors import InvalidArgument, NotIdentifiable
from bregma.mechanism import (
    LossRecovered,
    ReLUCode,
    SparseAutoencoder,
    TopKCode,
    loss_recovered,
    match_features,
    score_dictionary,
)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_scores_by_their_formulas():
    sae = SparseAutoencoder(6, 15, ReLUCode(0.1), seed=0)
    with torch.no_grad():
        sae.encoder.bias[:4] = -100.0
        sae.bias.fill_(39.0)
    x = normal(9000, 6) * 2 + 40  # three pieces; far from 0, where naive sums of squares fail
    found = score_dictionary(sae, x, batch_size=500)
    z, y = sae.encode(x).detach().numpy(), sae(x).detach().double().numpy()
    given = x.double().numpy()
    assert found.l0 == pytest.approx((z > 0).sum(1).mean())
    spread = np.square(given - given.mean(0)).sum()
    assert found.fvu == pytest.approx(np.square(given - y).sum() / spread, rel=1e-6)
    assert found.dead == 4 / 15
    np.testing.assert_allclose(found.density, (z > 0).mean(0))
    assert found.n_samples == 9000


def test_scores_of_constant_activity_do_not_exist():
    sae = SparseAutoencoder(6, 15, ReLUCode(0.1), seed=0)
    with pytest.raises(NotIdentifiable, match="no variance"):
        score_dictionary(sae, torch.ones(10, 6))
    with pytest.raises(InvalidArgument, match="several"):
        score_dictionary(sae, {"a": torch.ones(10, 6), "b": torch.ones(10, 6)})


def test_matching_against_all_permutations():
    for seed in range(5):
        a, b = (normal(5, 3, seed=seed + add).double().numpy() for add in (0, 50))
        cosine = (b / np.linalg.norm(b, axis=1)[:, None]) @ (
            a / np.linalg.norm(a, axis=1)[:, None]
        ).T
        for signed, table in ((True, cosine), (False, np.abs(cosine))):
            best = max(sum(table[i, p[i]] for i in range(5)) for p in permutations(range(5)))
            found = match_features(a, b, signed=signed)
            assert found.cosine.sum() == pytest.approx(best)
            assert found.mean == pytest.approx(best / 5)
            np.testing.assert_allclose(found.cosine, table[np.arange(5), found.index])


def test_fewer_features_than_the_truth_has():
    found = match_features(torch.eye(4)[:2], torch.eye(4))
    assert found.index.tolist() == [0, 1, -1, -1]
    assert found.share() == 0.5
    assert found.mean == 0.5
    for a, b in ((torch.eye(3), torch.eye(4)), (torch.eye(3), torch.zeros(3, 3))):
        with pytest.raises(InvalidArgument):
            match_features(a, b)


class Block(torch.nn.Module):
    """x + MLP(x), and a read-out: tokens in, logits out."""

    def __init__(self):
        super().__init__()
        self.embed = torch.nn.Embedding(11, 8)
        self.mlp = torch.nn.Sequential(
            torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 8)
        )
        self.head = torch.nn.Linear(8, 11)

    def forward(self, tokens, instead=None):
        x = self.embed(tokens)
        return self.head(x + (self.mlp(x) if instead is None else instead(x)))


@pytest.fixture
def net():
    torch.manual_seed(0)
    net = Block()
    tokens = torch.randint(11, (40, 6))
    adam = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(150):  # the next token is this one times two
        adam.zero_grad()
        cross_entropy(net(tokens).flatten(0, 1), (2 * tokens % 11).flatten()).backward()
        adam.step()
    return net.eval(), tokens


def mean_loss(net, tokens, instead=None):
    with torch.no_grad():
        logits = net(tokens, instead)
    return cross_entropy(logits.flatten(0, 1), (2 * tokens % 11).flatten()).item()


@pytest.mark.parametrize("kind", ["transcoder", "autoencoder"])
def test_splicing_is_what_a_network_with_another_part_would_do(net, kind):
    net, tokens = net
    wanted = (2 * tokens % 11).numpy()

    def loss(out):
        logits = torch.from_numpy(out.values).reshape(-1, 6, 11)
        right = torch.from_numpy(wanted[out.stimuli.astype(int)])
        return cross_entropy(logits.transpose(1, 2), right, reduction="none").mean(1).numpy()

    if kind == "transcoder":
        other = SparseAutoencoder(8, 20, TopKCode(3), n_outputs=8, seed=0)
        inputs, instead = "mlp.input", other
    else:
        other = SparseAutoencoder(8, 20, TopKCode(3), seed=0)
        inputs, instead = None, lambda x: other(net.mlp(x))
    found = loss_recovered(
        TorchSystem(net, "head"), tokens.numpy(), other, "mlp", loss, inputs=inputs, size=7
    )
    assert found.full == pytest.approx(mean_loss(net, tokens), rel=1e-5)
    assert found.spliced == pytest.approx(mean_loss(net, tokens, instead), rel=1e-5)
    assert found.zero == pytest.approx(mean_loss(net, tokens, torch.zeros_like), rel=1e-5)
    share = (found.zero - found.spliced) / (found.zero - found.full)
    assert found.recovered == pytest.approx(share)
    assert found.recovered < 1


def test_the_whole_part_recovers_everything(net):
    net, tokens = net

    def loss(out):
        return (out.values**2).mean(1)

    found = loss_recovered(
        TorchSystem(net, "head"), tokens.numpy(), net.mlp, "mlp", loss, inputs="mlp.input"
    )
    assert found.spliced == pytest.approx(found.full, rel=1e-6)


def test_bad_splices(net):
    net, tokens = net
    system, tokens = TorchSystem(net, "head"), tokens.numpy()
    same = torch.nn.Identity()
    with pytest.raises(InvalidArgument, match="one finite number for each"):
        loss_recovered(system, tokens, same, "mlp", lambda out: out.values)
    with pytest.raises(InvalidArgument, match="gives the shape"):
        loss_recovered(system, tokens, torch.nn.Linear(8, 3), "mlp", lambda out: out.values.mean(1))
    with pytest.raises(InvalidArgument, match="size"):
        loss_recovered(system, tokens, same, "mlp", lambda out: out.values.mean(1), size=0)
    line = TorchSystem(torch.nn.Sequential(torch.nn.Conv1d(2, 3, 3), torch.nn.Flatten()), "1")
    with pytest.raises(InvalidArgument, match="channels last"):
        loss_recovered(
            line, np.ones((3, 2, 8), np.float32), same, "0", lambda out: out.values.mean(1)
        )
    with pytest.raises(NotIdentifiable, match="does not need it"):
        _ = LossRecovered(full=1.0, spliced=1.0, zero=0.9).recovered

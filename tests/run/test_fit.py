"""The training loop learns, is deterministic, and goes on bit for bit after an interruption."""

import subprocess
import sys
from pathlib import Path

import in_parallel
import numpy as np
import pytest
import torch
from torch import nn

from bregma.errors import BregmaError, InvalidArgument, UnknownName
from bregma.run import Checkpoint, derive, fit, minibatches, spawn_torch
from bregma.run._parallel import Team

EPOCHS, STEPS = 4, 5  # 4 epochs of 5 batches


def data():
    generator = spawn_torch(0, "data")
    x = torch.randn(50, 6, generator=generator)
    return x, (x[:, 0] > 0).long()


def network():
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.ReLU(), nn.Linear(8, 2)
        )


def loss(module, batch):
    return nn.functional.cross_entropy(module(batch[0]), batch[1])


def train(module, how=torch.optim.Adam, loss=loss, epochs=EPOCHS, seed=0, **more):
    optimizer = how(module.parameters(), lr=0.01)
    batches = minibatches(*data(), size=10)
    return fit(module, loss, batches, optimizer=optimizer, epochs=epochs, seed=seed, **more)


def same(a, b):
    return all(torch.equal(value, b.state_dict()[name]) for name, value in a.state_dict().items())


def test_it_learns_and_leaves_the_mode():
    module = network().eval()
    losses = train(module, epochs=60)
    assert losses.shape == (300,)
    assert losses[-20:].mean() < 0.6 * losses[:20].mean()
    assert not module.training


def test_global_generators_neither_matter_nor_change():
    a, b = network(), network()
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = train(a)
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(2)
    second = train(b)
    assert np.array_equal(first, second)
    assert same(a, b)
    assert not np.array_equal(first, train(network(), seed=1))


@pytest.mark.parametrize("how", [torch.optim.Adam, torch.optim.SGD])
@pytest.mark.parametrize("stop", [0, 1, 3, 7, 13, 19])
def test_interrupted_anywhere_ends_with_the_same_bits(tmp_path, stop, how):
    whole = network()
    expected = train(whole, how)
    calls = 0

    def interrupting(module, batch):
        nonlocal calls
        calls += 1
        if calls == stop + 1:
            raise KeyboardInterrupt
        return loss(module, batch)

    path = tmp_path / "run.pt"
    module = network()
    with pytest.raises(KeyboardInterrupt):
        train(module, how, interrupting, checkpoint=path, every=2)
    # once in the same process, with the half-trained module, once in a new one
    for again in (module, network()):
        copy = tmp_path / "copy.pt"
        copy.write_bytes(path.read_bytes())
        got = train(again, how, checkpoint=copy, every=2)
        assert np.array_equal(got, expected)
        assert same(again, whole)


def test_little_is_done_twice(tmp_path):
    path, calls = tmp_path / "run.pt", 0

    def counting(module, batch):
        nonlocal calls
        calls += 1
        if calls == 14:
            raise KeyboardInterrupt
        return loss(module, batch)

    with pytest.raises(KeyboardInterrupt):
        train(network(), loss=counting, checkpoint=path, every=2)
    train(network(), loss=counting, checkpoint=path, every=2)
    assert calls == 14 + EPOCHS * STEPS - 12  # 12 steps were saved: two epochs and two steps


def test_a_finished_run_is_only_loaded_and_can_be_prolonged(tmp_path):
    path, module = tmp_path / "run.pt", network()
    first = train(module, checkpoint=Checkpoint(path))
    again = network()

    def never(module, batch):
        raise AssertionError

    assert np.array_equal(train(again, loss=never, checkpoint=path), first)
    assert same(again, module)
    longer = network()
    expected = train(longer, epochs=EPOCHS + 2)
    assert np.array_equal(train(again, epochs=EPOCHS + 2, checkpoint=path), expected)
    assert same(again, longer)


def test_a_checkpoint_of_something_else(tmp_path):
    path = tmp_path / "run.pt"
    train(network(), checkpoint=path)
    with pytest.raises(InvalidArgument, match="seed 0, not 1"):
        train(network(), checkpoint=path, seed=1)
    with pytest.raises(InvalidArgument, match="another module"):
        train(nn.Linear(6, 2), checkpoint=path)
    Checkpoint(path).save({"seed": 0})
    with pytest.raises(InvalidArgument, match="another module"):
        train(network(), checkpoint=path)


def test_a_loss_that_explodes_is_an_error():
    with pytest.raises(BregmaError, match="epoch 0, step 0"):
        train(network(), loss=lambda module, batch: loss(module, batch) * float("inf"))


@pytest.mark.parametrize(
    ("tensors", "size"), [((), 2), ((torch.zeros(3), torch.zeros(4)), 2), ((torch.zeros(0),), 2)]
)
def test_tensors_that_do_not_belong_together(tensors, size):
    with pytest.raises(InvalidArgument, match="common length"):
        minibatches(*tensors, size=size)


def test_minibatches_go_through_everything_once():
    epoch = minibatches(torch.arange(23), 10 * torch.arange(23), size=4)
    batches = list(epoch(torch.Generator().manual_seed(derive(0, "x"))))
    a, b = (torch.cat(parts) for parts in zip(*batches, strict=True))
    assert torch.equal(a.sort().values, torch.arange(23))
    assert torch.equal(b, 10 * a)
    with pytest.raises(InvalidArgument, match="1 or more"):
        minibatches(torch.arange(3), size=0)


def test_two_processes_do_the_steps_of_one(tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
    script = Path(__file__).with_name("in_parallel.py")
    subprocess.run([*command, script, tmp_path], check=True, timeout=300)
    with torch.random.fork_rng([]):
        losses, weights = in_parallel.train(0)
    for rank in (0, 1):
        got = np.load(tmp_path / f"{rank}.npz")
        assert np.allclose(got["losses"], losses, rtol=1e-5)
        assert np.allclose(got["weights"], weights, rtol=1e-4, atol=1e-6)
        assert len(got["stopped"]) == len(losses) / 3


def test_it_ends_early_and_stays_ended(tmp_path):
    module, epochs = network(), iter(range(10))
    losses = train(module, epochs=10, until=lambda: next(epochs) == 2, checkpoint=tmp_path / "a")
    assert len(losses) == 3 * STEPS
    again = network()
    assert np.array_equal(train(again, epochs=10, checkpoint=tmp_path / "a"), losses)
    assert same(again, module)


def test_half_precision_computes_in_half_and_keeps_weights(tmp_path):
    seen = set()

    def watching(module, batch):
        output = module(batch[0])
        seen.add(output.dtype)
        return nn.functional.cross_entropy(output.float(), batch[1])

    module = network()
    losses = train(module, loss=watching, precision="bfloat16", epochs=60)
    assert seen == {torch.bfloat16}
    assert {p.dtype for p in module.parameters()} == {torch.float32}
    assert losses[-20:].mean() < 0.6 * losses[:20].mean()
    with pytest.raises(UnknownName, match="float16"):
        train(module, precision="float16")


def test_what_several_processes_cannot_share():
    team = Team(rank=1, size=2)
    batch = {"x": torch.arange(5), "more": (torch.arange(5) * 2, [torch.arange(5)])}
    mine, weight = team.share(batch)
    assert mine["x"].tolist() == [2, 3, 4]
    assert mine["more"][0].tolist() == [4, 6, 8]
    assert weight == 3 / 5
    with pytest.raises(InvalidArgument, match="too small for 2"):
        team.share(torch.zeros(1))
    with pytest.raises(InvalidArgument, match="holds a str"):
        team.share((torch.zeros(4), "label"))

"""Reasoning in segments against gradients, targets and blocks that are written out."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from bregma import Stimuli, TorchSystem
from bregma.errors import InvalidArgument
from bregma.nn import (
    Attempt,
    OneTimescale,
    PostNormTransformer,
    Reasoner,
    Segment,
    TwoTimescale,
    adaptive_supervision,
    deep_supervision,
    halting_loss,
    segment_loss,
    solved,
    think_until_halt,
)
from bregma.run import fit, minibatches

B, N, D = 3, 6, 8


def stack(seed, blocks=1):
    return PostNormTransformer(D, heads=2, blocks=blocks, seed=seed)


def model(core=None, seed=0):
    core = core or TwoTimescale(stack(0), stack(1))
    return Reasoner(core, width=D, length=N, n_tokens=4, n_answers=3, seed=seed)


def tokens(seed=0, n=B):
    return torch.randint(0, 4, (n, N), generator=torch.Generator().manual_seed(seed))


def gradients(module, loss):
    return torch.autograd.grad(loss, list(module.parameters()))


@pytest.mark.parametrize(("cycles", "steps"), [(1, 1), (2, 2), (3, 1), (2, 4)])
def test_the_gradient_is_that_of_the_truncated_graph(cycles, steps):
    generator = torch.Generator().manual_seed(1)
    core = TwoTimescale(stack(0), stack(1), cycles=cycles, steps=steps).double()
    slow, fast, x = torch.randn(3, B, N, D, generator=generator, dtype=torch.float64)
    found, _ = core((slow, fast), x)
    updates = ["f" if k % (steps + 1) else "s" for k in range(1, cycles * (steps + 1) + 1)]
    for number, which in enumerate(updates):
        last_two = number >= len(updates) - 2
        if which == "f":
            fast = core.fast(fast, slow + x)
        else:
            slow = core.slow(slow, fast)
        if not last_two:  # the graph is cut by hand, after each update on its own
            slow, fast = slow.detach(), fast.detach()
    torch.testing.assert_close(found, slow, rtol=1e-12, atol=1e-12)
    mine, oracle = (gradients(core, z.pow(3).sum()) for z in (found, slow))
    for a, b in zip(mine, oracle, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_through_all_updates_it_is_backpropagation():
    x, slow, fast = torch.randn(3, B, N, D, generator=torch.Generator().manual_seed(2)).double()
    core = TwoTimescale(stack(0), stack(1), one_step=False).double()
    found, _ = core((slow, fast), x)
    for _ in range(2):
        fast = core.fast(core.fast(fast, slow + x), slow + x)
        slow = core.slow(slow, fast)
    mine, oracle = (gradients(core, z.pow(3).sum()) for z in (found, slow))
    for a, b in zip(mine, oracle, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    core.one_step = True
    cut = gradients(core, core((slow.detach(), fast.detach()), x)[0].pow(3).sum())
    assert any((a - b).abs().max() > 1e-3 for a, b in zip(cut, oracle, strict=True))


class Leak(nn.Module):
    """z -> a z + injection: its fixed point and the derivative of that are known."""

    def __init__(self, a):
        super().__init__()
        self.a = nn.Parameter(torch.tensor(a, dtype=torch.float64))

    def forward(self, z, injection):
        return self.a * z + injection


@given(st.floats(-0.8, 0.8))
def test_at_a_fixed_point_one_step_stands_for_the_inverse(a):
    leak, one = Leak(a), torch.ones((), dtype=torch.float64)
    (z,) = OneTimescale(leak, steps=400)((0 * one,), one)
    assert z.item() == pytest.approx(1 / (1 - a))
    (slope,) = torch.autograd.grad(z, leak.a)  # of the fixed point: z / (1 - a)
    assert slope.item() == pytest.approx(1 / (1 - a))  # that with 1 for 1 / (1 - a)


def test_memory_does_not_grow_with_the_number_of_updates():
    def kept(cycles):
        sizes = []
        core = TwoTimescale(stack(0), stack(1), cycles=cycles, steps=3)
        with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, id):
            core((torch.ones(B, N, D), torch.ones(B, N, D)), torch.ones(B, N, D))
        return sum(sizes)

    assert kept(1) == kept(5) > 0


def test_a_block_is_attention_and_swiglu_of_pytorch():
    block = stack(3).double()
    part = block.blocks[0]
    z, x = torch.randn(2, B, N, D, generator=torch.Generator().manual_seed(3)).double()
    attention = nn.MultiheadAttention(D, 2, bias=False, batch_first=True).double()
    with torch.no_grad():
        attention.in_proj_weight.copy_(part.qkv.weight)
        attention.out_proj.weight.copy_(part.mixed.weight)
        h = z + x
        h = h + attention(h, h, h)[0]
        h = h / (h.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt()
        gate, up = (h @ part.gate_up.weight.T).split(round(4 * D * 2 / 3), -1)
        h = h + (gate / (1 + torch.exp(-gate)) * up) @ part.down.weight.T
        h = h / (h.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt()
        torch.testing.assert_close(block(z, x), h, rtol=1e-10, atol=1e-10)


@given(st.permutations(range(N)), st.integers(1, 3))
@settings(max_examples=10)
def test_the_order_of_tokens_has_no_meaning_to_a_stack(order, blocks):
    z, x = torch.randn(2, B, N, D, generator=torch.Generator().manual_seed(4)).double()
    f = stack(5, blocks).double()
    torch.testing.assert_close(f(z[:, order], x[:, order]), f(z, x)[:, order])


def test_segments_go_on_from_detached_states():
    reasoner, x = model(), tokens()
    attempt = Attempt(x, x % 3, most=3)
    losses = [segment_loss(reasoner, attempt) for _ in range(3)]
    assert attempt.segment == 3
    assert not any(z.requires_grad for z in attempt.state)
    thoughts = list(reasoner.think(x, segments=3))
    for loss, thought in zip(losses, thoughts, strict=True):
        assert not thought.logits.requires_grad
        expected = -F.log_softmax(thought.logits, -1).gather(-1, (x % 3)[..., None]).mean()
        torch.testing.assert_close(loss.detach(), expected)
    for a, b in zip(attempt.state, thoughts[-1].state, strict=True):
        torch.testing.assert_close(a, b)
    # No derivative reaches an earlier segment: each graph can be freed by itself.
    for loss in losses:
        loss.backward()


def test_places_without_a_question_do_not_count():
    reasoner, x = model(), tokens()
    targets = torch.full_like(x, -1)
    targets[0, 2] = 1
    logits = reasoner(x).logits
    loss = segment_loss(reasoner, Attempt(x, targets, most=1))
    torch.testing.assert_close(loss, -F.log_softmax(logits[0, 2], -1)[1])
    logits = torch.tensor([[[0.0, 1.0], [1.0, 0.0]]])
    assert solved(logits, torch.tensor([[1, -1]])).tolist() == [True]
    assert solved(logits, torch.tensor([[1, 1]])).tolist() == [False]


def test_one_update_per_segment():
    reasoner, x = model(), tokens(n=10)
    batches = deep_supervision(minibatches(x, x % 3, size=4), segments=3)
    seen = [attempt.tokens for attempt in batches(torch.Generator().manual_seed(0))]
    assert [len(t) for t in seen] == [4, 4, 4, 4, 4, 4, 2, 2, 2]
    optimizer = torch.optim.SGD(reasoner.parameters(), lr=0.1)
    losses = fit(reasoner, segment_loss, batches, optimizer=optimizer, epochs=2, seed=0)
    assert len(losses) == 18


class Told(nn.Module):
    """A reasoner whose halting values are told: one row per segment, (halt, go on)."""

    def __init__(self, values, logits):
        super().__init__()
        self.values, self.logits = torch.tensor(values), logits

    def forward(self, tokens, state=None):
        number = torch.zeros(len(tokens)) if state is None else state[0]
        halt = self.values[number.long().clamp(max=len(self.values) - 1), tokens[:, 0]]
        return Segment(self.logits[: len(tokens)], halt, (number + 1,))


def bce(logit, target):
    p = 1 / (1 + math.exp(-logit))
    return -target * math.log(p) - (1 - target) * math.log(1 - p)


def test_values_of_halting_by_hand():
    # values[segment][kind of example]: the first token says which kind an example is.
    values = [[[2.0, 1.0], [0.0, 0.5]], [[-1.0, 3.0], [1.5, 0.2]], [[0.3, 0.9], [0.1, 0.4]]]
    logits = torch.tensor([[[5.0, 0.0]], [[0.0, 5.0]]])  # answers 0 and 1
    x, y = torch.tensor([[0], [1]]), torch.tensor([[0], [0]])  # the first one is right
    reasoner = Told(values, logits)
    attempt = Attempt(x, y, most=2, least=torch.tensor([1, 1]))
    loss = halting_loss(reasoner, attempt)
    answers = (-math.log(1 / (1 + math.exp(-5))) - math.log(1 / (1 + math.exp(5)))) / 2
    on = [1 / (1 + math.exp(-3.0)), 1 / (1 + math.exp(-1.5))]  # the larger value of the next one
    expected = bce(2.0, 1) + bce(1.0, on[0]) + bce(0.0, 0) + bce(0.5, on[1])
    assert loss.item() == pytest.approx(answers + expected / 4, rel=1e-5)
    assert attempt.tokens.tolist() == [[1]]  # the first one halted: 2.0 > 1.0
    assert len(attempt.state[0]) == len(attempt.targets) == len(attempt.least) == 1
    loss = halting_loss(reasoner, attempt)  # the last segment: only halting may follow
    expected = bce(1.5, 1) + bce(0.2, 1 / (1 + math.exp(-0.1)))
    assert loss.item() == pytest.approx(-math.log(1 / (1 + math.exp(-5))) + expected / 2, rel=1e-5)
    held = Attempt(x, y, most=3, least=torch.tensor([2, 1]))
    halting_loss(reasoner, held)
    assert held.tokens.tolist() == [[0], [1]]  # wants to halt, but has to stay


def test_each_example_stops_by_itself():
    values = [[[2.0, 1.0], [0.0, 0.5]], [[0.0, 3.0], [0.0, 0.2]], [[0.3, 0.9], [0.7, 0.4]]]
    x = torch.tensor([[0], [1]])
    logits, used = think_until_halt(Told(values, torch.zeros(2, 1, 2)), x, most=5)
    assert used.tolist() == [1, 3]
    assert logits.shape == (2, 1, 2)
    assert think_until_halt(Told(values, torch.zeros(2, 1, 2)), x, most=2)[1].tolist() == [1, 2]


def test_a_share_of_examples_has_to_stay():
    x = torch.zeros(400, 1).long()
    batches = adaptive_supervision(minibatches(x, x, size=400), most=4, explore=0.3)
    attempt = next(iter(batches(torch.Generator().manual_seed(0))))
    assert 0.2 < (attempt.least > 1).float().mean() < 0.4
    assert set(attempt.least.tolist()) == {1, 2, 3, 4}


def test_it_learns_to_stop():
    x = tokens(n=64)
    targets = x.clamp(max=2)
    reasoner = model()
    batches = adaptive_supervision(minibatches(x, targets, size=32), most=4)
    optimizer = torch.optim.Adam(reasoner.parameters(), lr=0.02)
    losses = fit(reasoner, halting_loss, batches, optimizer=optimizer, epochs=25, seed=0)
    logits, used = think_until_halt(reasoner, x, most=4)
    assert solved(logits, targets).float().mean() > 0.9
    assert used.float().mean() < 2  # an easy task
    assert len(losses) < 25 * 2 * 4  # batches ended early


def test_same_seed_same_model_and_states_are_kept():
    first, again, other = model(), model(), model(seed=1)
    for a, b in zip(first.state_dict().values(), again.state_dict().values(), strict=True):
        assert (a == b).all()
    assert (first.initial != other.initial).any()
    assert "initial" not in dict(first.named_parameters())
    other.load_state_dict(first.state_dict())
    assert (other(tokens()).logits == first(tokens()).logits).all()
    before = torch.get_rng_state()
    model(OneTimescale(stack(7, 2)))
    assert (torch.get_rng_state() == before).all()


def test_its_states_are_recorded_like_any_other_layer():
    reasoner, x = model(), tokens(n=5)
    system = TorchSystem(reasoner, ["core.slow#0", "core.slow#1", "core.fast#3"])
    recording = system.record(Stimuli(x.numpy(), kind="array"))
    slow = recording.values[:, recording.units["layer"] == "core.slow#1"]
    expected = reasoner(x).state[0].detach().numpy().reshape(5, -1)
    assert slow.shape == expected.shape
    assert abs(slow - expected).max() < 1e-6


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_a_gpu_gives_the_same():
    x = tokens()
    for core in (TwoTimescale(stack(0), stack(1)), OneTimescale(stack(2))):
        cpu, gpu = model(core)(x), model(core).cuda()(x.cuda())
        torch.testing.assert_close(gpu.logits.cpu(), cpu.logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: PostNormTransformer(6, heads=4, seed=0), "multiple of 4 heads"),
        (lambda: PostNormTransformer(8, blocks=0, seed=0), "0 blocks"),
        (lambda: TwoTimescale(stack(0), stack(1), steps=0), "steps"),
        (lambda: OneTimescale(stack(0), steps=0), "steps"),
        (
            lambda: Reasoner(
                OneTimescale(stack(0)), width=D, length=0, n_tokens=1, n_answers=1, seed=0
            ),
            "length",
        ),
        (lambda: model()(torch.zeros(2, N + 1).long()), "shape"),
        (lambda: model()(torch.zeros(0, N).long()), "shape"),
        (lambda: model()(torch.full((2, N), 4)), "0 to 3"),
        (lambda: deep_supervision(minibatches(tokens(), size=1), segments=0), "segments"),
        (lambda: adaptive_supervision(minibatches(tokens(), size=1), most=1), "most"),
        (
            lambda: adaptive_supervision(minibatches(tokens(), size=1), most=2, explore=2.0),
            "explore",
        ),
        (lambda: halting_loss(model(), Attempt(tokens(), tokens(), most=2)), "adaptive"),
        (lambda: think_until_halt(model(), tokens(), most=0), "most"),
    ],
)
def test_bad_input_is_refused(make, match):
    with pytest.raises(InvalidArgument, match=match):
        make()

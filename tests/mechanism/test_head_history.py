"""Heads over training: counts by hand, survival by hand, and circuits that are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_nets import net, pairs

from bregma.datasets import docstring, wired_induction
from bregma.errors import InvalidArgument, NotIdentifiable
from bregma.mechanism import HeadHistory, TransformerGraph, heads_over_training
from bregma.system import untrained

#                 h0 h1 h2 h3
HAND = np.array([[1, 0, 0, 0],
                 [1, 1, 0, 0],
                 [0, 1, 1, 0],
                 [0, 0, 1, 0],
                 [0, 1, 1, 0]], dtype=bool)  # fmt: skip


def history(active, times=None, resampled=None):
    n, heads = active.shape
    return HeadHistory(
        tuple(f"0.h{i}" for i in range(heads)),
        np.arange(n) if times is None else np.asarray(times),
        active,
        active[None] if resampled is None else resampled,
    )


def test_counts_are_those_made_by_hand():
    found = history(HAND)
    assert found.births.tolist() == [1, 1, 0, 1]
    assert found.deaths.tolist() == [0, 1, 1, 0]
    np.testing.assert_allclose(found.churn, [1 / 2, 2 / 3, 1 / 2, 1 / 2])
    assert found.emergent.sum(1).tolist() == [0, 1, 2, 1, 2]
    assert found.cumulative.tolist() == [0, 1, 2, 2, 2]
    assert found.net_added == 1


def test_lives_have_births_and_ends_in_the_unit_of_the_times():
    lives = history(HAND, times=[0, 10, 30, 40, 80]).lives()
    assert lives.values.tolist() == [
        ["0.h1", 10, 30, 30, False],  # there at 10 and 30, not any more at 40
        ["0.h2", 30, 80, 50, True],
        ["0.h1", 80, 80, 0, True],
    ]


def test_survival_is_kaplan_and_meiers():
    # Lives: 1 ended after 1, 1 alive after 2, 1 ended after 3, 1 alive after 3.
    active = np.array([[0, 0, 0, 0], [1, 0, 1, 1], [0, 1, 1, 1], [0, 1, 1, 1], [0, 1, 0, 1]], bool)
    table = history(active).survival()
    at = dict(zip(table["lasted"], table["share"], strict=True))
    assert at[1.0] == pytest.approx(3 / 4)  # one of four
    assert at[3.0] == pytest.approx(3 / 4 * 1 / 2)  # one of the two that are still known
    with pytest.raises(NotIdentifiable, match="no head was born"):
        history(np.ones((3, 2), dtype=bool)).survival()


@given(st.lists(st.lists(st.booleans(), min_size=4, max_size=4), min_size=2, max_size=6))
@settings(max_examples=30)
def test_what_is_born_and_dies_adds_up(rows):
    active = np.array(rows)
    found = history(active)
    assert found.births.sum() - found.deaths.sum() == found.net_added
    assert ((found.churn >= 0) & (found.churn <= 1)).all()
    assert len(found.lives()) == found.births.sum()
    assert (np.diff(found.cumulative) >= 0).all()
    back = history(active[::-1])
    assert back.births.tolist() == found.deaths.tolist()[::-1]


def test_retest_is_what_resamples_of_one_checkpoint_differ_in():
    resampled = np.array([[[1, 1, 0], [1, 0, 0]], [[1, 0, 0], [1, 0, 0]], [[1, 0, 0], [0, 1, 1]]],
                         dtype=bool)  # fmt: skip
    found = history(resampled[0], resampled=resampled)
    np.testing.assert_allclose(found.retest, [(1 / 2 + 1 / 2 + 0) / 3, (0 + 1 + 1) / 3])
    with pytest.raises(NotIdentifiable, match="two resamples"):
        _ = history(resampled[0], resampled=resampled[:1]).retest


def test_heads_that_come_after_the_reward_have_a_positive_lag():
    signal = np.array([0.0, 1, 3, 2, 4, 1, 0, 2])
    count = np.r_[0, signal[:-1]].astype(int)
    active = np.arange(5) < count[:, None]
    table = history(active).follows(signal, max_lag=2).set_index("lag")["correlation"]
    assert table.idxmax() == 1
    assert table[1] == pytest.approx(1)
    assert table[0] == pytest.approx(np.corrcoef(signal, count)[0, 1])
    assert table[-1] == pytest.approx(np.corrcoef(signal[1:], count[:-1])[0, 1])


def test_wired_heads_are_found_when_they_are_there():
    world = wired_induction(32, seed=0)
    task = world.tasks[next(iter(world.tasks))]
    [nobody] = untrained(world.net, seeds=0)
    found = heads_over_training(
        [nobody, world.net, world.net],
        task,
        faithfulness=0.9,
        times=[0, 5, 6],
        n_resamples=0,
        batch_size=32,
        seed=0,
    )
    wired = world.heads(next(iter(world.tasks)))
    for at in (1, 2):
        here = {h for h, on in zip(found.heads, found.active[at], strict=True) if on}
        assert here >= wired
    assert found.churn[1] == 0  # one and the same network
    assert found.times.tolist() == [0, 5, 6]


def test_heads_of_a_fixed_size_are_those_of_the_largest_scores():
    model, asked = net(), pairs(6)
    found = heads_over_training([model, net(seed=1)], asked, n_edges=3, n_resamples=0, seed=0)
    graph = TransformerGraph(model)
    scores = np.abs(graph.attribute(asked, steps=5))
    kept, reached = set(), {"logits"}
    for _ in range(3):  # from the answer on, the strongest edge into what is there already
        open_ = {
            (s, r): scores[graph.senders.index(s), graph.receivers.index(r)]
            for s, r in graph.edges
            if (r in reached or graph.part_of(r) in reached) and (s, r) not in kept
        }
        s, r = max(open_, key=lambda edge: open_[edge])
        kept.add((s, r))
        reached.add(s)
    touched = {name for s, r in kept for name in (s, graph.part_of(r))}
    assert [h in touched for h in found.heads] == found.active[0].tolist()
    assert found.resampled.shape == (0, 2, 6)


def test_checkpoints_of_transformers_are_read_one_at_a_time(transformers):
    asked = docstring(8, seed=0)
    config = transformers.Qwen2Config(
        vocab_size=len(asked.words), hidden_size=16, intermediate_size=16, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=32,
        bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    alive = []

    def checkpoints():
        for seed in range(3):
            torch.manual_seed(seed)
            alive.append(seed)
            yield transformers.Qwen2ForCausalLM(config).eval()

    found = heads_over_training(checkpoints(), asked, n_edges=4, n_resamples=2, steps=2, seed=0)
    assert found.active.shape == (3, 8)
    assert found.resampled.shape == (2, 3, 8)
    assert alive == [0, 1, 2]


def test_the_same_seed_gives_the_same_history():
    models = [net(seed=s) for s in (0, 1)]
    one, two = (heads_over_training(models, pairs(6), n_edges=3, seed=4) for _ in range(2))
    np.testing.assert_array_equal(one.resampled, two.resampled)
    np.testing.assert_array_equal(one.active, two.active)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_cuda_gives_what_the_cpu_gives():
    models, asked = [net(seed=s).double() for s in (0, 1)], pairs(6)
    here = heads_over_training(models, asked, n_edges=3, seed=0)
    asked = type(asked)(*(getattr(asked, n).cuda() for n in ("clean", "corrupt", "right", "wrong")))
    there = heads_over_training([m.cuda() for m in models], asked, n_edges=3, seed=0)
    np.testing.assert_array_equal(there.active, here.active)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"n_edges": None}, "either"),
        ({"faithfulness": 0.8}, "either"),
        ({"n_edges": 0}, "n_edges 1 or more"),
        ({"n_resamples": -1}, "n_resamples"),
        ({"times": [0]}, "as many times"),
        ({"times": [1, 0]}, "increase"),
        ({"models": [net()]}, "2 or more"),
        ({"models": [net(), net(heads=4)]}, "other heads"),
    ],
)
def test_what_makes_no_history_is_refused(changed, says):
    given = {"models": [net(), net(seed=1)], "n_edges": 2, "n_resamples": 0} | changed
    with pytest.raises(InvalidArgument, match=says):
        heads_over_training(given.pop("models"), pairs(4), **given, seed=0)


def test_resamples_of_other_checkpoints_are_refused(unchecked_types):
    with pytest.raises(InvalidArgument, match="resampled"):
        history(HAND, resampled=HAND[None, :3])


def test_signals_and_shapes_that_do_not_fit_are_refused():
    found = history(HAND)
    with pytest.raises(InvalidArgument, match="finite value for each of 5"):
        found.follows([1.0, 2.0])
    with pytest.raises(InvalidArgument, match="leave 3"):
        found.follows(np.arange(5.0), max_lag=3)
    with pytest.raises(NotIdentifiable, match="nothing to correlate"):
        found.follows(np.ones(5))
    with pytest.raises(InvalidArgument, match="2 or more"):
        history(HAND[:1])

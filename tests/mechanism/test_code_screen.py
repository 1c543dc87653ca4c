"""Codes of heads, and those that belong to one kind of prompts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_nets import net, of_transformers, pairs

from bregma.errors import InvalidArgument
from bregma.mechanism import (
    Contrast,
    code_pair_scores,
    code_scores,
    head_codes,
    head_outputs,
    screen_heads,
)

CODES = np.array([[0, 3, 1], [1, 3, 2], [2, 3, 1], [0, 4, 2], [5, 3, 1], [0, 3, 2]])
POSITIVE = np.array([True, True, True, False, False, False])


def test_what_heads_write():
    model, asked = net(layers=2, heads=2), pairs(5)
    seen = {}

    def note(module, args, z):
        seen[module] = z

    hooks = [block.head.register_forward_hook(note) for block in model.blocks]
    with torch.no_grad():
        model(asked.clean)
    for hook in hooks:
        hook.remove()
    last, mean = (
        head_outputs(model, asked.clean, at=at, batch_size=2) for at in ("answer", "mean")
    )
    assert last.dims == ("example", "head", "feature")
    for i, block in enumerate(model.blocks):
        for h in range(2):
            written = seen[block.head][:, h] @ block.project.weight[:, 8 * h : 8 * h + 8].T
            written = written.detach().numpy()
            np.testing.assert_allclose(last.sel(head=f"{i}.h{h}"), written[:, -1], atol=1e-5)
            np.testing.assert_allclose(mean.sel(head=f"{i}.h{h}"), written.mean(1), atol=1e-5)


def test_scores_by_hand():
    # Head 0 has 1 and 2 on positives alone, and 0 and 5 besides; head 1 nothing; head 2 nothing.
    np.testing.assert_allclose(code_scores(CODES, POSITIVE), [2 / 4, 0, 0])
    together = code_pair_scores(CODES, POSITIVE)
    # Heads 0 and 2: (0, 1), (1, 2), (2, 1) against (0, 2), (5, 1), (0, 2).
    assert together[0, 2] == together[2, 0] == pytest.approx(3 / 5)
    # Heads 1 and 2: (3, 1), (3, 2) against (4, 2), (3, 1), (3, 2).
    assert together[1, 2] == 0
    assert (np.diag(together) == 0).all()


@given(st.permutations(range(6)), st.permutations(range(6)))
def test_names_of_codes_and_order_of_examples_do_not_matter(names, order):
    codes = np.asarray(names)[CODES][order]
    here = code_scores(codes, POSITIVE[order])
    np.testing.assert_allclose(here, code_scores(CODES, POSITIVE))
    np.testing.assert_allclose(
        code_pair_scores(codes, POSITIVE[order]), code_pair_scores(CODES, POSITIVE)
    )


def test_things_that_are_planted_get_codes_of_their_own():
    """Every example shows one of four things in all heads, however loudly each head speaks."""
    rng = np.random.default_rng(0)
    things = np.linalg.qr(rng.standard_normal((12, 12)))[0][:4]
    shown = np.tile(np.arange(4), 10)
    loud = np.array([1.0, 100.0, 0.01])
    outputs = loud[:, None] * (things[shown][:, None] + 0.003 * rng.standard_normal((40, 3, 12)))
    learn = np.arange(40) < 24
    codes = head_codes(outputs, n_features=30, epochs=60, learn_from=learn, seed=0)
    for head in codes.T:
        assert len({*zip(head.tolist(), shown.tolist(), strict=True)}) == 4
        assert len(set(head.tolist())) == 4
    # A thing that is shown on positive examples alone gives one code of four to every head.
    np.testing.assert_allclose(code_scores(codes, shown == 2), 1 / 4)
    again = head_codes(outputs, n_features=30, epochs=60, learn_from=learn, seed=0)
    np.testing.assert_array_equal(codes, again)


def test_a_head_that_writes_nothing_has_no_code():
    outputs = np.random.default_rng(0).standard_normal((8, 2, 5))
    outputs[:, 1] = 0
    codes = head_codes(outputs, n_features=10, epochs=2, seed=0)
    assert len(set(codes[:, 1].tolist())) == 1
    assert code_scores(codes, np.arange(8) < 4)[1] == 0


def test_screening_a_model_of_transformers(transformers):
    model, asked = of_transformers(transformers, "gpt2", num_attention_heads=2), pairs(4)
    found = screen_heads(model, asked, n_features=12, epochs=5, seed=0)
    assert found.scores["head"].values.tolist() == ["0.h0", "0.h1", "1.h0", "1.h1"]
    assert found.codes.sizes == {"example": 8, "head": 4}
    positive = np.arange(8) < 4
    np.testing.assert_allclose(found.scores, code_scores(found.codes.values, positive))
    np.testing.assert_allclose(found.pairs, code_pair_scores(found.codes.values, positive))
    same = Contrast(asked.clean, asked.clean, asked.right, asked.wrong)
    assert (screen_heads(model, same, n_features=12, epochs=5, seed=0).scores == 0).all()


def test_errors(unchecked_types):
    model, asked = net(layers=1), pairs()
    with pytest.raises(InvalidArgument, match="at is"):
        head_outputs(model, asked.clean, at="first")
    outputs = np.ones((4, 2, 3))
    for bad in (outputs * np.nan, outputs[:1], outputs[:, :0]):
        with pytest.raises(InvalidArgument, match="finite"):
            head_codes(bad, seed=0)
    with pytest.raises(InvalidArgument, match="l1"):
        head_codes(outputs, l1=-1.0, seed=0)
    for scores in (code_scores, code_pair_scores):
        with pytest.raises(InvalidArgument, match="marked"):
            scores(CODES, POSITIVE[:4])
        with pytest.raises(InvalidArgument, match="marked"):
            scores(CODES, np.ones(6, bool))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_outputs_on_a_gpu_as_on_the_cpu():
    model, asked = net(), pairs()
    here = head_outputs(model, asked.clean)
    there = head_outputs(model.cuda(), asked.clean.cuda())
    np.testing.assert_allclose(there, here, atol=1e-4)

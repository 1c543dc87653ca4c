"""Attribution: gradients against finite differences, and integrals that add up to the total."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_nets import net, of_transformers, pairs

from bregma.errors import InvalidArgument
from bregma.mechanism import attribute, patch
from bregma.mechanism.circuits._cache import go_on, observe
from bregma.mechanism.circuits._contrast import logit_difference
from bregma.mechanism.circuits._patch import PLACE, _deltas
from bregma.mechanism.circuits._read import as_stream

PARTS = tuple(PLACE)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("direction", ["denoise", "noise"])
def test_one_step_is_the_slope_of_patching(part, direction):
    model, some, tiny = net().double(), pairs(), 1e-6
    base, source = (some.corrupt, some.clean) if direction == "denoise" else (
        some.clean, some.corrupt)  # fmt: skip
    found = attribute(model, some, part, direction=direction, tokens=True)
    with as_stream(model, base) as stream:
        own, other = observe(stream, base), observe(stream, source)
        for layer in range(3):
            expected = []
            for delta in _deltas(stream, own, other, layer, part, True):
                answers = [go_on(stream, own, layer, PLACE[part], sign * tiny * delta)
                           for sign in (1, -1)]  # fmt: skip
                up, down = (torch.stack([logit_difference(a, some) for a in x]) for x in answers)
                expected.append((up - down) / (2 * tiny))
            got = found.values.sel(layer=layer).values.reshape(len(some), -1)
            np.testing.assert_allclose(got, torch.cat(expected).T, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("library", [False, True])
def test_integrated_gradients_of_what_comes_in_add_up_to_the_total(library, request):
    model = of_transformers(request.getfixturevalue("transformers"), "llama") if library else net()
    found = attribute(model, pairs(), "residual", steps=400)
    first = found.values.sel(layer=0).values
    np.testing.assert_allclose(first, found.total, atol=0.02 * np.abs(found.total).max())
    one = attribute(model, pairs(), "residual").values.sel(layer=0).values
    assert np.abs(one - found.total).max() > 10 * np.abs(first - found.total).max()


def test_parts_add_up_and_batches_change_nothing():
    model, some = net(), pairs(7)
    heads = attribute(model, some, "head", tokens=True, steps=3)
    assert dict(heads.values.sizes) == {"pair": 7, "layer": 3, "head": 2, "token": 6}
    both = attribute(model, some, "attention", steps=3, batch_size=2)
    np.testing.assert_allclose(heads.values.sum(["head", "token"]), both.values, atol=1e-4)
    np.testing.assert_allclose(both.total, patch(model, some).total, atol=1e-5)


def test_it_has_evidence_and_leaves_the_model_as_it_was():
    model, some = net(), pairs(6)
    assert all(p.grad is None for p in model.parameters())
    evidence = attribute(model, some).evidence(n=19, seed=0)
    assert 0.05 <= evidence.p_value <= 1
    assert all(p.grad is None for p in model.parameters())


def test_what_is_refused():
    for bad in ({"part": "haed"}, {"direction": "up"}, {"steps": 0}, {"batch_size": 0}):
        with pytest.raises(InvalidArgument):
            attribute(net(), pairs(), **bad)

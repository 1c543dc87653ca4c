"""Relative representations against scikit-learn's cosines, their invariances, and derivatives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ortho_group
from sklearn.linear_model import LogisticRegression
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch import nn

from bregma.errors import InvalidArgument
from bregma.geometry import RelativeLayer, RelativeRepresentation, relative

REFUSED = {"check_estimators_dtypes": "its data hold a row of zeros, which has no direction"}


@parametrize_with_checks(
    [RelativeRepresentation(), RelativeRepresentation(n_anchors=1)],
    expected_failed_checks=lambda estimator: REFUSED,
)
def test_scikit_learn(estimator, check, unchecked_types):
    check(estimator)


def data(seed, n=20, units=6):
    return np.random.default_rng(seed).standard_normal((n, units))


def test_a_hand_worked_case():
    x, anchors = torch.tensor([[3.0, 4.0], [0.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    assert relative(x, anchors).tolist() == [[pytest.approx(0.6), pytest.approx(0.8)], [0, 0]]
    # centred: the middle is (0.5, 1), so x - middle = (2.5, 3) and the anchors +-(0.5, -1)
    cosine = (2.5 * 0.5 - 3.0) / np.hypot(2.5, 3.0) / np.hypot(0.5, 1.0)
    centred = relative(x[:1], anchors, center=True)
    assert centred[0].tolist() == pytest.approx([cosine, -cosine])


@pytest.mark.parametrize("center", [False, True])
def test_equals_scikit_learn(center):
    x, anchors = data(0), data(1, n=7)
    out = RelativeRepresentation(center=center).fit(anchors).transform(x)
    middle = anchors.mean(axis=0) * center
    np.testing.assert_allclose(out, cosine_similarity(x - middle, anchors - middle), atol=1e-12)


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.floats(0.01, 100))
def test_rotations_reflections_and_scales_change_nothing(seed, scale):
    x, turn = data(seed), ortho_group.rvs(6, random_state=seed % 2**32)
    a = RelativeRepresentation(8, seed=3).fit_transform(x)
    b = RelativeRepresentation(8, seed=3).fit_transform(scale * x @ turn)
    np.testing.assert_allclose(a, b, atol=1e-10)


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.floats(-30, 30))
def test_centred_a_translation_changes_nothing_either(seed, shift):
    x = data(seed)
    a, b = (RelativeRepresentation(center=True).fit_transform(y) for y in (x, x + shift))
    np.testing.assert_allclose(a, b, atol=1e-9)
    if abs(shift) > 1:
        plain = [RelativeRepresentation().fit_transform(y) for y in (x, x + shift)]
        assert np.abs(plain[0] - plain[1]).max() > 0.01


def test_into_more_units_an_isometry_changes_nothing():
    x, wider = data(0, units=4), ortho_group.rvs(9, random_state=0)[:4]
    a, b = (RelativeRepresentation().fit_transform(y) for y in (x, x @ wider))
    np.testing.assert_allclose(a, b, atol=1e-12)


def test_a_scale_for_each_unit_does_change_it():
    x = data(0)
    a, b = (RelativeRepresentation().fit_transform(y) for y in (x, x * np.arange(1, 7)))
    assert np.abs(a - b).max() > 0.3


def test_the_same_seed_draws_the_same_anchors():
    x = data(0)
    first, again, other = (RelativeRepresentation(5, seed=s).fit(x) for s in (1, 1, 2))
    assert first.rows_.tolist() == again.rows_.tolist() != other.rows_.tolist()
    assert len(set(first.rows_)) == 5
    np.testing.assert_array_equal(first.anchors_, x[first.rows_])
    assert first.get_feature_names_out()[0] == f"anchor{first.rows_[0]}"


def test_single_precision_stays():
    x = data(0).astype(np.float32)
    out = RelativeRepresentation(5).fit_transform(x)
    assert out.dtype == np.float32
    np.testing.assert_allclose(
        out, RelativeRepresentation(5).fit_transform(x.astype(float)), atol=1e-6
    )


def test_derivatives_flow_into_both_sides():
    x, anchors = (torch.tensor(data(s, n=3), requires_grad=True) for s in (0, 1))
    assert torch.autograd.gradcheck(lambda a, b: relative(a, b, center=True), (x, anchors))
    # what changes only the length of a response has no effect: the derivative is orthogonal to it
    relative(x, anchors)[:, 0].sum().backward()
    assert (x.grad * x).sum(dim=1).abs().max() < 1e-12


def test_the_layer_is_the_function_with_frozen_anchors():
    x, anchors = torch.tensor(data(0)), torch.tensor(data(1, n=7), requires_grad=True)
    layer = RelativeLayer(anchors, center=True)
    torch.testing.assert_close(layer(x[None]), relative(x, anchors, center=True)[None])
    assert not list(layer.parameters())
    assert layer.state_dict()["anchors"].shape == (7, 6)
    assert not layer.anchors.requires_grad
    with torch.no_grad():
        anchors += 1  # the layer keeps its own
    assert (layer.anchors != anchors).all()
    assert "7 anchors, 6 units" in repr(layer)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_equals_cpu():
    x, anchors = torch.tensor(data(0)), torch.tensor(data(1))
    on_gpu = RelativeLayer(anchors).cuda()(x.cuda())
    torch.testing.assert_close(on_gpu.cpu(), RelativeLayer(anchors)(x))


def test_a_head_moves_to_a_rotated_encoder_without_training():
    x, labels = data(0, n=300), (data(0, n=300)[:, :2] > 0) @ [1, 2]
    turned = 5 * x @ ortho_group.rvs(6, random_state=1)
    head = make_pipeline(RelativeRepresentation(50), LogisticRegression()).fit(
        x[:200], labels[:200]
    )
    own = head.score(x[200:], labels[200:])
    there = RelativeRepresentation(50).fit(turned[:200]).transform(turned[200:])
    assert own > 0.8
    assert head[-1].score(there, labels[200:]) == own
    mixed = RelativeRepresentation(50, seed=9).fit(turned[:200]).transform(turned[200:])
    assert head[-1].score(mixed, labels[200:]) < own - 0.3


def test_tokens_of_a_transformer_encoder():
    encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    with torch.no_grad():
        tokens = encoder(torch.tensor(data(0, n=12, units=8), dtype=torch.float32).view(3, 4, 8))
    layer = nn.Sequential(RelativeLayer(tokens[0]), nn.LayerNorm(4))
    assert layer(tokens).shape == (3, 4, 4)


def test_errors(unchecked_types):
    with pytest.raises(InvalidArgument, match="from 1 to the 20 rows, not 21"):
        RelativeRepresentation(21).fit(data(0))
    x = data(0)
    x[3] = 0
    with pytest.raises(InvalidArgument, match="anchor 3 is 0 in every unit: it"):
        RelativeRepresentation().fit(x)
    with pytest.raises(InvalidArgument, match="row 3 is 0"):
        RelativeRepresentation().fit(data(0)).transform(x)
    with pytest.raises(InvalidArgument, match="after the mean"):
        RelativeRepresentation(center=True).fit(np.ones((4, 2)))
    with pytest.raises(ValueError, match="NaN"):
        RelativeRepresentation().fit(np.full((3, 2), np.nan))
    with pytest.raises(InvalidArgument, match="finite"):
        RelativeLayer(torch.tensor([[1.0, torch.nan]]))
    with pytest.raises(InvalidArgument, match="finite"):
        RelativeLayer(torch.empty(0, 3))
    for x, anchors in [((2, 3), (4, 2)), ((2, 3), (3,)), ((2, 3), (0, 3))]:
        with pytest.raises(InvalidArgument, match="at least one anchor"):
            relative(torch.ones(x), torch.ones(anchors))
